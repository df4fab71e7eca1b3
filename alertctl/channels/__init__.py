"""The registry of channels. Importing it is cheap: a channel's libraries are loaded when it is built.

A new channel is one file beside this one, one builder and one line in `BUILDERS`, and its settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from alertctl.channels.base import Channel, Parcel, Receipt, Verdict
from alertctl.errors import ConfigError

if TYPE_CHECKING:
    from alertctl.channels.smtp_session import Security
    from alertctl.config import Settings
    from alertctl.http.client import HttpClient

__all__ = ["BUILDERS", "Channel", "Parcel", "Receipt", "Verdict", "build", "build_all"]


def build(settings: Settings, *, tolerate: bool = False) -> dict[str, Channel]:
    """The channels that are switched on, by name.

    What is wrong with credentials is said by every delivery (DeliveryError with reason `config`), and so is what is in
    `Settings.problems`. Raises ConfigError for an unusable CA bundle, unless `tolerate` makes the deliveries say it.
    """
    try:
        _check_ca_bundle(settings)
    except ConfigError as error:
        if not tolerate:
            raise
        unusable = error.problems
    else:
        unusable = ()
    enabled = {"slack": settings.slack.enabled, "email": settings.email.enabled}
    return {
        name: _unconfigured_channel(name, settings, unusable) or builder(settings)
        for name, builder in BUILDERS.items()
        if enabled[name]
    }


def _check_ca_bundle(settings: Settings) -> None:
    """An unusable bundle is said at the start, not at the first alert. Raises ConfigError."""
    if settings.alertctl.ca_bundle:
        from alertctl.http.tls import tls_context

        tls_context(settings.alertctl.ca_bundle)


def _unconfigured_channel(name: str, settings: Settings, more: Sequence[str]) -> Channel | None:
    """The channel without its settings when something is wrong with one that it uses, else None."""
    names = ["ALERTCTL_CA_BUNDLE", f"{name.upper()}_"]
    if name == "email":
        names.append("SENDGRID_" if _by_sendgrid(settings) else "SMTP_")
    wrong = [*more, *(problem for problem in settings.problems if problem.startswith(tuple(names)))]
    if not wrong:
        return None
    from alertctl.channels.unconfigured import UnconfiguredEmail, UnconfiguredSlack

    return (UnconfiguredSlack if name == "slack" else UnconfiguredEmail)("; ".join(wrong))


def _by_sendgrid(settings: Settings) -> bool:
    """Whether email goes through SendGrid: there is a key, or one that is unusable."""
    unusable = any(problem.startswith("SENDGRID_API_KEY") for problem in settings.problems)
    return unusable or bool(settings.sendgrid.api_key.get_secret_value().strip())


def build_all(settings: Settings) -> dict[str, Channel]:
    """Every channel, also those that are switched off: to render with, not to send. Raises ConfigError."""
    return {name: builder(settings) for name, builder in BUILDERS.items()}


def _slack(settings: Settings) -> Channel:
    from alertctl.channels.slack import SlackChannel

    token = settings.slack.bot_token.get_secret_value()
    return SlackChannel(token, settings.slack.api_url, _http(settings))


def _email(settings: Settings) -> Channel:
    """SendGrid when there is a key, SMTP otherwise; never one after the other."""
    if not settings.email.from_address:
        return _unconfigured("EMAIL_FROM_ADDRESS is not set")
    if _by_sendgrid(settings):
        return _sendgrid(settings)
    if not settings.smtp.host:
        return _unconfigured("neither SENDGRID_API_KEY nor SMTP_HOST is set")
    return _smtp(settings)


def _sendgrid(settings: Settings) -> Channel:
    from alertctl.channels.sendgrid import SendGridChannel

    return SendGridChannel(
        settings.sendgrid.api_key.get_secret_value(),
        settings.sendgrid.api_url,
        settings.email.from_address,
        settings.email.from_name,
        _http(settings),
    )


def _smtp(settings: Settings) -> Channel:
    from alertctl.channels.smtp import SmtpChannel

    return SmtpChannel(
        settings.smtp.host,
        settings.smtp.port,
        settings.smtp.username,
        settings.smtp.password.get_secret_value(),
        cast("Security | None", settings.smtp.security),
        settings.email.from_address,
        settings.email.from_name,
        settings.alertctl.deadline,
        settings.alertctl.ca_bundle,
        settings.alertctl.senders,
    )


def _unconfigured(missing: str) -> Channel:
    from alertctl.channels.unconfigured import UnconfiguredEmail

    return UnconfiguredEmail(missing)


def _http(settings: Settings) -> HttpClient:
    from alertctl.http.client import HttpClient

    ours = settings.alertctl
    return HttpClient(ours.deadline, ours.ca_bundle, pool_size=ours.senders)


BUILDERS: dict[str, Callable[[Settings], Channel]] = {"slack": _slack, "email": _email}
