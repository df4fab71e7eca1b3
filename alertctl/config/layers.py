"""Where a value comes from: flag > environment > `.env` > TOML > default.

Light: it loads dotenv and tomllib only. `read` is enough for whoever needs one or two settings and no checks,
such as the remote mode of the command line.
"""

from __future__ import annotations

import io
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alertctl.config.folders import config_folder, expand_home
from alertctl.config.values import looks_secret
from alertctl.errors import ConfigError

SECTIONS = (
    "slack",
    "email",
    "sendgrid",
    "smtp",
    "notification",
    "database",
    "retry",
    "prune",
    "jwt",
    "alertctl",
)
"""The sections of the TOML file. A variable's name is SECTION_FIELD in upper case."""
IN_FILES = (
    "SLACK_BOT_TOKEN",
    "SENDGRID_API_KEY",
    "SMTP_PASSWORD",
    "DATABASE_URL",
    "JWT_SECRET",
    "JWT_PUBLIC_KEY",
    "ALERTCTL_TOKEN",
)
"""What NAME_FILE can read from a file."""
_OURS = tuple(f"{section}_".upper() for section in SECTIONS)
_LARGEST_FILE = 1_000_000
"""Bytes. More is no settings file but a mistake, `/dev/zero` for one."""


@dataclass(frozen=True)
class Value:
    """What was written, and where: `flag`, `environment`, `.env`, a TOML file's name, or `file PATH`."""

    raw: object = field(repr=False)
    origin: str

    @property
    def text(self) -> str:
        return str(self.raw)


@dataclass(frozen=True)
class Layer:
    """All that one place says. Paths to secrets in it are relative to `folder`."""

    origin: str
    values: Mapping[str, object] = field(repr=False)
    folder: Path


@dataclass
class Sources:
    """Every layer, the strongest first, and what was wrong in reading them."""

    layers: list[Layer] = field(default_factory=list)
    table: Mapping[str, object] = field(default_factory=dict, repr=False)
    table_origin: str = "alertctl.toml"
    problems: list[str] = field(default_factory=list)


def read(
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    flags: Mapping[str, object] | None = None,
) -> dict[str, Value]:
    """What is set, by NAME, unchecked; what is not set is not in it. Flags that are None count as not given.

    Raises ConfigError when a file can't be read or understood.
    """
    values, problems = read_readable(environ, cwd, flags)
    if problems:
        raise ConfigError(problems)
    return values


def read_readable(
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    flags: Mapping[str, object] | None = None,
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return what `read` does, and what is wrong with the files that can't be read or understood."""
    sources = gather(os.environ if environ is None else environ, cwd or Path(), flags or {})
    values = resolve(sources)
    return values, tuple(sources.problems)


def gather(environ: Mapping[str, str], cwd: Path, flags: Mapping[str, object]) -> Sources:
    """Read every place. What is wrong is noted in `problems`; nothing is raised."""
    sources = Sources()
    given = {name: value for name, value in flags.items() if value is not None}
    for origin, values in (("flag", given), ("environment", environ), (".env", _dotenv(cwd, sources))):
        ours = {name: value for name, value in values.items() if name.startswith(_OURS)}
        sources.layers.append(Layer(origin, ours, cwd))
    path, sources.table_origin, required = _toml_file(sources, environ, cwd)
    sources.table = _toml(path, required, sources)
    sources.layers.append(Layer(sources.table_origin, dict(_flat(sources.table)), path.parent))
    return sources


def resolve(sources: Sources) -> dict[str, Value]:
    """The strongest layer's value for each name. A NAME_FILE counts in the layer in which it stands."""
    values: dict[str, Value] = {}
    for layer in sources.layers:
        for name in dict.fromkeys(map(_target, layer.values)):
            if name not in values and (found := _value(layer, name, sources.problems)):
                values[name] = found
    return values


def _target(name: str) -> str:
    """The name that a NAME_FILE gives a value to, else the name itself."""
    target = name.removesuffix("_FILE")
    return target if target in IN_FILES else name


def _value(layer: Layer, name: str, problems: list[str]) -> Value | None:
    plain = layer.values.get(name)
    file = layer.values.get(f"{name}_FILE") if name in IN_FILES else None
    if blank(file):
        return None if plain is None else Value(plain, layer.origin)
    if not blank(plain):
        problems.append(f"{name}: both {name} and {name}_FILE are set; keep one{whence(layer.origin)}")
        return None
    try:
        return Value(_secret(layer.folder / expand_home(str(file))), f"file {file}")
    except (OSError, RuntimeError, ValueError) as error:
        problems.append(f"{name}_FILE: {_why(error, str(file))}{whence(layer.origin)}")
        return None


def blank(raw: object) -> bool:
    """Nothing written: a blank value asks for the default, as `NAME=${NAME:-}` in a compose file does."""
    return raw is None or (isinstance(raw, str) and not raw.strip())


def whence(origin: str) -> str:
    """` (from .env)`; nothing for a flag and the environment, where the variable's name says it all."""
    return "" if origin in {"flag", "environment", "default"} else f" (from {origin})"


def _secret(path: Path) -> str:
    """A file's text without one newline at its end."""
    content = _text(path)
    return content.removesuffix("\n").removesuffix("\r") if content.endswith("\n") else content


def _text(path: Path) -> str:
    with path.open("rb") as stream:
        data = stream.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"larger than {_LARGEST_FILE} bytes")
    return data.decode("utf-8-sig")


def _why(error: Exception, file: str) -> str:
    """One line about a file that can't be read; it shows nothing of what the file holds."""
    # People put the secret itself where its file's name belongs.
    name = "the file" if looks_secret(file) else "".join(c if c.isprintable() else "?" for c in file)[:200]
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"{name}:{line} is not UTF-8 text"
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist"
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{name} can't be read: {reason}"


def _dotenv(cwd: Path, sources: Sources) -> dict[str, object]:
    """`.env` of the working folder. Values are taken as written: a password may hold `${`."""
    path = cwd / ".env"
    # A folder of this name is usually a virtual environment.
    if not os.path.isfile(path):
        return {}
    # Not dotenv_values: it logs where we want an error, and only the parser tells the line.
    from dotenv.parser import parse_stream

    try:
        bindings = list(parse_stream(io.StringIO(_text(path))))
    except (OSError, ValueError) as error:
        sources.problems.append(f".env: {_why(error, '.env')}")
        return {}
    for each in bindings:
        # Lines that mean something to another program are none of our business.
        if each.error and re.match(rf"\s*(export\s+)?({'|'.join(_OURS)})", each.original.string):
            written = each.original.string
            line = each.original.line + written.count("\n", 0, len(written) - len(written.lstrip()))
            sources.problems.append(f".env: line {line} is not NAME=value (is a quote open?)")
    return {each.key: each.value for each in bindings if each.key is not None and each.value is not None}


def _toml_file(sources: Sources, environ: Mapping[str, str], cwd: Path) -> tuple[Path, str, bool]:
    """The TOML file's path, its name in messages, and whether it must exist."""
    named = [layer.values.get("ALERTCTL_CONFIG") for layer in sources.layers]
    for value in named:
        if not blank(value):
            try:
                return cwd / expand_home(str(value)), str(value), True
            except ValueError as error:
                sources.problems.append(f"ALERTCTL_CONFIG: {error}")
                return cwd, str(value), False
    if os.path.isfile(cwd / "alertctl.toml"):
        return cwd / "alertctl.toml", "alertctl.toml", False
    path = config_folder(environ) / "alertctl.toml"
    return path, str(path), False


def _toml(path: Path, required: bool, sources: Sources) -> dict[str, object]:
    try:
        # Not Path.is_file: it raises where the home folder is another user's, as under systemd.
        if not required and not os.path.isfile(path):
            return {}
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        sources.problems.append(f"ALERTCTL_CONFIG: {sources.table_origin} is not valid TOML: {error}")
    except RecursionError:
        sources.problems.append(f"ALERTCTL_CONFIG: {sources.table_origin} is nested too deeply")
    except (OSError, ValueError) as error:
        sources.problems.append(f"ALERTCTL_CONFIG: {_why(error, sources.table_origin)}")
    return {}


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """SECTION_FIELD and value of what stands in a known section."""
    for section in SECTIONS:
        fields = table.get(section)
        if isinstance(fields, dict):
            yield from ((f"{section}_{name}".upper(), value) for name, value in fields.items())
