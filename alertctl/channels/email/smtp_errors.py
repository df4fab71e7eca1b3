"""The reason of each SMTP reply and of each exception of smtplib."""

from __future__ import annotations

import re
import smtplib
from enum import StrEnum

from alertctl.channels.email.network_errors import RequestPhase, network_error
from alertctl.errors import DeliveryError, Reason


class SmtpStep(StrEnum):
    """The step of a session that the server refused."""

    GREETING = "the connection"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    END = "the end of the message"


_ABOUT_CLIENT = frozenset({SmtpStep.GREETING, SmtpStep.HELLO, SmtpStep.STARTTLS, SmtpStep.AUTH, SmtpStep.MAIL})
"""Steps that are the same for every message: a 5xx here refuses all of them."""

_AUTH_CODES = frozenset({530, 534, 535, 538})
"""RFC 4954: authentication required, too weak, failed, needs encryption."""

_NOT_THE_ADDRESS = frozenset({500, 502, 503, 504})
"""RFC 5321: the server did not understand the command; this is not about the recipient."""

_ABOUT_THE_ADDRESS = re.compile(r"[45]\.1\.\d{1,3}\b")
"""RFC 3463: the enhanced codes of the subject "addressing", with which a reply begins."""

_ENDS_SESSION = frozenset({421, 452})
"""RFC 5321: the server closes the connection, or has no room for more on it."""

EXCEPTIONS: dict[type[BaseException], str] = {
    smtplib.SMTPException: "smtp_error",
    smtplib.SMTPNotSupportedError: "not_supported",
    smtplib.SMTPServerDisconnected: "no_reply",
    smtplib.SMTPResponseException: "smtp_error",
    smtplib.SMTPSenderRefused: "smtp_error",
    smtplib.SMTPRecipientsRefused: "smtp_error",
    smtplib.SMTPDataError: "smtp_error",
    smtplib.SMTPConnectError: "smtp_error",
    smtplib.SMTPHeloError: "smtp_error",
    smtplib.SMTPAuthenticationError: "smtp_error",
}
"""Codes for smtplib's own exceptions. A session raises a refusing reply as `SmtpRefusal`."""


def smtp_reason(step: SmtpStep, code: int) -> Reason:
    """Return the reason. 4xx is retried; 5xx depends on the step; anything else after the message is ambiguous.

    552 at RCPT means too many recipients, which is temporary (RFC 5321, 4.5.3.1.10).
    """
    if step is SmtpStep.END:
        return Reason.UNAVAILABLE if 400 <= code < 500 else Reason.REJECTED if 500 <= code < 600 else Reason.AMBIGUOUS
    if not 500 <= code < 600 or (step is SmtpStep.RCPT and code == 552):
        return Reason.UNAVAILABLE
    if step is SmtpStep.MAIL and code in (552, 555):
        return Reason.REJECTED
    if step in _ABOUT_CLIENT or code in _AUTH_CODES:
        return Reason.CONFIG
    return Reason.BAD_ADDRESS if step is SmtpStep.RCPT and code not in _NOT_THE_ADDRESS else Reason.REJECTED


class SmtpRefusal(DeliveryError):
    """An unexpected reply, with the server's own code and text, not redacted yet."""

    def __init__(self, step: SmtpStep, code: int, text: str) -> None:
        super().__init__(smtp_reason(step, code), str(code), detail=f"{code} {text} (in answer to {step.value})")
        self.is_about_address = step is SmtpStep.RCPT and _ABOUT_THE_ADDRESS.match(text) is not None
        self.leaves_session_usable = 400 <= code < 600 and code not in _ENDS_SESSION


def may_depend_on_connection(error: DeliveryError) -> bool:
    """Return whether a new connection may bring another answer. False if the server may have accepted the message."""
    if isinstance(error, SmtpRefusal):
        return error.reason is not Reason.AMBIGUOUS and not error.is_about_address
    return error.reason is Reason.UNAVAILABLE and error.code != "timeout"


def smtp_error(exc: BaseException, phase: RequestPhase, *, connecting: bool = False) -> DeliveryError:
    """Return the DeliveryError for an exception that ended a session in `phase`."""
    code = next((EXCEPTIONS[kind] for kind in type(exc).__mro__ if kind in EXCEPTIONS), None)
    if code is None:
        return network_error(exc, phase, connecting=connecting)
    number = getattr(exc, "smtp_code", None)
    if isinstance(number, int) and number > 0:
        code = str(number)
    return DeliveryError(phase.value, code, detail=f"{type(exc).__name__}: {exc}")
