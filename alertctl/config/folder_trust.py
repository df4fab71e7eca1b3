"""Decide which settings a file in the working folder may set: `.env`, `alertctl.toml`, and the files they name.

Such a file belongs to its folder (a checkout, an archive, a shared directory), so its author may be a stranger.

- An address (`DIRECTS`) is refused beside a secret from a stronger source: a flag, the environment, or a configuration
  that was named (`--config`, `ALERTCTL_CONFIG`) or is the user's. A file that sets the secret as well is fine.
- A setting that opens a port or selects trusted keys (`is_trusted_only`) counts from a stronger source only.
- A secret's file (`NAME_FILE`) and the file of ALERTCTL_CONFIG must lie inside the folder.
- Everything else counts from anywhere. Proxies come from the environment only.

This module is fast to import: it uses the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alertctl.config.database_url import has_own_password, is_postgres, names_secret_file

if TYPE_CHECKING:
    from alertctl.config.sources import Value

_SMTP_SECRETS = ("SMTP_PASSWORD", "SMTP_OAUTH_TOKEN")
DIRECTS: Mapping[str, tuple[str, ...]] = {
    "SLACK_API_URL": ("SLACK_BOT_TOKEN",),
    "SENDGRID_API_URL": ("SENDGRID_API_KEY",),
    "SMTP_HOST": _SMTP_SECRETS,
    "SMTP_PORT": _SMTP_SECRETS,
    "SMTP_SECURITY": _SMTP_SECRETS,
    "ALERTCTL_SERVER": ("ALERTCTL_TOKEN",),
    # Not a secret, but the platform's keys come from there: they decide who may call.
    "ALERTCTL_CA_BUNDLE": ("SLACK_BOT_TOKEN", "SENDGRID_API_KEY", *_SMTP_SECRETS, "ALERTCTL_TOKEN", "JWT_JWKS"),
}
"""The secrets that go to each address, or that it protects in transit."""
_ENCRYPTED = ("starttls", "tls")
"""Values of SMTP_SECURITY that keep a password secret, no matter which source sets them."""
_TRUSTED_ONLY = ("ALERTCTL_HOST", "ALERTCTL_NO_DOTENV")
_LIBPQ_SECRETS = ("PGPASSWORD", "PGPASSFILE", "PGSERVICE")
"""Variables by which the Postgres driver gets a password for a DATABASE_URL without one."""
_PASSWORD_FILE = "~/.pgpass"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a setting from `file` in the working folder is not used, and what to do."""

    file: str
    message: str


def is_trusted_only(name: str) -> bool:
    """Return whether this setting never counts from a file that lies in the working folder."""
    return name in _TRUSTED_ONLY or name.startswith("JWT_")


def refuse_trusted_only(name: str, file: str) -> Refusal:
    # No TOML file can switch `.env` off.
    alternative = "" if name == "ALERTCTL_NO_DOTENV" else ", or set it in a TOML file that --config names"
    return Refusal(file, f"is not used from {file} in the working folder; export {name}{alternative}")


def refuse_addresses(values: Mapping[str, Value], environ: Mapping[str, str]) -> dict[str, Refusal]:
    """Return, by NAME, the addresses in the working folder that would receive a stronger source's secret."""
    refused = {}
    for name, secrets in DIRECTS.items():
        address = values.get(name)
        if address is None or not address.folder_file or not address.text.strip():
            continue
        if name == "SMTP_SECURITY" and address.text.strip().lower() in _ENCRYPTED:
            continue
        for secret in secrets:
            value = values.get(secret)
            if value is not None and value.text.strip() and not value.folder_file:
                origin = {"environment": "the environment", "flag": "a flag"}.get(value.origin, value.origin)
                refused[name] = _refuse_address(name, address.folder_file, secret, origin)
                break
    database = values.get("DATABASE_URL")
    if database and database.folder_file:
        refusal = _refuse_database(database.text.strip(), database.folder_file, environ)
        if refusal:
            refused["DATABASE_URL"] = refusal
    return refused


def _refuse_database(url: str, file: str, environ: Mapping[str, str]) -> Refusal | None:
    """Return a refusal if the Postgres driver takes the password for this URL from elsewhere, else None."""
    if not is_postgres(url) or has_own_password(url):
        return None
    if names_secret_file(url):
        return Refusal(
            file,
            f"is not used from {file} in the working folder because it names a file with a password or a key; "
            "export DATABASE_URL, or set it in a TOML file that --config names",
        )
    for variable in _LIBPQ_SECRETS:
        if environ.get(variable):
            return _refuse_address("DATABASE_URL", file, variable, "the environment")
    if os.path.exists(os.path.expanduser(_PASSWORD_FILE)):
        return _refuse_address("DATABASE_URL", file, "the password", _PASSWORD_FILE)
    return None


def _refuse_address(name: str, file: str, secret: str, origin: str) -> Refusal:
    if name == "DATABASE_URL":
        # alertctl reads none of the driver's variables from a file.
        advice = f"export {name}, write the password into the URL"
    elif is_trusted_only(secret):
        advice = f"export {name}"
    else:
        advice = f"export {name}, set both in {file}"
    return Refusal(
        file,
        f"is not used from {file} in the working folder together with {secret} from {origin}; "
        f"{advice}, or set it in a TOML file that --config names",
    )
