"""Where the delivery log lives: `DATABASE_URL`, its default, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from alertctl.config.folders import expand_home, state_folder
from alertctl.config.values import split_url

_POSTGRES = re.compile(r"(postgres|postgresql|postgresql\+psycopg)://", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):/")
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):(.*)@")
_PASSWORD_PARAMETER = re.compile(r"([?&](?:ssl)?password=)([^&#]*)", re.IGNORECASE)
_EXAMPLES = "(sqlite:///path/to/file.db or postgresql://user:password@host/name)"
MASK = "********"


def default_url(environ: Mapping[str, str]) -> str:
    """An SQLite file in the user's state folder. Raises ConfigError (see `state_folder`)."""
    return f"sqlite:///{state_folder(environ) / 'alertctl.db'}"


def database_url(value: object) -> str:
    """A URL that SQLAlchemy takes: `sqlite:///path` or Postgres through psycopg 3. Errors don't echo it.

    `postgres://` and `postgresql://` become `postgresql+psycopg://`: what the short form means depends on
    SQLAlchemy's version.
    """
    found = value.strip() if isinstance(value, str) else ""
    if not found or not found.isprintable():
        raise ValueError(f"is not a database's address {_EXAMPLES}")
    if found.lower().startswith("sqlite:"):
        return _sqlite(found)
    if _POSTGRES.match(found):
        return _postgres(found)
    scheme = _SCHEME.match(found)
    named = f"{scheme[1]}:// is" if scheme else "is"
    raise ValueError(f"{named} not a database that alertctl can use {_EXAMPLES}")


def _sqlite(found: str) -> str:
    path = found[len("sqlite:///") :]
    if not found.lower().startswith("sqlite:///") or not path.split("?")[0]:
        raise ValueError("names no file (three slashes and a path: sqlite:///path/to/file.db)")
    if path.startswith(":memory:") or "mode=memory" in path:
        raise ValueError("is a database in memory, which every command would find empty (sqlite:///path/to/file.db)")
    name, mark, parameters = path.partition("?")
    if mark and "=" not in parameters:
        raise ValueError(f"means the file {name!r}: a ? ends its name; rename it")
    return f"sqlite:///{expand_home(path)}"


def _postgres(found: str) -> str:
    _, _, rest = found.partition("://")
    parts = split_url(f"postgresql://{rest}")
    if parts is None or parts.netloc.count("@") > 1 or "@" in parts.path:
        raise ValueError("has a wrong port or host; special characters in a password are written %40 for @, %2F for /")
    return f"postgresql+psycopg://{rest}"


def masked(link: str) -> str:
    """A database's address with its password hidden."""
    link = _PASSWORD.sub(lambda found: f"{found[1]}:{MASK}@", link)
    return _PASSWORD_PARAMETER.sub(lambda found: f"{found[1]}{MASK}", link)


def passwords(link: str) -> list[str]:
    """The passwords in a database's address, as written and decoded."""
    parts = split_url(link)
    written = [
        parts.password or "" if parts else "",
        *(found[1] for found in _PASSWORD_PARAMETER.findall(link)),
    ]
    return [password for each in written if each for password in (each, unquote(each))]
