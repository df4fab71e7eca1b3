"""Where the delivery log lives: `DATABASE_URL`, its default, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

from alertctl.config.folders import expand_home, state_folder
from alertctl.config.validators import split_url

_POSTGRES = re.compile(r"(postgres|postgresql|postgresql\+psycopg)://", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):/")
_PASSWORD = re.compile(r"(?<=://)([^:/@\r\n]*):(.*)@")
_NO_PORT = re.compile(r"(?<=://)([^:/@\s\[]*):(?!\d*(?:[/?\s'\")]|$))[^@/?\s'\")]+")
"""Where a port belongs, something else: somebody forgot the @ and the host behind a password."""
_PARAMETER = re.compile(r"(?<=[?&])([^=&#]*)=([^&#]*)")
_PASSWORD_NAME = re.compile(r"pass(?!file)|pwd|secret|token", re.IGNORECASE)
_LIBPQ_PARAMETERS = frozenset(
    """
    application_name channel_binding client_encoding connect_timeout dbname fallback_application_name gssdelegation
    gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname
    load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer
    oauth_scope options passfile password port replication require_auth requirepeer requiressl scram_client_key
    scram_server_key service servicefile ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode
    sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni
    target_session_attrs tcp_user_timeout user
    """.split()  # noqa: SIM905
)
"""Every parameter of a connection, Postgres 10 to 18."""
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
    authority, after = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    # Parsers differ in where such a password ends: one of them would take its rest for the host, and errors show hosts.
    is_ambiguous = authority.count("@") > 1 or "@" in after or "#" in after
    if is_ambiguous or authority.endswith(":") or split_url(f"postgresql://{rest}") is None:
        raise ValueError(
            "has a wrong port or host; special characters in a password are written "
            "%40 for @, %2F for /, %3F for ?, %23 for #"
        )
    names = {unquote_plus(name) for name, _ in _PARAMETER.findall(rest)}
    if any(map(is_password_parameter, names)) and not names <= _LIBPQ_PARAMETERS:
        # Not named: it may be the end of a password.
        raise ValueError("has a parameter that Postgres does not know; & in a password is written %26")
    return f"postgresql+psycopg://{rest}"


def is_postgres(link: str) -> bool:
    return bool(_POSTGRES.match(link))


def has_own_password(link: str) -> bool:
    """Return whether a Postgres URL brings its password, and nothing that makes the driver read one elsewhere."""
    names = {unquote_plus(name) for name, _ in _PARAMETER.findall(link)}
    return bool(passwords(link)) and not names & {"passfile", "service", "servicefile"}


def masked(link: str) -> str:
    """A database's address, or a text with one in it, with its password hidden."""
    link = _PASSWORD.sub(lambda match: f"{match[1]}:{MASK}@", link)
    link = _NO_PORT.sub(lambda match: match[0] if MASK in match[0] else f"{match[1]}:{MASK}", link)
    has_password = any(is_password_parameter(name) for name, _ in _PARAMETER.findall(link))

    def hide(parameter: re.Match[str]) -> str:
        if is_password_parameter(parameter[1]):
            return f"{parameter[1]}={MASK}"
        # After a raw & a password goes on as if it were the next parameter.
        return MASK if has_password and unquote_plus(parameter[1]) not in _LIBPQ_PARAMETERS else parameter[0]

    return _PARAMETER.sub(hide, link)


def passwords(link: str) -> list[str]:
    """The passwords in a database's address, as written and decoded."""
    parts = split_url(link)
    written = [
        parts.password or "" if parts else "",
        *(password for _, password in _PASSWORD.findall(link)),
        *(value for name, value in _PARAMETER.findall(link) if is_password_parameter(name)),
    ]
    forms = (form for each in written if each for form in (each, unquote(each), unquote_plus(each)))
    return list(dict.fromkeys(forms))


def is_password_parameter(parameter: str) -> bool:
    """Return whether a URL's parameter of this name holds a password, as far as its name tells."""
    return bool(_PASSWORD_NAME.search(unquote_plus(parameter)))
