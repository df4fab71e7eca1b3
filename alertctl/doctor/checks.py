"""All checks, in the order of the report."""

from __future__ import annotations

from functools import partial

from alertctl.config import Settings
from alertctl.doctor import database, email, sendgrid, server, slack, smtp
from alertctl.doctor.result import failure
from alertctl.doctor.runner import Check
from alertctl.doctor.settings import check_enabled, check_settings

AREAS = ("slack", "email", "db", "server")


def _is_slack_on(settings: Settings) -> bool:
    return settings.slack.enabled


def _is_email_on(settings: Settings) -> bool:
    return settings.email.enabled


def _uses_server(settings: Settings) -> bool:
    """Return whether commands use a server. It sends, and no database of this machine is opened."""
    return bool(settings.alertctl.server)


def _uses_database(settings: Settings) -> bool:
    return not _uses_server(settings)


def _sends_slack(settings: Settings) -> bool:
    return settings.slack.enabled or _uses_database(settings)


def _sends_email(settings: Settings) -> bool:
    return settings.email.enabled or _uses_database(settings)


def _logs_slack(settings: Settings) -> bool:
    return settings.slack.enabled and _uses_database(settings)


def _logs_email(settings: Settings) -> bool:
    return settings.email.enabled and _uses_database(settings)


def _uses_sendgrid(settings: Settings) -> bool:
    """Return whether the channel sends by SendGrid: it does when there is a key."""
    return settings.email.enabled and bool(settings.sendgrid.api_key.get_secret_value())


def _uses_smtp(settings: Settings) -> bool:
    return settings.email.enabled and not _uses_sendgrid(settings) and bool(settings.smtp.host)


_check_slack_settings = partial(check_settings, prefixes=("SLACK_",), except_for=slack.CHECKED_SETTINGS)
_check_email_settings = partial(check_settings, prefixes=email.PREFIXES, except_for=email.CHECKED_SETTINGS)
_LATE = failure("the database doesn't answer", database.REACH_IT_ON_NETWORK)

CHECKS = (
    Check("slack", "enabled", partial(check_enabled, channel="Slack"), _sends_slack),
    Check("slack", "settings", _check_slack_settings, _is_slack_on),
    Check("slack", "token", slack.check_token, _is_slack_on),
    Check("slack", "auth.test", slack.check_identity, _is_slack_on),
    Check("slack", "chat:write", slack.check_write_scope, _is_slack_on),
    Check("slack", "chat:write.public", slack.check_public_write_scope, _is_slack_on),
    Check("slack", "users:read.email", slack.check_people_scope, _is_slack_on),
    Check("slack", "default channel", slack.check_default_channel, _is_slack_on),
    Check("email", "enabled", partial(check_enabled, channel="email"), _sends_email),
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
    Check("db", "reachable", database.check_reachable, _uses_database, _LATE),
    Check("db", "migrations", database.check_migrations, _uses_database),
    Check("db", "oldest due", database.check_oldest_due, _uses_database),
    Check("db", "slack success", partial(database.check_success, channel="slack"), _logs_slack),
    Check("db", "email success", partial(database.check_success, channel="email"), _logs_email),
    Check("db", "paused providers", database.check_paused_providers, _uses_database),
    Check("server", "reachable", server.check_reachable, _uses_server),
    Check("server", "token", server.check_token, _uses_server),
    Check("server", "version", server.check_version, _uses_server),
    Check("server", "oldest due", server.check_oldest_due, _uses_server),
    Check("server", "paused providers", server.check_paused_providers, _uses_server),
)
