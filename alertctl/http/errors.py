"""Errors of requests without a reply: the code and reason for libcurl's error and the progress of the request."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from alertctl.errors import AlertctlError, Reason

CONFIG_CODES = frozenset(
    {
        "tls_untrusted",
        "tls_wrong_host",
        "tls_expired",
        "tls_not_spoken",
        "bad_ca_bundle",
        "bad_url",
        "bad_proxy_url",
        "proxy_auth",
        "proxy_failed",
    }
)
"""Codes that a person has to act on: no request gets through before."""

LOCAL_CODES = frozenset({"dns_failure", "dns_timeout", "unreachable", "local_error"})
"""Codes of failures of this machine: its DNS, its routes, its limits."""


class HttpError(AlertctlError):
    """No reply arrived. `sent`: the request was sent completely, so the other side may have acted on it.

    `detail` is libcurl's or the operating system's description, not redacted. It holds no header, body or password.
    """

    def __init__(self, code: str, detail: str, *, sent: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.sent = code, detail, sent

    @property
    def reason(self) -> Reason:
        """The reason of a delivery that failed with this error."""
        if self.sent:
            return Reason.AMBIGUOUS
        if self.code in LOCAL_CODES:
            return Reason.LOCAL
        return Reason.CONFIG if self.code in CONFIG_CODES else Reason.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Failure:
    """A transfer that libcurl ended. `number` and `message` are its own, `errno` the operating system's or 0.

    `resolved`, `connected` (TCP, also to a proxy), `ready` (TLS and tunnel included) and `sent` (the complete request)
    are the completed steps. `proxy` is the address of the proxy that was used.
    """

    number: int
    message: str
    errno: int = 0
    resolved: bool = False
    connected: bool = False
    ready: bool = False
    sent: bool = False
    proxy: str = ""
    connect_status: int = 0
    verify_result: int = 0


CODES = {
    # libcurl's numbers (curl/curl.h); pycurl has no name for some of them
    1: "bad_reply",  # CURLE_UNSUPPORTED_PROTOCOL: a reply without a status line (HTTP/0.9)
    3: "bad_url",  # CURLE_URL_MALFORMAT
    5: "proxy_failed",  # CURLE_COULDNT_RESOLVE_PROXY
    6: "dns_failure",  # CURLE_COULDNT_RESOLVE_HOST
    7: "local_error",  # CURLE_COULDNT_CONNECT, without an error number: no socket could be opened
    8: "bad_reply",  # CURLE_WEIRD_SERVER_REPLY
    18: "incomplete_reply",  # CURLE_PARTIAL_FILE
    27: "local_error",  # CURLE_OUT_OF_MEMORY
    28: "timeout",  # CURLE_OPERATION_TIMEDOUT
    35: "tls_failed",  # CURLE_SSL_CONNECT_ERROR
    45: "local_error",  # CURLE_INTERFACE_FAILED
    52: "no_reply",  # CURLE_GOT_NOTHING
    55: "connection_lost",  # CURLE_SEND_ERROR
    56: "connection_lost",  # CURLE_RECV_ERROR
    60: "tls_untrusted",  # CURLE_PEER_FAILED_VERIFICATION
    61: "bad_reply",  # CURLE_BAD_CONTENT_ENCODING
    65: "no_reply",  # CURLE_SEND_FAIL_REWIND: a kept connection died, and the body isn't sent a second time
    77: "bad_ca_bundle",  # CURLE_SSL_CACERT_BADFILE
    97: "proxy_failed",  # CURLE_PROXY: a SOCKS proxy refused
    100: "endless_reply",  # CURLE_TOO_LARGE: a header line
}
"""The code of each error of libcurl; others are `network_error`."""

ERRNO_CODES = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ECONNRESET: "connection_reset",
    errno.ECONNABORTED: "connection_reset",
    errno.EPIPE: "connection_reset",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ETIMEDOUT: "connect_timeout",
}

_SOCKET_ERRORS = (7, 35, 52, 55, 56, 65)
"""libcurl's errors for which the operating system's error number says more."""
_EXPIRED = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)."""
_WRONG_HOST = (0, 1, 62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH; 0 and 1: no fault in the chain, libcurl itself compared
the names."""
_PLAIN_TEXT = ("wrong version number", "http request", "packet length too long", "record layer failure")
"""OpenSSL's messages when the other side answers TLS in plain text."""
_ENDLESS = ("too large response headers", "too many response headers")


def http_error(failure: Failure) -> HttpError:
    """Return the error for a transfer that ended without a complete reply head."""
    code = _code(failure)
    about = f"the proxy {failure.proxy}: " if code == "proxy_failed" and failure.proxy else ""
    return HttpError(code, f"{about}{failure.message}", sent=failure.sent)


def _code(failure: Failure) -> str:
    if failure.proxy and not failure.ready:
        proxy_code = _proxy_code(failure)
        if proxy_code:
            return proxy_code
    if failure.number == 28:
        return _timeout_code(failure)
    if failure.number == 60:
        return _certificate_code(failure.verify_result)
    if failure.number == 35 and any(text in failure.message.lower() for text in _PLAIN_TEXT):
        return "tls_not_spoken"
    if failure.number == 35 and "eof" in failure.message.lower():
        return "connection_lost"
    if failure.number == 56 and failure.message.lower().startswith(_ENDLESS):
        return "endless_reply"
    if failure.number in _SOCKET_ERRORS and failure.errno:
        default = "connection_lost" if failure.ready else "local_error"
        return ERRNO_CODES.get(failure.errno, default)
    return CODES.get(failure.number, "network_error")


def _proxy_code(failure: Failure) -> str:
    """Return the code for a proxy that is unreachable or refuses to connect, "" if the proxy is not to blame."""
    if failure.connect_status == 407:
        return "proxy_auth"
    if not failure.connected or failure.connect_status >= 300:
        return "proxy_failed"
    # An open tunnel or a TLS error shows that the proxy works.
    return "" if failure.connect_status or failure.number in (35, 60) else "proxy_failed"


def _timeout_code(failure: Failure) -> str:
    if failure.ready:
        return "timeout"
    return "connect_timeout" if failure.resolved else "dns_timeout"


def _certificate_code(verify_result: int) -> str:
    if verify_result in _EXPIRED:
        return "tls_expired"
    return "tls_wrong_host" if verify_result in _WRONG_HOST else "tls_untrusted"
