"""Check settings against each other. Nothing here calls the network or the database."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from alertctl.config.database_url import hosts_without_verified_tls
from alertctl.config.settings import Email, Jwt, Settings
from alertctl.config.urls import IN_CLEAR, is_loopback, network_of, sends_in_clear, split_url
from alertctl.config.validators import plain_number, too_many_mentions

_SHORTEST_HMAC_SECRET = 32
"""Bytes; RFC 7518, 3.2: a key of at least the hash's size, for HS256."""
SHORTEST_RSA_KEY = 2048
"""Bits; RFC 7518, 3.3."""
READABLE_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3: the least contrast of text."""
_WRAPPING = " \t\r\n\"'"
"""Characters around a secret that come from a file or a shell and add nothing to it."""


@dataclass(frozen=True)
class SettingProblem:
    """`name` is the variable to change. An error breaks something, a warning may."""

    name: str
    severity: Literal["error", "warning"]
    message: str


def check(settings: Settings) -> list[SettingProblem]:
    """Return the problems of loaded settings, errors first."""
    parts = (_channels, _slack, _email, _smtp, _database, _jwt, _jwt_keys, _in_clear, _ca_bundle, _timing)
    problems = [problem for part in parts for problem in part(settings) if problem.name not in settings.refusals]
    problems += [_error(name, refusal.message) for name, refusal in settings.refusals.items()]
    return sorted(problems, key=lambda problem: problem.severity != "error")


def _error(name: str, message: str) -> SettingProblem:
    return SettingProblem(name, "error", message)


def _warning(name: str, message: str) -> SettingProblem:
    return SettingProblem(name, "warning", message)


def _channels(settings: Settings) -> Iterator[SettingProblem]:
    # A server has channels of its own.
    if not settings.alertctl.server and not any(settings.channels.values()):
        first, *others = (f"{channel}_ENABLED".upper() for channel in settings.channels)
        yield _warning(first, f"all channels are off, so no message is sent; set it or {', '.join(others)} to true")


def _slack(settings: Settings) -> Iterator[SettingProblem]:
    token = settings.slack.bot_token.get_secret_value()
    if settings.slack.enabled and not token:
        yield _error("SLACK_BOT_TOKEN", "is not set, but SLACK_ENABLED is true")
    if token and not token.startswith("xoxb-"):
        yield _warning("SLACK_BOT_TOKEN", "does not begin with xoxb-; set it to the app's Bot User OAuth Token")
    if problem := too_many_mentions(settings.slack.mention):
        yield _warning("SLACK_MENTION", problem)


def _email(settings: Settings) -> Iterator[SettingProblem]:
    key = settings.sendgrid.api_key.get_secret_value()
    if key and not key.startswith("SG."):
        yield _warning("SENDGRID_API_KEY", "does not begin with SG.; set it to a SendGrid API key")
    if not settings.email.enabled:
        return
    if not key and not settings.smtp.host:
        yield _error("SMTP_HOST", "neither SENDGRID_API_KEY nor SMTP_HOST is set, but EMAIL_ENABLED is true")
    if settings.email.accent and (contrast := contrast_on_white(settings.email.accent)) < READABLE_CONTRAST:
        yield _warning("EMAIL_ACCENT", f"has a contrast of {contrast:.1f} on white and is hard to read: darken it")
    if settings.email.from_address == Email.model_fields["from_address"].default:
        yield _warning(
            "EMAIL_FROM_ADDRESS",
            f"is still {settings.email.from_address}, which most servers reject; set your own address",
        )


def contrast_on_white(colour: str) -> float:
    """Return the contrast of a colour (#rrggbb) on white, from 1 to 21 (WCAG 2.2, relative luminance)."""
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def _smtp(settings: Settings) -> Iterator[SettingProblem]:
    smtp = settings.smtp
    password = smtp.password.get_secret_value()
    if smtp.auth == "xoauth2":
        if not smtp.username:
            yield _error("SMTP_USERNAME", "is not set, but SMTP_AUTH is xoauth2")
        if not smtp.oauth_token.get_secret_value():
            yield _error("SMTP_OAUTH_TOKEN", "is not set, but SMTP_AUTH is xoauth2")
    elif smtp.username and not password:
        yield _error("SMTP_PASSWORD", "is not set, but SMTP_USERNAME is")
    if password and not smtp.username:
        yield _warning("SMTP_USERNAME", "is not set: SMTP_PASSWORD is not used")
    if smtp.security == "none" and smtp.username and smtp.host and not is_loopback(smtp.host):
        yield _warning("SMTP_SECURITY", "none sends the password unencrypted; use starttls or tls")
    if (smtp.port, smtp.security) in {(465, "starttls"), (587, "tls")}:
        yield _warning("SMTP_SECURITY", f"{smtp.security} is unusual on port {smtp.port}")


def _database(settings: Settings) -> Iterator[SettingProblem]:
    hosts = [host for host in hosts_without_verified_tls(settings.database.url, os.environ) if not is_loopback(host)]
    if hosts:
        yield _warning(
            "DATABASE_URL",
            f"does not verify the server's certificate of {hosts[0]}; add sslmode=verify-full and sslrootcert=FILE",
        )


def _jwt(settings: Settings) -> Iterator[SettingProblem]:
    jwt = settings.jwt
    secret = jwt.secret.get_secret_value()
    bare = secret.strip(_WRAPPING)
    if secret and len(bare.encode()) < _SHORTEST_HMAC_SECRET:
        yield _error(
            "JWT_SECRET", f"is shorter than {_SHORTEST_HMAC_SECRET} bytes and can be guessed; use a longer one"
        )
    elif secret != bare:
        yield _warning("JWT_SECRET", "has quotes, spaces or a line break around it, which belong to the secret")
    shared = [name for name in jwt.algorithms if name.startswith("HS")]
    public = [name for name in jwt.algorithms if not name.startswith("HS")]
    if shared and not secret:
        yield _error("JWT_SECRET", f"is not set, but JWT_ALGORITHMS has {shared[0]}")
    if public and not jwt.public_key and not jwt.jwks:
        yield _error("JWT_PUBLIC_KEY", f"is not set, nor is JWT_JWKS, but JWT_ALGORITHMS has {public[0]}")
    if jwt.link_by_email and not jwt.issuer:
        yield _warning("JWT_LINK_BY_EMAIL", "trusts the email of every issuer: set JWT_ISSUER")
    if secret or jwt.public_key or jwt.jwks:
        if not jwt.issuer:
            yield _warning(
                "JWT_ISSUER", "is not set, so a token of any issuer is accepted; set it to your identity provider's iss"
            )
        if not jwt.audience:
            yield _warning("JWT_AUDIENCE", "is not set, so a token for another service is accepted; set it to your aud")


def _jwt_keys(settings: Settings) -> Iterator[SettingProblem]:
    location = settings.jwt.jwks
    parts = split_url(location)
    if parts and parts.scheme.lower() == "http" and network_of(parts.hostname or "") != "loopback":
        yield _error("JWT_JWKS", "uses http, so anybody on the network can replace the keys; use https")
    if ".well-known/openid-configuration" in location or ".well-known/oauth-authorization-server" in location:
        yield _error("JWT_JWKS", "is a discovery document, not a key set; set it to the jwks_uri in that document")
    if problem := _public_key_problem(settings.jwt):
        yield _error("JWT_PUBLIC_KEY", problem)
    if problem := _key_file_problem(location):
        yield _error("JWT_JWKS", problem)


def _public_key_problem(jwt: Jwt) -> str | None:
    if not jwt.public_key:
        return None
    # Imported here: it takes 9 MB of memory, which other commands don't need.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from alertctl.config.public_key import load_public_key

    try:
        key = load_public_key(jwt.public_key)
    except ValueError as error:
        return f"is not a readable public key ({error})"
    return _short_rsa_key(key.key_size) if isinstance(key, RSAPublicKey) else None


def _key_file_problem(location: str) -> str | None:
    """Return what is wrong with a key set in a file; one at a URL is checked when the daemon reads it."""
    if not location or location.lower().startswith(("http://", "https://")):
        return None
    try:
        with open(location, "rb") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        return f"{location} cannot be read as JSON ({error})"
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list):
        return f'{location} is not a key set: {{"keys": […]}}'
    return next(filter(None, (_short_rsa_key(rsa_bits(key)) for key in keys)), None)


def rsa_bits(jwk: Any) -> int | None:
    """Return the length of an RSA key of a key set, None for another kind of key."""
    modulus = jwk.get("n") if isinstance(jwk, dict) and jwk.get("kty") == "RSA" else None
    return len(modulus.rstrip("=")) * 6 // 8 * 8 if isinstance(modulus, str) else None


def _short_rsa_key(bits: int | None) -> str | None:
    if bits is None or bits >= SHORTEST_RSA_KEY:
        return None
    return f"has an RSA key of {bits} bits, which can be broken; use {SHORTEST_RSA_KEY} bits or more"


def _in_clear(settings: Settings) -> Iterator[SettingProblem]:
    """Yield a problem for each token that travels by http://: an error on a public network, else a warning."""
    tokens = (
        ("SLACK_API_URL", settings.slack.api_url, settings.slack.bot_token),
        ("SENDGRID_API_URL", settings.sendgrid.api_url, settings.sendgrid.api_key),
        ("ALERTCTL_SERVER", settings.alertctl.server, settings.alertctl.token),
    )
    for name, link, secret in tokens:
        network = sends_in_clear(link) if secret.get_secret_value() else None
        if network:
            yield SettingProblem(name, "error" if network == "public" else "warning", IN_CLEAR)


def public_tokens_in_clear(settings: Settings) -> list[str]:
    """Return a line for each setting that would send a token unencrypted over a public network."""
    return [f"{item.name}: {item.message}" for item in _in_clear(settings) if item.severity == "error"]


def _ca_bundle(settings: Settings) -> Iterator[SettingProblem]:
    bundle = settings.alertctl.ca_bundle
    if not bundle:
        return
    import ssl

    try:
        ssl.create_default_context(cafile=bundle)
    except (OSError, ValueError) as error:
        yield _error("ALERTCTL_CA_BUNDLE", f"{bundle} cannot be read as PEM certificates ({error})")


def _timing(settings: Settings) -> Iterator[SettingProblem]:
    timing = settings.alertctl
    if timing.lease is not None and timing.lease <= timing.deadline:
        deadline = plain_number(timing.deadline)
        yield _error("ALERTCTL_LEASE", f"must be longer than ALERTCTL_DEADLINE ({deadline} s), or alerts go out twice")
