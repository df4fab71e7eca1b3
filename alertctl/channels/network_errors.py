"""What an exception of a socket, of TLS, of HTTP means for a delivery: one table."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from enum import Enum

import urllib3.exceptions as u

from alertctl.channels.deadline import BadReplyError, LookupTimeoutError, NoReplyError, ReplyCutError, ReplyTooLongError
from alertctl.errors import DeliveryError, Reason


class Stage(Enum):
    """How far an attempt got before it failed; decides whether the provider can have taken the message."""

    BEFORE = Reason.UNAVAILABLE
    """Not all of the request went out: nobody can have acted on it."""
    AFTER = Reason.AMBIGUOUS
    """All of it went out, no verdict came back."""


_OPENSSL_EXPIRED = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)."""
_OPENSSL_WRONG_HOST = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH."""

CODES: dict[type[BaseException], str] = {
    # sockets; the first class of an exception's own order of classes that is found here names it
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
    # TLS; a certificate that fails is told apart in `_certificate_code`
    ssl.SSLEOFError: "connection_lost",
    ssl.SSLZeroReturnError: "connection_lost",
    ssl.SSLError: "tls_failed",
    ssl.CertificateError: "tls_untrusted",
    # http.client
    http.client.RemoteDisconnected: "no_reply",
    http.client.IncompleteRead: "incomplete_reply",
    http.client.HTTPException: "bad_reply",
    # urllib3
    u.HTTPError: "network_error",
    u.HTTPWarning: "network_error",
    u.PoolError: "network_error",
    u.RequestError: "network_error",
    u.MaxRetryError: "network_error",
    u.HostChangedError: "redirected",
    u.SSLError: "tls_failed",
    u.ProxyError: "proxy_failed",
    u.DecodeError: "bad_reply",
    u.ProtocolError: "connection_lost",
    u.TimeoutStateError: "timeout",
    u.TimeoutError: "timeout",
    u.ReadTimeoutError: "timeout",
    u.ConnectTimeoutError: "connect_timeout",
    u.NewConnectionError: "connection_refused",
    u.NameResolutionError: "dns_failure",
    u.EmptyPoolError: "no_free_connection",
    u.FullPoolError: "no_free_connection",
    u.ClosedPoolError: "closing",
    u.LocationValueError: "bad_url",
    u.LocationParseError: "bad_url",
    u.URLSchemeUnknown: "bad_url",
    u.ProxySchemeUnknown: "bad_proxy_url",
    u.ProxySchemeUnsupported: "bad_proxy_url",
    u.ResponseError: "bad_reply",
    u.ResponseNotChunked: "bad_reply",
    u.BodyNotHttplibCompatible: "bad_reply",
    u.IncompleteRead: "incomplete_reply",
    u.InvalidChunkLength: "bad_reply",
    u.InvalidHeader: "bad_reply",
    u.HeaderParsingError: "bad_reply",
    u.UnrewindableBodyError: "network_error",
    u.SecurityWarning: "tls_failed",
    u.InsecureRequestWarning: "tls_failed",
    u.NotOpenSSLWarning: "tls_failed",
    u.SystemTimeWarning: "tls_failed",
    u.InsecurePlatformWarning: "tls_failed",
    u.DependencyWarning: "network_error",
}

_OUR_SETTINGS = frozenset(
    {"tls_untrusted", "tls_wrong_host", "tls_expired", "tls_not_spoken", "bad_url", "bad_proxy_url", "proxy_auth"}
)
"""Codes that a person has to act on: no message passes before."""

_THIS_MACHINE = frozenset({"dns_failure", "dns_timeout", "unreachable", "local_error", "no_free_connection"})
"""Codes of failures on our side, before the request went out."""

_OWN_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EADDRNOTAVAIL)
"""This machine has run out of file descriptors, memory, disk or ports."""

_PLAIN_TEXT = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
"""OpenSSL's reasons when the other side answers TLS in plain text."""

_BEFORE_CONNECTED = {"timeout": "connect_timeout"}


def network_code(exc: BaseException) -> str:
    """Our word for an exception of the network; `unexpected` for one that has no place in the table."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _certificate_code(exc)
    if getattr(exc, "reason", None) in _PLAIN_TEXT:
        return "tls_not_spoken"
    if isinstance(exc, OSError) and exc.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "unreachable"
    if isinstance(exc, OSError) and exc.errno in _OWN_ERRNOS:
        return "local_error"
    if isinstance(exc, OSError) and str(exc).startswith("Tunnel connection failed"):
        return "proxy_auth" if " 407" in str(exc) else "proxy_failed"
    if isinstance(exc, u.SSLError) and exc.args and isinstance(exc.args[0], ssl.SSLError):
        return network_code(exc.args[0])
    return next((CODES[kind] for kind in type(exc).__mro__ if kind in CODES), "unexpected")


def network_error(exc: BaseException, stage: Stage, *, connecting: bool = False) -> DeliveryError:
    """A DeliveryError for an exception that ended an attempt in `stage`. `detail` is not redacted yet."""
    code = network_code(exc)
    if connecting:
        code = _BEFORE_CONNECTED.get(code, code)
    reason = stage.value
    if stage is Stage.BEFORE and code in _OUR_SETTINGS:
        reason = Reason.CONFIG
    elif stage is Stage.BEFORE and code in _THIS_MACHINE:
        reason = Reason.LOCAL
    return DeliveryError(reason, code, detail=f"{type(exc).__name__}: {exc}")


def _certificate_code(exc: ssl.SSLCertVerificationError) -> str:
    if exc.verify_code in _OPENSSL_EXPIRED:
        return "tls_expired"
    return "tls_wrong_host" if exc.verify_code in _OPENSSL_WRONG_HOST else "tls_untrusted"
