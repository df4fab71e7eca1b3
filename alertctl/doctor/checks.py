"""All checks, in the order of the report."""

from __future__ import annotations

from functools import partial

from alertctl.config import Settings
from alertctl.doctor import database, email, sendgrid, slack, smtp
from alertctl.doctor.result import failure
from alertctl.doctor.runner import Check
from alertctl.doctor.settings import check_enabled, check_settings

AREAS = ("slack", "email", "db")


def _is_slack_on(settings: Settings) -> bool:
    return settings.slack.enabled


def _is_email_on(settings: Settings) -> bool:
    return settings.email.enabled


def _uses_sendgrid(settings: Settings) -> bool:
    """Return whether the channel sends by SendGrid: it does when there is a key."""
    return settings.email.enabled and bool(settings.sendgrid.api_key.get_secret_value())


def _uses_smtp(settings: Settings) -> bool:
    return settings.email.enabled and not _uses_sendgrid(settings) and bool(settings.smtp.host)


_check_slack_settings = partial(check_settings, prefixes=("SLACK_",), except_for=slack.CHECKED_SETTINGS)
_check_email_settings = partial(check_settings, prefixes=email.PREFIXES, except_for=email.CHECKED_SETTINGS)
_LATE = failure("the database doesn't answer", database.REACH_IT_ON_NETWORK)

CHECKS = (
    Check("slack", "enabled", partial(check_enabled, channel="Slack")),
    Check("slack", "settings", _check_slack_settings, _is_slack_on),
    Check("slack", "token", slack.check_token, _is_slack_on),
    Check("slack", "auth.test", slack.check_identity, _is_slack_on),
    Check("slack", "chat:write", slack.check_write_scope, _is_slack_on),
    Check("slack", "chat:write.public", slack.check_public_write_scope, _is_slack_on),
    Check("slack", "users:read.email", slack.check_people_scope, _is_slack_on),
    Check("slack", "default channel", slack.check_default_channel, _is_slack_on),
    Check("email", "enabled", partial(check_enabled, channel="email")),
    Check("email", "settings", _check_email_settings, _is_email_on),
    Check("email", "sender", email.check_sender, _is_email_on),
    Check("email", "admin emails", email.check_recipients, _is_email_on),
    Check("email", "provider", email.check_provider, _is_email_on),
    Check("email", "SendGrid key", sendgrid.check_key, _uses_sendgrid),
    Check("email", "mail.send", sendgrid.check_scope, _uses_sendgrid),
    Check("email", "SMTP DNS", smtp.check_dns, _uses_smtp),
    Check("email", "SMTP connect", smtp.check_connect, _uses_smtp),
    Check("email", "SMTP TLS", smtp.check_tls, _uses_smtp),
    Check("email", "SMTP AUTH", smtp.check_auth, _uses_smtp),
    Check("db", "reachable", database.check_reachable, late=_LATE),
    Check("db", "migrations", database.check_migrations),
    Check("db", "oldest due", database.check_oldest_due),
    Check("db", "slack success", partial(database.check_success, channel="slack"), _is_slack_on),
    Check("db", "email success", partial(database.check_success, channel="email"), _is_email_on),
    Check("db", "paused providers", database.check_paused_providers),
)
