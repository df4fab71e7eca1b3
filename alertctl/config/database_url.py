"""`DATABASE_URL`: its default, its validation, and its display without a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

from alertctl.config.folders import expand_home, state_folder
from alertctl.config.urls import split_url

_POSTGRES = re.compile(r"(postgres|postgresql|postgresql\+psycopg)://", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):/")
_PASSWORD = re.compile(r"(?<=://)([^:/@\r\n]*):(.*)@")
_NO_PORT = re.compile(r"(?<=://)([^:/@\s\[]*):(?!\d*(?:[/?\s'\")]|$))[^@/?\s'\")]+")
"""Something that is not a port in the port's position: the @ and the host after a password were forgotten."""
_PARAMETER = re.compile(r"(?<=[?&])([^=&#]*)=([^&#]*)")
_HOST = re.compile(r"([\w.-]+|%2F[\w.%-]+|\[[\da-f:.]+\])(?::(\d{1,5}))?", re.IGNORECASE | re.ASCII)
_OWN_HOSTS = re.compile(r"[?&](host|port)=")
_NO_BRACKETS = str.maketrans("", "", "[]")
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
"""Every connection parameter of Postgres 10 to 18."""
_FILE_PARAMETERS = frozenset({"passfile", "service", "servicefile", "sslcert", "sslkey"})
"""Parameters that name a file with a password or a key."""
_EXAMPLES = "(sqlite:///path/to/file.db or postgresql://user:password@host/name)"
MASK = "********"


def default_url(environ: Mapping[str, str]) -> str:
    """Return the URL of an SQLite file in the user's state folder. Raises ConfigError (see `state_folder`)."""
    return f"sqlite:///{state_folder(environ) / 'alertctl.db'}"


def database_url(value: object) -> str:
    """Return a URL for SQLAlchemy: `sqlite:///path` or Postgres through psycopg 3. Errors don't repeat the value.

    `postgres://` and `postgresql://` become `postgresql+psycopg://`: the meaning of the short form depends on
    SQLAlchemy's version.
    """
    link = value.strip() if isinstance(value, str) else ""
    if not link or not link.isprintable():
        raise ValueError(f"is not a database URL {_EXAMPLES}")
    if link.lower().startswith("sqlite:"):
        return _sqlite(link)
    if _POSTGRES.match(link):
        return _postgres(link)
    scheme = _SCHEME.match(link)
    named = f"{scheme[1]}:// is" if scheme else "is"
    raise ValueError(f"{named} not a database that alertctl can use {_EXAMPLES}")


def _sqlite(link: str) -> str:
    path = link[len("sqlite:///") :]
    if not link.lower().startswith("sqlite:///") or not path.split("?")[0]:
        raise ValueError("has no file name; write three slashes and a path (sqlite:///path/to/file.db)")
    if path.startswith(":memory:") or "mode=memory" in path:
        raise ValueError(
            "is an in-memory database, which is lost after each command; use a file (sqlite:///path/to/file.db)"
        )
    name, mark, parameters = path.partition("?")
    if mark and "=" not in parameters:
        raise ValueError(f"means the file {name!r}, because a ? ends the file name; rename the file")
    return f"sqlite:///{expand_home(path)}"


def _postgres(link: str) -> str:
    _, _, rest = link.partition("://")
    authority, after = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    # Parsers differ in where such a password ends: one takes the rest of it for the host, and errors show hosts.
    is_ambiguous = authority.count("@") > 1 or "@" in after or "#" in after
    if hosts := "" if is_ambiguous else _host_parameters(authority, after):
        user, at, _ = authority.rpartition("@")
        path, mark, query = after.partition("?")
        rest = f"{user}{at}{path or '/'}?{query}{mark and '&'}{hosts}"
    if is_ambiguous or authority.endswith(":") or split_url(f"postgresql://{rest}") is None:
        raise ValueError(
            "has an invalid port or host; encode special characters in a password: "
            "%40 for @, %2F for /, %3F for ?, %23 for #"
        )
    names = {unquote_plus(name) for name, _ in _PARAMETER.findall(rest)}
    if any(map(is_password_parameter, names)) and not names <= _LIBPQ_PARAMETERS:
        # The message doesn't repeat the parameter: it may be the end of a password.
        raise ValueError("has a parameter that Postgres does not know; encode & in a password as %26")
    return f"postgresql+psycopg://{rest}"


def _host_parameters(authority: str, after: str) -> str:
    """Return libpq's forms of hosts that SQLAlchemy doesn't know as parameters; empty for an ordinary host.

    These are several hosts (`h1:5432,h2:5432`) and a socket's folder (`%2Frun%2Fpostgresql`).
    """
    texts = authority.rpartition("@")[2].split(",")
    matches = [match for text in texts if (match := _HOST.fullmatch(text)) and 0 < int(match[2] or 1) <= 65535]
    is_ordinary = len(texts) == 1 and "%" not in texts[0]
    if is_ordinary or len(matches) < len(texts) or _OWN_HOSTS.search(after):
        return ""
    hosts, ports = (",".join(match[group] or "" for match in matches) for group in (1, 2))
    ports = f"&port={ports}" if ports.strip(",") else ""
    return f"host={hosts.translate(_NO_BRACKETS)}{ports}"


def is_postgres(link: str) -> bool:
    return bool(_POSTGRES.match(link))


def has_own_password(link: str) -> bool:
    """Return whether a Postgres URL contains its password and nothing that makes the driver read another one."""
    return bool(passwords(link)) and not names_secret_file(link)


def names_secret_file(link: str) -> bool:
    """Return whether a Postgres URL makes the driver read a password or a key from a file."""
    return not _FILE_PARAMETERS.isdisjoint(unquote_plus(name) for name, _ in _PARAMETER.findall(link))


def hosts_without_verified_tls(link: str, environ: Mapping[str, str]) -> list[str]:
    """Return the hosts of a Postgres URL whose certificate the driver does not verify, sockets excepted."""
    if not is_postgres(link):
        return []
    parameters = {unquote_plus(name): unquote_plus(value) for name, value in _PARAMETER.findall(link)}
    if "service" in parameters or parameters.get("sslmode", environ.get("PGSSLMODE")) == "verify-full":
        return []
    authority = re.split("[/?#]", link.partition("://")[2])[0].rpartition("@")[2]
    named = parameters.get("host") or authority or environ.get("PGHOST", "")
    hosts = (re.sub(r"(?<=[^:]):\d*$|(?<=\]):\d*$", "", unquote(host)) for host in named.split(","))
    return [host for host in hosts if host and not host.startswith(("/", "@"))]


def masked(link: str) -> str:
    """Return a database URL, or a text that contains one, with its password masked."""
    link = _PASSWORD.sub(lambda match: f"{match[1]}:{MASK}@", link)
    link = _NO_PORT.sub(lambda match: match[0] if MASK in match[0] else f"{match[1]}:{MASK}", link)
    has_password = any(is_password_parameter(name) for name, _ in _PARAMETER.findall(link))

    def hide(parameter: re.Match[str]) -> str:
        if is_password_parameter(parameter[1]):
            return f"{parameter[1]}={MASK}"
        # An unescaped & in a password makes the rest of it look like the next parameter.
        return MASK if has_password and unquote_plus(parameter[1]) not in _LIBPQ_PARAMETERS else parameter[0]

    return _PARAMETER.sub(hide, link)


def passwords(link: str) -> list[str]:
    """Return the passwords in a database URL, as written and decoded."""
    parts = split_url(link)
    encoded = [
        parts.password or "" if parts else "",
        *(password for _, password in _PASSWORD.findall(link)),
        *(value for name, value in _PARAMETER.findall(link) if is_password_parameter(name)),
    ]
    forms = (form for text in encoded if text for form in (text, unquote(text), unquote_plus(text)))
    return list(dict.fromkeys(forms))


def is_password_parameter(parameter: str) -> bool:
    """Return whether a URL parameter holds a password, judging by its name."""
    return bool(_PASSWORD_NAME.search(unquote_plus(parameter)))
