"""Email settings of either provider: sender, recipients, and the choice of the provider."""

from __future__ import annotations

from urllib.parse import urlsplit

from alertctl.config.settings import Email
from alertctl.doctor.result import CheckResult, failure, ok, warning
from alertctl.doctor.runner import CheckRun
from alertctl.error_codes import ERROR_CODES

PREFIXES = ("EMAIL_", "SENDGRID_", "SMTP_", "NOTIFICATION_")
CHECKED_SETTINGS = ("EMAIL_ENABLED", "EMAIL_FROM_ADDRESS", "SENDGRID_API_KEY", "SMTP_HOST")
"""Settings with a check of their own."""


def check_sender(check_run: CheckRun) -> CheckResult:
    """Check whether other servers can know the sender's domain. Nothing is looked up."""
    address = check_run.settings.email.from_address
    domain = address.rpartition("@")[2]
    if address == Email.model_fields["from_address"].default:
        what = f"is still {address}, which most servers reject"
        return warning(what, "Set EMAIL_FROM_ADDRESS to an address of yours.")
    if "." not in domain.strip("."):
        what = f"{address}: {domain} is not a public domain"
        return warning(what, "Set EMAIL_FROM_ADDRESS to an address of your domain.")
    return ok(address)


def check_recipients(check_run: CheckRun) -> CheckResult:
    admins = check_run.settings.notification.admin_emails
    if admins:
        return ok(", ".join(admins))
    return warning("none are set; only users with email preferences get email", "Set NOTIFICATION_ADMIN_EMAILS.")


def check_provider(check_run: CheckRun) -> CheckResult:
    settings = check_run.settings
    if settings.sendgrid.api_key.get_secret_value():
        return ok(f"SendGrid at {urlsplit(settings.sendgrid.api_url).hostname}, because SENDGRID_API_KEY is set")
    if settings.smtp.host:
        return ok(f"SMTP at {settings.smtp.host}, port {settings.smtp.port}")
    return failure("not_configured: neither SENDGRID_API_KEY nor SMTP_HOST is set", ERROR_CODES["not_configured"].fix)
