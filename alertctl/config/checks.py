"""Check settings against each other. Nothing here calls the network or the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alertctl.config.settings import Email, Settings
from alertctl.config.validators import is_loopback, plain_number, split_url

_SHORTEST_HMAC_SECRET = 32
"""Bytes; RFC 7518, 3.2: a key of at least the hash's size, for HS256."""


@dataclass(frozen=True)
class SettingProblem:
    """`name` is the variable to change. An error breaks something, a warning may."""

    name: str
    severity: Literal["error", "warning"]
    message: str


def check(settings: Settings) -> list[SettingProblem]:
    """Return the problems of loaded settings, errors first."""
    parts = (_channels, _slack, _email, _smtp, _jwt, _in_clear, _timing)
    problems = [problem for part in parts for problem in part(settings) if problem.name not in settings.refusals]
    problems += [_error(name, refusal.message) for name, refusal in settings.refusals.items()]
    return sorted(problems, key=lambda problem: problem.severity != "error")


def _error(name: str, message: str) -> SettingProblem:
    return SettingProblem(name, "error", message)


def _warning(name: str, message: str) -> SettingProblem:
    return SettingProblem(name, "warning", message)


def _channels(settings: Settings) -> Iterator[SettingProblem]:
    if not any(settings.channels.values()):
        first, *others = (f"{channel}_ENABLED".upper() for channel in settings.channels)
        yield _warning(first, f"all channels are off, so no message is sent; set it or {', '.join(others)} to true")


def _slack(settings: Settings) -> Iterator[SettingProblem]:
    token = settings.slack.bot_token.get_secret_value()
    if settings.slack.enabled and not token:
        yield _error("SLACK_BOT_TOKEN", "is not set, but SLACK_ENABLED is true")
    if token and not token.startswith("xoxb-"):
        yield _warning("SLACK_BOT_TOKEN", "does not begin with xoxb-; set it to the app's Bot User OAuth Token")


def _email(settings: Settings) -> Iterator[SettingProblem]:
    key = settings.sendgrid.api_key.get_secret_value()
    if key and not key.startswith("SG."):
        yield _warning("SENDGRID_API_KEY", "does not begin with SG.; set it to a SendGrid API key")
    if not settings.email.enabled:
        return
    if not key and not settings.smtp.host:
        yield _error("SMTP_HOST", "neither SENDGRID_API_KEY nor SMTP_HOST is set, but EMAIL_ENABLED is true")
    if settings.email.from_address == Email.model_fields["from_address"].default:
        yield _warning(
            "EMAIL_FROM_ADDRESS",
            f"is still {settings.email.from_address}, which most servers reject; set your own address",
        )


def _smtp(settings: Settings) -> Iterator[SettingProblem]:
    smtp = settings.smtp
    password = smtp.password.get_secret_value()
    if smtp.auth == "xoauth2":
        yield from _oauth(settings)
    elif smtp.username and not password:
        yield _error("SMTP_PASSWORD", "is not set, but SMTP_USERNAME is")
    if password and not smtp.username:
        yield _warning("SMTP_USERNAME", "is not set: SMTP_PASSWORD is not used")
    if smtp.security == "none" and smtp.username and smtp.host and not is_loopback(smtp.host):
        yield _warning("SMTP_SECURITY", "none sends the password unencrypted; use starttls or tls")
    if (smtp.port, smtp.security) in {(465, "starttls"), (587, "tls")}:
        yield _warning("SMTP_SECURITY", f"{smtp.security} is unusual on port {smtp.port}")


def _oauth(settings: Settings) -> Iterator[SettingProblem]:
    smtp = settings.smtp
    if not smtp.username:
        yield _error("SMTP_USERNAME", "is not set, but SMTP_AUTH is xoauth2")
    if not smtp.oauth_token.get_secret_value():
        yield _error("SMTP_OAUTH_TOKEN", "is not set, but SMTP_AUTH is xoauth2")


def _jwt(settings: Settings) -> Iterator[SettingProblem]:
    jwt = settings.jwt
    secret = jwt.secret.get_secret_value()
    if secret and len(secret.encode()) < _SHORTEST_HMAC_SECRET:
        yield _warning(
            "JWT_SECRET", f"is shorter than {_SHORTEST_HMAC_SECRET} bytes and can be guessed; use a longer one"
        )
    shared = [name for name in jwt.algorithms if name.startswith("HS")]
    public = [name for name in jwt.algorithms if not name.startswith("HS")]
    if shared and not secret:
        yield _error("JWT_SECRET", f"is not set, but JWT_ALGORITHMS has {shared[0]}")
    if public and not jwt.public_key and not jwt.jwks:
        yield _error("JWT_PUBLIC_KEY", f"is not set, nor is JWT_JWKS, but JWT_ALGORITHMS has {public[0]}")
    if jwt.link_by_email and not jwt.issuer:
        yield _warning("JWT_LINK_BY_EMAIL", "trusts the email of every issuer: set JWT_ISSUER")


def _in_clear(settings: Settings) -> Iterator[SettingProblem]:
    """Yield a warning for each credential that is sent to another machine over http://."""
    credentials = (
        ("SLACK_API_URL", settings.slack.api_url, settings.slack.bot_token),
        ("SENDGRID_API_URL", settings.sendgrid.api_url, settings.sendgrid.api_key),
        ("ALERTCTL_SERVER", settings.alertctl.server, settings.alertctl.token),
    )
    for name, link, secret in credentials:
        parts = split_url(link)
        if parts and parts.scheme == "http" and secret.get_secret_value() and not is_loopback(parts.hostname or ""):
            yield _warning(name, "uses http, which sends the token unencrypted; use https")


def _timing(settings: Settings) -> Iterator[SettingProblem]:
    timing = settings.alertctl
    if timing.lease is not None and timing.lease <= timing.deadline:
        deadline = plain_number(timing.deadline)
        yield _error("ALERTCTL_LEASE", f"must be longer than ALERTCTL_DEADLINE ({deadline} s), or alerts go out twice")
