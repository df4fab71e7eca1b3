"""Which settings a file that lies in the working folder may set: `.env`, `alertctl.toml`, and what they name.

Such a file belongs to its folder (a checkout, an archive, a shared directory), so its author may be a stranger.

- An address (`DIRECTS`) is refused beside a secret from a stronger source: a flag, the environment, or a configuration
  that was named (`--config`, `ALERTCTL_CONFIG`) or is the user's. A file that sets the secret as well is fine.
- A setting that opens a port or decides whom we trust (`is_trusted_only`) counts from a stronger source only.
- A secret's file (`NAME_FILE`) and the file of ALERTCTL_CONFIG must lie inside the folder.
- Everything else counts from anywhere. Proxies are no settings of ours: only the environment has them.

This module is fast to import: it uses the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from alertctl.config.database_url import has_own_password, is_postgres, names_secret_file

DIRECTS: Mapping[str, tuple[str, ...]] = {
    "SLACK_API_URL": ("SLACK_BOT_TOKEN",),
    "SENDGRID_API_URL": ("SENDGRID_API_KEY",),
    "SMTP_HOST": ("SMTP_PASSWORD",),
    "SMTP_PORT": ("SMTP_PASSWORD",),
    "SMTP_SECURITY": ("SMTP_PASSWORD",),
    "ALERTCTL_SERVER": ("ALERTCTL_TOKEN",),
    # Not a secret, but the platform's keys come from there: they decide who may call.
    "ALERTCTL_CA_BUNDLE": ("SLACK_BOT_TOKEN", "SENDGRID_API_KEY", "SMTP_PASSWORD", "ALERTCTL_TOKEN", "JWT_JWKS"),
}
"""Each address, and the secrets that go there or that it protects on their way."""
_ENCRYPTED = ("starttls", "tls")
"""Values of SMTP_SECURITY that keep a password secret, no matter which source sets them."""
_TRUSTED_ONLY = ("ALERTCTL_HOST", "ALERTCTL_NO_DOTENV")
_LIBPQ_SECRETS = ("PGPASSWORD", "PGPASSFILE", "PGSERVICE")
"""Variables by which the Postgres driver gets a password for a DATABASE_URL without one."""
_PASSWORD_FILE = "~/.pgpass"
"""The file from which it takes one without being told to."""


class SettingValue(Protocol):
    """A setting's value and its origin (see `sources.Value`)."""

    @property
    def raw(self) -> object: ...
    @property
    def origin(self) -> str: ...
    @property
    def folder_file(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a setting from `file` in the working folder is not used, and what to do."""

    file: str
    message: str


def is_trusted_only(name: str) -> bool:
    """Return whether this setting never counts from a file that lies in the working folder."""
    return name in _TRUSTED_ONLY or name.startswith("JWT_")


def refuse_trusted_only(name: str, file: str) -> Refusal:
    return Refusal(file, f"is not used from {file} in the working folder; export {name}, or name a file with --config")


def refuse_addresses(values: Mapping[str, SettingValue], environ: Mapping[str, str]) -> dict[str, Refusal]:
    """Return, by NAME, the addresses in the working folder that would receive a stronger source's secret."""
    return dict(_refused_addresses(values, environ))


def _refused_addresses(values: Mapping[str, SettingValue], environ: Mapping[str, str]) -> Iterator[tuple[str, Refusal]]:
    for name, secrets in DIRECTS.items():
        address = values.get(name)
        if address is None or not address.folder_file or not _text(address):
            continue
        if name == "SMTP_SECURITY" and _text(address).lower() in _ENCRYPTED:
            continue
        for secret in secrets:
            value = values.get(secret)
            if value is not None and _text(value) and not value.folder_file:
                yield name, _refuse_address(name, address.folder_file, secret, _origin_name(value.origin))
                break
    database = values.get("DATABASE_URL")
    if database is not None and database.folder_file:
        yield from _refused_database(database, environ)


def _refused_database(database: SettingValue, environ: Mapping[str, str]) -> Iterator[tuple[str, Refusal]]:
    if not is_postgres(_text(database)) or has_own_password(_text(database)):
        return
    file = database.folder_file
    for variable in _LIBPQ_SECRETS:
        if environ.get(variable):
            yield "DATABASE_URL", _refuse_address("DATABASE_URL", file, variable, "the environment")
            return
    if names_secret_file(_text(database)):
        # The driver would read a password outside the folder and send it to the folder's server.
        yield "DATABASE_URL", _refuse_address("DATABASE_URL", file, "a password file", "another folder")
    elif os.path.exists(os.path.expanduser(_PASSWORD_FILE)):
        yield "DATABASE_URL", _refuse_address("DATABASE_URL", file, "the password", _PASSWORD_FILE)


def _refuse_address(name: str, file: str, secret: str, origin: str) -> Refusal:
    return Refusal(
        file,
        f"is not used from {file} in the working folder together with {secret} from {origin}; "
        f"export {name}, set both in {file}, or name a file with --config",
    )


def _origin_name(origin: str) -> str:
    return {"environment": "the environment", "flag": "a flag"}.get(origin, origin)


def _text(value: SettingValue) -> str:
    return str(value.raw).strip()
