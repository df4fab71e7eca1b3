"""All checks, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from alertctl.config import Settings
from alertctl.doctor import database, email, sendgrid, server, slack, smtp
from alertctl.doctor.runner import Check
from alertctl.doctor.settings import check_enabled, check_settings

_check_slack_settings = partial(check_settings, prefixes=("SLACK_",), except_for=slack.CHECKED_SETTINGS)
_check_email_settings = partial(check_settings, prefixes=email.PREFIXES, except_for=email.CHECKED_SETTINGS)


def checks_for(settings: Settings) -> Iterator[Check]:
    """Yield the checks that make sense with these settings.

    Commands that use a server open no database of this machine, and the server sends.
    """
    slack_on = settings.slack.enabled
    email_on = settings.email.enabled
    uses_server = bool(settings.alertctl.server)
    if slack_on or not uses_server:
        yield Check("slack", "enabled", partial(check_enabled, channel="Slack"))
    if slack_on:
        yield Check("slack", "settings", _check_slack_settings)
        yield Check("slack", "token", slack.check_token)
        yield Check("slack", "auth.test", slack.check_identity)
        yield Check("slack", "chat:write", slack.check_write_scope)
        yield Check("slack", "chat:write.public", slack.check_public_write_scope)
        yield Check("slack", "users:read.email", slack.check_people_scope)
        yield Check("slack", "default channel", slack.check_default_channel)
    if email_on or not uses_server:
        yield Check("email", "enabled", partial(check_enabled, channel="email"))
    if email_on:
        yield Check("email", "settings", _check_email_settings)
        yield Check("email", "sender", email.check_sender)
        yield Check("email", "admin emails", email.check_recipients)
        yield Check("email", "provider", email.check_provider)
    if email_on and settings.sendgrid.api_key.get_secret_value():
        yield Check("email", "SendGrid key", sendgrid.check_key)
        yield Check("email", "mail.send", sendgrid.check_scope)
    elif email_on and settings.smtp.host:
        yield Check("email", "SMTP DNS", smtp.check_dns)
        yield Check("email", "SMTP connect", smtp.check_connect)
        yield Check("email", "SMTP TLS", smtp.check_tls)
        yield Check("email", "SMTP AUTH", smtp.check_auth)
    if uses_server:
        yield Check("server", "reachable", server.check_reachable)
        yield Check("server", "token", server.check_token)
        yield Check("server", "version", server.check_version)
        yield Check("server", "oldest due", server.check_oldest_due)
        yield Check("server", "paused providers", server.check_paused_providers)
        return
    yield Check("db", "reachable", database.check_reachable, database.late_result(settings))
    yield Check("db", "migrations", database.check_migrations)
    yield Check("db", "oldest due", database.check_oldest_due)
    if slack_on:
        yield Check("db", "slack success", partial(database.check_success, channel="slack"))
    if email_on:
        yield Check("db", "email success", partial(database.check_success, channel="email"))
    yield Check("db", "paused providers", database.check_paused_providers)
