"""The sources of settings, strongest first: flag, environment, `.env`, TOML, default.

This module is fast to import: dotenv and tomllib are loaded only for a file. `read` is for callers that need a few
settings without checks, such as the remote mode of the command line. `folder_trust.py` decides which settings a file
in the working folder may set.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from alertctl.config.folder_trust import is_trusted_only
from alertctl.config.folders import absolute_path, config_folder, expand_home
from alertctl.config.validators import looks_secret, yes_or_no
from alertctl.errors import ConfigError

if TYPE_CHECKING:
    from dotenv.parser import Binding

SECTIONS = ("slack", "email", "sendgrid", "smtp", "notification", "database", "retry", "prune", "jwt", "alertctl")
"""The sections of the TOML file. A variable's name is SECTION_FIELD in upper case."""
IN_FILES = (
    "SLACK_BOT_TOKEN",
    "SENDGRID_API_KEY",
    "SMTP_PASSWORD",
    "SMTP_OAUTH_TOKEN",
    "DATABASE_URL",
    "JWT_SECRET",
    "JWT_PUBLIC_KEY",
    "ALERTCTL_TOKEN",
)
"""Settings that NAME_FILE can read from a file."""
_OURS = tuple(f"{section}_".upper() for section in SECTIONS)
_LARGEST_FILE = 1_000_000
"""Bytes. A larger file is a mistake, for example `/dev/zero`."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The file that NAME_FILE names. With `confined_to` it must be inside that folder, after following links."""

    path: Path
    confined_to: Path | None = None

    @property
    def is_allowed(self) -> bool:
        return _is_inside(self.path, self.confined_to)

    def read(self) -> str:
        """Return the file's text without one newline at its end. Raises OSError and ValueError."""
        if not self.is_allowed:
            raise ValueError("is outside the working folder")
        content = _text(self.path)
        return content.removesuffix("\n").removesuffix("\r") if content.endswith("\n") else content

    def stamp(self) -> tuple[int, ...]:
        """Return values that differ when the file was written or replaced; empty when it is missing."""
        try:
            status = os.stat(self.path)
        except OSError:
            return ()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(frozen=True)
class Value:
    """A raw value and its origin: `flag`, `environment`, `.env`, a TOML file's name, or `file PATH`.

    `folder_file` is the file of the working folder that sets it, empty for a stronger place (see `folder_trust.py`).
    """

    raw: object = field(repr=False)
    origin: str
    folder_file: str = ""
    file: SecretFile | None = None

    @property
    def text(self) -> str:
        return str(self.raw)


@dataclass(frozen=True)
class Layer:
    """The values of one source. Paths to secrets in it are relative to `folder`.

    `confined_to` is the working folder for a file that was read because it is there: it may only name files inside.
    """

    origin: str
    values: Mapping[str, object] = field(repr=False)
    folder: Path
    confined_to: Path | None = None


@dataclass
class Sources:
    """All layers, strongest first, the strongest value of each NAME, and the problems in reading them.

    `refused` are the values that a file in the working folder may not set (see `folder_trust.py`). `files` are the
    paths where `.env` and the TOML file of these settings are, or would be, by the name that their problems begin with.
    """

    layers: list[Layer] = field(default_factory=list)
    table: Mapping[str, object] = field(default_factory=dict, repr=False)
    table_origin: str = "alertctl.toml"
    problems: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    refused: dict[str, Value] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def read(
    environ: Mapping[str, str] | None = None, cwd: Path | None = None, flags: Mapping[str, object] | None = None
) -> dict[str, Value]:
    """Return the values that are set, by NAME, unchecked. A flag that is None is ignored.

    Raises ConfigError when a file can't be read or understood.
    """
    values, problems = read_readable(environ, cwd, flags)
    if problems:
        raise ConfigError(problems)
    return values


def read_readable(
    environ: Mapping[str, str] | None = None, cwd: Path | None = None, flags: Mapping[str, object] | None = None
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return the values as `read` does, and the problems of files that can't be read or understood."""
    sources = gather(environ, cwd, flags)
    return sources.values, tuple(sources.problems)


def gather(
    environ: Mapping[str, str] | None = None, cwd: Path | None = None, flags: Mapping[str, object] | None = None
) -> Sources:
    """Read every source. Problems are collected in `problems`; nothing is raised."""
    environ, cwd = os.environ if environ is None else environ, cwd or Path()
    sources = Sources()
    set_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    sources.layers = [Layer("flag", _ours(set_flags), cwd), Layer("environment", _ours(environ), cwd)]
    is_dotenv_off = _is_dotenv_off(environ)
    if is_dotenv_off is not None or os.path.isfile(cwd / ".env"):
        # Not the path of `.env`: an event that waits for a faulty `.env` must not go elsewhere once that is off.
        # A clear switch has no problem, but accepts events that waited for it.
        name = "ALERTCTL_NO_DOTENV" if is_dotenv_off is None else ""
        sources.files[name] = f"ALERTCTL_NO_DOTENV in {absolute_path(cwd)}"
    if is_dotenv_off is False:
        sources.files[".env"] = absolute_path(cwd / ".env")
        sources.layers.append(Layer(".env", _ours(_dotenv(cwd, sources)), cwd, confined_to=cwd))
    file, origin, confined_to = _toml_file(sources, environ, cwd)
    sources.files["ALERTCTL_CONFIG"] = absolute_path(file or cwd / "alertctl.toml")
    if file is not None:
        sources.table_origin, sources.table = origin, _toml(file, origin, confined_to, sources.problems)
        sources.layers.append(Layer(origin, dict(_flat(sources.table)), file.parent, confined_to))
    for layer in sources.layers:
        for name in dict.fromkeys(map(_target, layer.values)):
            if name not in sources.values:
                _add_value(sources, layer, name)
    return sources


def _ours(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name.startswith(_OURS)}


def _is_dotenv_off(environ: Mapping[str, str]) -> bool | None:
    """Return the value of ALERTCTL_NO_DOTENV. None is neither yes nor no: an error, and `.env` is not read."""
    value = environ.get("ALERTCTL_NO_DOTENV")
    try:
        return not is_blank(value) and yes_or_no(value)
    except ValueError:
        return None


def _target(name: str) -> str:
    """Return NAME for NAME_FILE, else the name itself."""
    target = name.removesuffix("_FILE")
    return target if target in IN_FILES else name


def _add_value(sources: Sources, layer: Layer, name: str) -> None:
    """Add the value of NAME or NAME_FILE, or refuse it if this layer may not set it; a weaker layer still may."""
    plain, file = layer.values.get(name), layer.values.get(f"{name}_FILE")
    folder_file = "" if layer.confined_to is None else layer.origin
    if layer.confined_to is not None and is_trusted_only(name):
        raw = file if is_blank(plain) else plain
        if not is_blank(raw):
            sources.refused.setdefault(name, Value(raw, layer.origin, folder_file))
    elif name not in IN_FILES or is_blank(file):
        if plain is not None:
            sources.values[name] = Value(plain, layer.origin, folder_file)
    elif not is_blank(plain):
        sources.problems.append(f"{name}: both {name} and {name}_FILE are set; keep one{origin_note(layer.origin)}")
    else:
        try:
            secret = SecretFile(layer.folder / expand_home(str(file)), layer.confined_to)
            if secret.is_allowed:
                sources.values[name] = Value(secret.read(), f"file {file}", folder_file, secret)
            else:
                sources.problems.append(f"{name}_FILE: {_outside(f'{name}_FILE', layer.origin)}")
        except (OSError, RuntimeError, ValueError) as error:
            sources.problems.append(f"{name}_FILE: {_why(error, str(file))}{origin_note(layer.origin)}")


def _is_inside(path: Path, folder: Path | None) -> bool:
    """Return whether a file is in this folder after following links; always true for None."""
    return folder is None or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _outside(name: str, origin: str) -> str:
    return (
        f"{origin} in the working folder may only name files inside that folder; "
        f"export {name}, or set it in a TOML file that --config names"
    )


def is_blank(raw: object) -> bool:
    """Return whether a value is blank. Blank means the default, as with `NAME=${NAME:-}` in a compose file."""
    return raw is None or (isinstance(raw, str) and not raw.strip())


def origin_note(origin: str) -> str:
    """Return ` (from .env)`; empty for a flag and the environment, where the variable's name is enough."""
    return "" if origin in {"flag", "environment", "default"} else f" (from {origin})"


def _text(path: Path) -> str:
    with path.open("rb") as stream:
        data = stream.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"larger than {_LARGEST_FILE} bytes")
    return data.decode("utf-8-sig")


def _why(error: Exception, file: str) -> str:
    """Return one line about a file that can't be read, without its content."""
    # People put the secret itself into NAME_FILE.
    name = "the file" if looks_secret(file) else "".join(c if c.isprintable() else "?" for c in file)[:200]
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"{name}:{line} is not UTF-8 text"
    if isinstance(error, FileNotFoundError):
        return f"{name} does not exist"
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{name} cannot be read: {reason}"


def _dotenv(cwd: Path, sources: Sources) -> dict[str, object]:
    """Return the values of `.env` in the working folder, without interpolation: a password may contain `${`."""
    path = cwd / ".env"
    # A folder of this name is usually a virtual environment.
    if not os.path.isfile(path):
        return {}
    if not _is_inside(path, cwd):
        sources.problems.append(
            ".env: is a link to a file outside the working folder; export its settings, or remove the link"
        )
        return {}
    try:
        bindings = _parse_dotenv(_text(path))
    except (OSError, ValueError) as error:
        sources.problems.append(f".env: {_why(error, '.env')}")
        return {}
    for binding in bindings:
        source = binding.original
        # A line that isn't about our settings may mean something to another program.
        if binding.error and re.match(rf"\s*(export\s+)?({'|'.join(_OURS)})", source.string):
            line = source.line + source.string.count("\n", 0, len(source.string) - len(source.string.lstrip()))
            sources.problems.append(f".env: line {line} is not NAME=value (is a quote open?)")
    return {item.key: item.value for item in bindings if item.key is not None and item.value is not None}


def _parse_dotenv(text: str) -> list[Binding]:
    """Return the lines of a `.env` file, the faulty ones included.

    Hook into python-dotenv 1.2 (https://github.com/theskumar/python-dotenv/blob/v1.2.1/src/dotenv/parser.py): the
    documented `dotenv_values` logs the number of a faulty line and not its text, but only a faulty line about our
    settings is an error. `pyproject.toml` bounds the version, `tests/test_library_contracts.py` checks the parser.
    """
    from dotenv.parser import parse_stream

    return list(parse_stream(io.StringIO(text)))


def _toml_file(sources: Sources, environ: Mapping[str, str], cwd: Path) -> tuple[Path | None, str, Path | None]:
    """Return the TOML file that ALERTCTL_CONFIG names, else the working folder's, else the user's; None for no file.

    Also its name in messages, and the folder to which it is confined (see `Layer`).
    """
    for layer in sources.layers:
        if not is_blank(value := layer.values.get("ALERTCTL_CONFIG")):
            try:
                return cwd / expand_home(str(value)), str(value), layer.confined_to
            except ValueError as error:
                sources.problems.append(f"ALERTCTL_CONFIG: {error}")
                return None, str(value), None
    user_file, folder_file = config_folder(environ) / "alertctl.toml", cwd / "alertctl.toml"
    if os.path.isfile(folder_file):
        # The working folder may be the user's configuration folder.
        is_user_file = os.path.realpath(folder_file) == os.path.realpath(user_file)
        return folder_file, "alertctl.toml", None if is_user_file else cwd
    # Path.is_file raises where the home folder is another user's, as under systemd.
    return user_file if os.path.isfile(user_file) else None, str(user_file), None


def _toml(path: Path, origin: str, confined_to: Path | None, problems: list[str]) -> dict[str, object]:
    import tomllib

    try:
        if _is_inside(path, confined_to):
            return tomllib.loads(_text(path))
        if origin == "alertctl.toml":
            problem = "alertctl.toml is a link to a file outside the working folder; name it with --config"
        else:
            problem = _outside("ALERTCTL_CONFIG", ".env")
    except tomllib.TOMLDecodeError as error:
        problem = f"{origin} is not valid TOML: {error}"
    except RecursionError:
        problem = f"{origin} is nested too deeply"
    except (OSError, ValueError) as error:
        problem = _why(error, origin)
    problems.append(f"ALERTCTL_CONFIG: {problem}")
    return {}


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield SECTION_FIELD and value for every key of a known section, and the routes as ROUTES."""
    if "routes" in table:
        yield "ROUTES", table["routes"]
    for section in SECTIONS:
        fields = table.get(section)
        if isinstance(fields, dict):
            yield from ((f"{section}_{name}".upper(), value) for name, value in fields.items())
