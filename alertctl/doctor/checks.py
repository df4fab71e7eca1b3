"""Every check, in the order in which it is reported."""

from __future__ import annotations

from alertctl.config import Settings
from alertctl.doctor import database, email, sendgrid, slack, smtp
from alertctl.doctor.result import failure
from alertctl.doctor.runner import Check

AREAS = ("slack", "email", "db")


def _slack_on(settings: Settings) -> bool:
    return settings.slack.enabled


def _email_on(settings: Settings) -> bool:
    return settings.email.enabled


def _by_sendgrid(settings: Settings) -> bool:
    """The same choice as that of the channel: SendGrid when there is a key."""
    return settings.email.enabled and bool(settings.sendgrid.api_key.get_secret_value())


def _by_smtp(settings: Settings) -> bool:
    return settings.email.enabled and not _by_sendgrid(settings) and bool(settings.smtp.host)


CHECKS = (
    Check("slack", "enabled", slack.enabled),
    Check("slack", "settings", slack.well_set, _slack_on),
    Check("slack", "token", slack.token, _slack_on),
    Check("slack", "auth.test", slack.identity, _slack_on),
    Check("slack", "chat:write", slack.may_write, _slack_on),
    Check("slack", "chat:write.public", slack.may_write_uninvited, _slack_on),
    Check("slack", "default channel", slack.default_channel, _slack_on),
    Check("email", "enabled", email.enabled),
    Check("email", "settings", email.well_set, _email_on),
    Check("email", "sender", email.sender, _email_on),
    Check("email", "admin emails", email.recipients, _email_on),
    Check("email", "provider", email.provider, _email_on),
    Check("email", "SendGrid key", sendgrid.key, _by_sendgrid),
    Check("email", "mail.send", sendgrid.may_send, _by_sendgrid),
    Check("email", "SMTP DNS", smtp.dns, _by_smtp),
    Check("email", "SMTP connect", smtp.connect, _by_smtp),
    Check("email", "SMTP TLS", smtp.tls, _by_smtp),
    Check("email", "SMTP AUTH", smtp.auth, _by_smtp),
    Check(
        "db",
        "reachable",
        database.reachable,
        late=failure("the database doesn't answer", database.REACH_IT_ON_NETWORK),
    ),
    Check("db", "migrations", database.migrated),
    Check("db", "oldest due", database.oldest_due),
    Check("db", "slack success", database.last_slack_success, _slack_on),
    Check("db", "email success", database.last_email_success, _email_on),
    Check("db", "paused providers", database.paused_providers),
)
