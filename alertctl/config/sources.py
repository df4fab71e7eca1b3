"""Where a value comes from: flag > environment > `.env` > TOML > default.

Light: it loads dotenv and tomllib only. `read` is enough for whoever needs one or two settings and no checks,
such as the remote mode of the command line. `trust.py` says what a file in the working folder may set.
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
from alertctl.config.trust import Refusal, is_trusted_only, refuse_trusted_only
from alertctl.config.validators import looks_secret, yes_or_no
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
    """What was written, and where: `flag`, `environment`, `.env`, a TOML file's name, or `file PATH`.

    `folder_file` is the file of the working folder that sets it, empty for a stronger place (see `trust.py`).
    """

    raw: object = field(repr=False)
    origin: str
    folder_file: str = ""

    @property
    def text(self) -> str:
        return str(self.raw)


@dataclass(frozen=True)
class Layer:
    """All that one place says. Paths to secrets in it are relative to `folder`.

    `confined_to` is the working folder for a file that lies there by chance: it may name files inside of it only.
    """

    origin: str
    values: Mapping[str, object] = field(repr=False)
    folder: Path
    confined_to: Path | None = None

    @property
    def folder_file(self) -> str:
        return "" if self.confined_to is None else self.origin


@dataclass(frozen=True)
class _TomlFile:
    """A TOML file, its name in messages, and whether it must exist; `confined_to` as for a layer."""

    path: Path
    origin: str
    required: bool = False
    confined_to: Path | None = None


@dataclass
class Sources:
    """Every layer, the strongest first, what was wrong in reading them, and what was refused (see `trust.py`)."""

    layers: list[Layer] = field(default_factory=list)
    table: Mapping[str, object] = field(default_factory=dict, repr=False)
    table_origin: str = "alertctl.toml"
    problems: list[str] = field(default_factory=list)
    refused: dict[str, Refusal] = field(default_factory=dict)
    refused_values: dict[str, object] = field(default_factory=dict, repr=False)


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
    sources.layers = [Layer("flag", _ours(given), cwd), Layer("environment", _ours(environ), cwd)]
    if not _is_dotenv_off(environ):
        sources.layers.append(Layer(".env", _ours(_dotenv(cwd, sources)), cwd, confined_to=cwd))
    file = _toml_file(sources, environ, cwd)
    sources.table_origin = file.origin
    sources.table = _toml(file, sources)
    sources.layers.append(Layer(file.origin, dict(_flat(sources.table)), file.path.parent, file.confined_to))
    return sources


def _ours(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name.startswith(_OURS)}


def _is_dotenv_off(environ: Mapping[str, str]) -> bool:
    """Return whether ALERTCTL_NO_DOTENV is set. A value that is neither yes nor no counts as yes; it is an error."""
    value = environ.get("ALERTCTL_NO_DOTENV")
    try:
        return not is_blank(value) and yes_or_no(value)
    except ValueError:
        return True


def resolve(sources: Sources) -> dict[str, Value]:
    """The strongest layer's value for each name. A NAME_FILE counts in the layer in which it stands."""
    values: dict[str, Value] = {}
    for layer in sources.layers:
        for name in dict.fromkeys(map(_target, layer.values)):
            if name in values:
                continue
            if layer.confined_to is not None and is_trusted_only(name):
                _refuse(layer, name, sources)
            elif value := _value(layer, name, sources.problems):
                values[name] = value
    return values


def _refuse(layer: Layer, name: str, sources: Sources) -> None:
    """Note a setting that this layer may not set; a weaker one still may."""
    for variable in (name, f"{name}_FILE"):
        raw = layer.values.get(variable)
        if not is_blank(raw) and name not in sources.refused:
            sources.refused[name] = refuse_trusted_only(name, layer.origin)
            sources.refused_values[name] = raw


def _target(name: str) -> str:
    """The name that a NAME_FILE gives a value to, else the name itself."""
    target = name.removesuffix("_FILE")
    return target if target in IN_FILES else name


def _value(layer: Layer, name: str, problems: list[str]) -> Value | None:
    plain = layer.values.get(name)
    file = layer.values.get(f"{name}_FILE") if name in IN_FILES else None
    if is_blank(file):
        return None if plain is None else Value(plain, layer.origin, layer.folder_file)
    if not is_blank(plain):
        problems.append(f"{name}: both {name} and {name}_FILE are set; keep one{origin_note(layer.origin)}")
        return None
    try:
        path = layer.folder / expand_home(str(file))
        if not _is_inside(path, layer.confined_to):
            problems.append(_outside(f"{name}_FILE", layer.origin))
            return None
        return Value(_secret(path), f"file {file}", layer.folder_file)
    except (OSError, RuntimeError, ValueError) as error:
        problems.append(f"{name}_FILE: {_why(error, str(file))}{origin_note(layer.origin)}")
        return None


def _is_inside(path: Path, folder: Path | None) -> bool:
    """Return whether a file lies in this folder once every link is followed; None: it may lie anywhere."""
    return folder is None or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _outside(name: str, origin: str) -> str:
    return (
        f"{name}: {origin} in the working folder may name files inside of that folder only; "
        f"export {name}, or name a file with --config"
    )


def is_blank(raw: object) -> bool:
    """Nothing written: a blank value asks for the default, as `NAME=${NAME:-}` in a compose file does."""
    return raw is None or (isinstance(raw, str) and not raw.strip())


def origin_note(origin: str) -> str:
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
    if not _is_inside(path, cwd):
        sources.problems.append(".env: is a link out of the working folder; export its settings, or remove the link")
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


def _toml_file(sources: Sources, environ: Mapping[str, str], cwd: Path) -> _TomlFile:
    for layer in sources.layers:
        value = layer.values.get("ALERTCTL_CONFIG")
        if not is_blank(value):
            try:
                return _TomlFile(cwd / expand_home(str(value)), str(value), True, layer.confined_to)
            except ValueError as error:
                sources.problems.append(f"ALERTCTL_CONFIG: {error}")
                return _TomlFile(cwd, str(value))
    users, here = config_folder(environ) / "alertctl.toml", cwd / "alertctl.toml"
    if os.path.isfile(here):
        return _TomlFile(here, "alertctl.toml", confined_to=None if _is_same(here, users) else cwd)
    return _TomlFile(users, str(users))


def _is_same(one_path: Path, other_path: Path) -> bool:
    """Return whether both are the same file: who works in the user's configuration folder means that configuration."""
    return os.path.realpath(one_path) == os.path.realpath(other_path)


def _toml(file: _TomlFile, sources: Sources) -> dict[str, object]:
    try:
        # Not Path.is_file: it raises where the home folder is another user's, as under systemd.
        if not file.required and not os.path.isfile(file.path):
            return {}
        if not _is_inside(file.path, file.confined_to):
            link = f"ALERTCTL_CONFIG: {file.origin} is a link out of the working folder; name it with --config"
            sources.problems.append(_outside("ALERTCTL_CONFIG", ".env") if file.required else link)
            return {}
        return tomllib.loads(_text(file.path))
    except tomllib.TOMLDecodeError as error:
        sources.problems.append(f"ALERTCTL_CONFIG: {file.origin} is not valid TOML: {error}")
    except RecursionError:
        sources.problems.append(f"ALERTCTL_CONFIG: {file.origin} is nested too deeply")
    except (OSError, ValueError) as error:
        sources.problems.append(f"ALERTCTL_CONFIG: {_why(error, file.origin)}")
    return {}


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """SECTION_FIELD and value of what stands in a known section."""
    for section in SECTIONS:
        fields = table.get(section)
        if isinstance(fields, dict):
            yield from ((f"{section}_{name}".upper(), value) for name, value in fields.items())
