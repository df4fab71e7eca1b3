"""The code and reason of each SMTP reply, and of each exception of a socket, of TLS and of smtplib."""

from __future__ import annotations

import errno
import re
import smtplib
import socket
import ssl
from enum import StrEnum

from alertctl.channels.email.smtp_connection import (
    BadReplyError,
    LookupTimeoutError,
    NoReplyError,
    ReplyCutError,
    ReplyTooLongError,
)
from alertctl.error_codes import failure_reason
from alertctl.errors import ConfigError, DeliveryError, Reason


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

_ENHANCED = re.compile(r"\A[245]\.(\d{1,3})\.(\d{1,3})\b|\(#?[245]\.(\d{1,3})\.(\d{1,3})\)")
"""RFC 3463: a reply begins with its enhanced code; qmail puts it in parentheses at the end."""
_ADDRESSING = 1
_SIZE = (3, 4)
_LIMIT = (4, 5)
_PROTOCOL = 5
_CONTENT = 6
_POLICY = 7
"""Subjects and codes of RFC 3463. 4.5 is "congestion" there, and Google's daily limit."""
_ABOUT_THE_SENDER = frozenset({(1, 7), (1, 8)})
_MICROSOFT_LIMIT, _MICROSOFT_TLS = (1, 90), (7, 66)

_SENDING_LIMIT = re.compile(
    r"\b(daily|hourly|sending|submission|per (day|hour|minute))\b.{0,60}\b(limit|quota)|throttl|\brate.?limit"
    r"|\b(message|sending) rate\b|too (much mail|many (messages|mails|e-?mails))",
    re.IGNORECASE | re.DOTALL,
)
_OTHER_LIMIT = re.compile(r"connection|session|mailbox|inbox|storage|\bsize\b", re.IGNORECASE)
_LONG_LIMIT = re.compile(r"daily|hourly|per (day|hour)|quota", re.IGNORECASE)
_LONG_LIMIT_SECONDS = 900.0
_TLS_TOO_OLD = re.compile(r"\bTLS ?v?1\.[01]\b|\bTLS\b.{0,40}\b(too old|not supported|deprecated)", re.IGNORECASE)
_GREYLISTING = re.compile(r"gr[ae]y.?list", re.IGNORECASE)
_LOGIN_REQUIRED = "authentication_required"
_POLICIES = (
    ("helo_refused", re.compile(r"\b(helo|ehlo)\b", re.IGNORECASE)),
    ("relaying_denied", re.compile(r"\brelay|rcpthosts", re.IGNORECASE)),
    (
        _LOGIN_REQUIRED,
        re.compile(r"authenticat\w+ (is )?required|\bnot authenticated\b|must authenticate", re.IGNORECASE),
    ),
    ("sender_refused", re.compile(r"\bsender\b|\bspf\b|\bdmarc\b", re.IGNORECASE)),
)
"""The code of a refusal by policy at RCPT, by its text; without enhanced code all but the last are recognized."""

_ENDS_SESSION = frozenset({421, 452})
"""RFC 5321: the server closes the connection, or has no room for more on it."""

_OPENSSL_EXPIRED = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)."""
_OPENSSL_WRONG_HOST = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH."""

CODES: dict[type[BaseException], str] = {
    # sockets
    socket.gaierror: "dns_failure",
    LookupTimeoutError: "dns_timeout",
    ConnectionRefusedError: "connection_refused",
    ConnectionResetError: "connection_reset",
    ConnectionAbortedError: "connection_reset",
    BrokenPipeError: "connection_reset",
    TimeoutError: "timeout",
    ReplyTooLongError: "endless_reply",
    NoReplyError: "no_reply",
    BadReplyError: "bad_reply",
    ReplyCutError: "incomplete_reply",
    OSError: "network_error",
    ValueError: "bad_request",
    # TLS; `_certificate_code` distinguishes certificate errors
    ConfigError: "bad_ca_bundle",
    ssl.SSLEOFError: "connection_lost",
    ssl.SSLZeroReturnError: "connection_lost",
    ssl.SSLError: "tls_failed",
    ssl.CertificateError: "tls_untrusted",
    # smtplib's own; a session raises a refusing reply as `SmtpRefusal`
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
"""The code of each exception; the first match in its method resolution order counts."""

_LOCAL_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EADDRNOTAVAIL)
"""This machine has run out of file descriptors, memory, disk or ports."""

_PLAIN_TEXT = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
"""OpenSSL's reasons when the other side answers TLS in plain text."""

_OLD_TLS = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "WRONG_SSL_VERSION")
"""OpenSSL's reasons when both sides have no version of TLS in common."""


def smtp_reason(step: SmtpStep, code: int) -> Reason:
    """Return the reason. 4xx is retried; 5xx depends on the step; anything else after the message is ambiguous.

    552 at RCPT means too many recipients, which is temporary (RFC 5321, 4.5.3.1.10). `refusal_of` knows more.
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


def refusal_of(step: SmtpStep, code: int, text: str, *, accepts_others: bool = False) -> tuple[Reason, str]:
    """Return the reason and the code of a refusal, by its step and its enhanced code, which say more than its number.

    The code is the server's number, or a name where the number has several meanings. `accepts_others`: the server has
    accepted another recipient from this login, so a refusal at RCPT concerns this address alone.
    """
    enhanced = _enhanced(text)
    if 400 <= code < 600:
        if _TLS_TOO_OLD.search(text) or enhanced == _MICROSOFT_TLS:
            return Reason.CONFIG, "tls_too_old"
        if _is_sending_limit(code, text, enhanced):
            return Reason.RATE_LIMITED, "sending_limit"
    if step is SmtpStep.RCPT and (policy := _policy(code, text, enhanced)):
        if policy in (_LOGIN_REQUIRED, str(code)) and code >= 500 and not accepts_others:
            return Reason.CONFIG, policy
        # It may concern this address alone, so it doesn't open the circuit breaker: others must not wait for it.
        return Reason.LOCAL, policy
    if step in (SmtpStep.DATA, SmtpStep.END) and 500 <= code < 600 and enhanced[0] == _POLICY:
        return Reason.REJECTED, "message_refused"
    if step is SmtpStep.MAIL and 500 <= code < 600 and (enhanced[0] == _CONTENT or enhanced == _SIZE):
        return Reason.REJECTED, str(code)
    if step is SmtpStep.RCPT and 500 <= code < 600 and _is_about_address(enhanced):
        return Reason.BAD_ADDRESS, str(code)
    if step is SmtpStep.AUTH and code in (334, 432):
        return Reason.CONFIG, str(code)
    return smtp_reason(step, code), str(code)


def _enhanced(text: str) -> tuple[int, int]:
    """Return subject and detail of the reply's enhanced code, (0, 0) without one."""
    match = _ENHANCED.search(text)
    if match is None:
        return 0, 0
    return int(match[1] or match[3]), int(match[2] or match[4])


def _is_about_address(enhanced: tuple[int, int]) -> bool:
    return enhanced[0] == _ADDRESSING and enhanced not in (*_ABOUT_THE_SENDER, _MICROSOFT_LIMIT)


def _is_sending_limit(code: int, text: str, enhanced: tuple[int, int]) -> bool:
    """Return whether the account or this machine may send nothing more for some time."""
    if enhanced == _MICROSOFT_LIMIT or (enhanced == _LIMIT and code >= 500):
        return True
    return (
        enhanced[0] not in (_ADDRESSING, _PROTOCOL)
        and bool(_SENDING_LIMIT.search(text))
        and not _OTHER_LIMIT.search(text)
    )


def _policy(code: int, text: str, enhanced: tuple[int, int]) -> str:
    """Return the code of a refusal by policy at RCPT, "" for any other reply."""
    if code in _AUTH_CODES:
        return str(code)
    if not 400 <= code < 600 or _is_about_address(enhanced) or _GREYLISTING.search(text):
        return ""
    named = next((name for name, pattern in _POLICIES if pattern.search(text)), "")
    if enhanced in _ABOUT_THE_SENDER:
        return "sender_refused"
    if enhanced[0] == _POLICY:
        return named or "refused_by_policy"
    # Without a telling code "sender" is not clear: an address may contain such a word, too.
    return named if enhanced[0] in (0, _PROTOCOL) and named != "sender_refused" else ""


class SmtpRefusal(DeliveryError):
    """An unexpected reply, with the server's own code and text, not redacted yet."""

    def __init__(self, step: SmtpStep, code: int, text: str, *, accepts_others: bool = False) -> None:
        reason, named = refusal_of(step, code, text, accepts_others=accepts_others)
        limited = reason is Reason.RATE_LIMITED
        is_long = limited and (_LONG_LIMIT.search(text) or _enhanced(text) in (_LIMIT, _MICROSOFT_LIMIT))
        super().__init__(
            reason,
            named,
            detail=f"{code} {text} (in answer to {step.value})",
            retry_after=_LONG_LIMIT_SECONDS if is_long else None,
            # At RCPT it may be the limit of one mailbox.
            entire_provider=limited and step is not SmtpStep.RCPT,
        )
        self.is_about_address = step is SmtpStep.RCPT and _is_about_address(_enhanced(text))
        self.leaves_session_usable = 400 <= code < 600 and code not in _ENDS_SESSION


def may_depend_on_connection(error: DeliveryError) -> bool:
    """Return whether a new connection may bring another answer. False if the server may have accepted the message."""
    if isinstance(error, SmtpRefusal):
        return error.reason is not Reason.AMBIGUOUS and not error.is_about_address
    return error.reason is Reason.UNAVAILABLE and error.code != "timeout"


def smtp_error(exc: BaseException, *, sent: bool, connecting: bool = False) -> DeliveryError:
    """Return the DeliveryError for an exception that ended a session, not redacted yet.

    `sent`: the message was sent completely, so the server may have accepted it.
    """
    number = getattr(exc, "smtp_code", None)
    code = str(number) if isinstance(number, int) and number > 0 else exception_code(exc)
    if connecting and code == "timeout":
        code = "connect_timeout"
    return DeliveryError(failure_reason(code, sent=sent), code, detail=f"{type(exc).__name__}: {exc}")


def exception_code(exc: BaseException) -> str:
    """Return the code of an exception, `unexpected` for one that the table does not cover."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _certificate_code(exc)
    if getattr(exc, "reason", None) in _PLAIN_TEXT:
        return "tls_not_spoken"
    if getattr(exc, "reason", None) in _OLD_TLS:
        return "tls_too_old"
    if isinstance(exc, OSError) and exc.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "unreachable"
    if isinstance(exc, OSError) and exc.errno in _LOCAL_ERRNOS:
        return "local_error"
    return next((CODES[kind] for kind in type(exc).__mro__ if kind in CODES), "unexpected")


def _certificate_code(exc: ssl.SSLCertVerificationError) -> str:
    if exc.verify_code in _OPENSSL_EXPIRED:
        return "tls_expired"
    return "tls_wrong_host" if exc.verify_code in _OPENSSL_WRONG_HOST else "tls_untrusted"
