"""Email's channel type. Importing it does not load the providers' libraries; building the channel does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alertctl.addresses import LONGEST_EMAIL, is_email
from alertctl.channels.base import (
    NOT_CONFIGURED,
    Channel,
    ChannelType,
    OutgoingMessage,
    RoutingReason,
    Unconfigured,
    http_client,
)

if TYPE_CHECKING:
    from alertctl.channels.email.message import Sender
    from alertctl.config import Settings
    from alertctl.content import Content


class UnconfiguredEmail(Unconfigured):
    name = "email"
    provider = "smtp"

    def __init__(self, problem: str, code: str = NOT_CONFIGURED, sender: Sender | None = None) -> None:
        super().__init__(problem, code)
        self._sender = sender

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        """Return the email that would be sent, with a placeholder for a sender that is not known."""
        from alertctl.channels.email.message import Sender, preview

        return preview(content, outgoing, self._sender or Sender("nobody@alertctl.invalid"))


def _build(settings: Settings) -> Channel:
    """Return SendGrid if there is a key, else SMTP. A failure of SendGrid is never retried over SMTP."""
    from alertctl.channels.email.message import Branding, Sender

    branding = Branding(settings.email.logo_url, settings.email.accent, settings.alertctl.templates)
    sender = Sender(settings.email.from_address, settings.email.from_name, branding)
    if not sender.address:
        unknown = Sender("nobody@alertctl.invalid", branding=branding)
        return UnconfiguredEmail("EMAIL_FROM_ADDRESS is not set", sender=unknown)
    if _uses_sendgrid(settings):
        from alertctl.channels.email.sendgrid import SendGridChannel

        key = settings.sendgrid.api_key.get_secret_value()
        return SendGridChannel(key, settings.sendgrid.api_url, sender, http_client(settings))
    if not settings.smtp.host:
        return UnconfiguredEmail("neither SENDGRID_API_KEY nor SMTP_HOST is set", sender=sender)
    from alertctl.channels.email.smtp import SmtpChannel
    from alertctl.channels.email.smtp_session import server_of

    options = settings.alertctl
    return SmtpChannel(
        server_of(settings), sender, deadline=options.deadline, ca_bundle=options.ca_bundle, pool=options.senders
    )


def _uses_sendgrid(settings: Settings) -> bool:
    """Return whether email uses SendGrid: there is a key, even an unusable one."""
    unusable = any(problem.startswith("SENDGRID_API_KEY") for problem in settings.problems)
    return unusable or bool(settings.sendgrid.api_key.get_secret_value().strip())


def _template_problems(settings: Settings, content: Content) -> Iterator[tuple[str, str]]:
    folder = settings.alertctl.templates
    if folder:
        from alertctl.channels.email.custom_templates import template_problems
        from alertctl.channels.email.message import template_values

        yield from (("ALERTCTL_TEMPLATES", problem) for problem in template_problems(folder, template_values(content)))


def _message_text(message: Mapping[str, Any]) -> str:
    subject = message.get("headers", {}).get("Subject", "")
    text = str(message.get("text", ""))
    return f"Subject: {subject}\n\n{text}" if subject else text


EMAIL = ChannelType(
    name="email",
    build=_build,
    unconfigured=UnconfiguredEmail,
    message_text=_message_text,
    address_example="dev@example.com",
    providers=("sendgrid", "smtp"),
    address_schema={"format": "email", "maxLength": LONGEST_EMAIL},
    default_addresses=lambda settings: settings.notification.admin_emails,
    default_addresses_setting="NOTIFICATION_ADMIN_EMAILS",
    default_routing_reason=RoutingReason(
        "admin_email",
        "one of NOTIFICATION_ADMIN_EMAILS",
        "it is one of NOTIFICATION_ADMIN_EMAILS, and {event_type} goes to email",
        "this address is a default recipient (NOTIFICATION_ADMIN_EMAILS)",
    ),
    user_routing_reason=RoutingReason(
        "user_email",
        "a user wants this event by email",
        "{user} wants {event_type} by email (their preferences)",
        "your preferences include {event_type} by email",
    ),
    address_preference="email_address",
    users_have_address=True,
    allowed_addresses=lambda settings: settings.alertctl.allowed_email_domains,
    allowed_addresses_setting="ALERTCTL_ALLOWED_EMAIL_DOMAINS",
    own_address=lambda caller: caller if is_email(caller) else None,
    settings_prefixes=lambda settings: ("SENDGRID_" if _uses_sendgrid(settings) else "SMTP_",),
    template_problems=_template_problems,
    renderings=("text", "html"),
)
