"""The code and reason of each exception of a socket or of TLS, for SMTP."""

from __future__ import annotations

import errno
import socket
import ssl
from enum import Enum

from alertctl.channels.email.smtp_connection import (
    BadReplyError,
    LookupTimeoutError,
    NoReplyError,
    ReplyCutError,
    ReplyTooLongError,
)
from alertctl.errors import DeliveryError, Reason


class RequestPhase(Enum):
    """How far an attempt got before it failed; decides whether the provider can have taken the message."""

    BEFORE = Reason.UNAVAILABLE
    """The request was not sent completely, so the provider cannot have acted on it."""
    AFTER = Reason.AMBIGUOUS
    """The request was sent completely, and no answer arrived."""


_OPENSSL_EXPIRED = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)."""
_OPENSSL_WRONG_HOST = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH."""

CODES: dict[type[BaseException], str] = {
    # sockets; the first match in the exception's method resolution order counts
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
    ssl.SSLEOFError: "connection_lost",
    ssl.SSLZeroReturnError: "connection_lost",
    ssl.SSLError: "tls_failed",
    ssl.CertificateError: "tls_untrusted",
}

_CONFIG_CODES = frozenset({"tls_untrusted", "tls_wrong_host", "tls_expired", "tls_not_spoken", "tls_too_old"})
"""Codes that a person has to act on: no message gets through before."""

_LOCAL_CODES = frozenset({"dns_failure", "dns_timeout", "unreachable", "local_error"})
"""Codes of failures of this machine, before the request was sent."""

_LOCAL_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EADDRNOTAVAIL)
"""This machine has run out of file descriptors, memory, disk or ports."""

_PLAIN_TEXT = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
"""OpenSSL's reasons when the other side answers TLS in plain text."""


_OLD_TLS = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "WRONG_SSL_VERSION")
"""OpenSSL's reasons when both sides have no version of TLS in common."""


def network_code(exc: BaseException) -> str:
    """Return the code of a network exception, `unexpected` for one that the table does not cover."""
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


def network_error(exc: BaseException, phase: RequestPhase, *, connecting: bool = False) -> DeliveryError:
    """Return the DeliveryError for an exception that ended an attempt in `phase`, not redacted yet."""
    code = network_code(exc)
    if connecting and code == "timeout":
        code = "connect_timeout"
    reason = phase.value
    if phase is RequestPhase.BEFORE and code in _CONFIG_CODES:
        reason = Reason.CONFIG
    elif phase is RequestPhase.BEFORE and code in _LOCAL_CODES:
        reason = Reason.LOCAL
    return DeliveryError(reason, code, detail=f"{type(exc).__name__}: {exc}")


def _certificate_code(exc: ssl.SSLCertVerificationError) -> str:
    if exc.verify_code in _OPENSSL_EXPIRED:
        return "tls_expired"
    return "tls_wrong_host" if exc.verify_code in _OPENSSL_WRONG_HOST else "tls_untrusted"
