"""Errors of requests without a reply: the code and reason for libcurl's error and the progress of the request."""

from __future__ import annotations

import errno

import pycurl

from alertctl.error_codes import failure_reason
from alertctl.errors import AlertctlError, Reason


class HttpError(AlertctlError):
    """No reply arrived. `sent`: the request was sent completely, so the other side may have acted on it.

    `detail` is libcurl's or the operating system's description, not redacted. It holds no header, body or password.
    """

    def __init__(self, code: str, detail: str, *, sent: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.sent = sent

    @property
    def reason(self) -> Reason:
        """The reason of a delivery that failed with this error."""
        return failure_reason(self.code, sent=self.sent)


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
    65: "no_reply",  # CURLE_SEND_FAIL_REWIND: a kept connection closed, and the body isn't sent a second time
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


def http_error(curl: pycurl.Curl, number: int, message: str, body_size: int, proxy: str) -> HttpError:
    """Return the error for a transfer that ended without a complete reply head.

    `number` and `message` are libcurl's. `proxy` is the URL of the configured proxy, which NO_PROXY may exempt.
    """
    # Not PRETRANSFER_TIME: it is set also when the connection failed.
    ready = curl.getinfo(pycurl.REQUEST_SIZE) > 0
    used_proxy = proxy if proxy and curl.getinfo(pycurl.USED_PROXY) else ""
    code = _proxy_code(curl, number, uses_tls=proxy.startswith("https:")) if used_proxy and not ready else ""
    code = code or _code(curl, number, message.lower(), ready=ready)
    is_proxys = bool(used_proxy) and code in ("proxy_failed", "proxy_untrusted")
    about = f"the proxy {used_proxy.partition('://')[2]}: " if is_proxys else ""
    sent = ready and curl.getinfo(pycurl.SIZE_UPLOAD_T) >= body_size
    return HttpError(code, f"{about}{message}", sent=sent)


def _code(curl: pycurl.Curl, number: int, message: str, *, ready: bool) -> str:
    """Return the code. `ready`: the connection was established, TLS and tunnel included."""
    if number == pycurl.E_OPERATION_TIMEDOUT and not ready:
        return "connect_timeout" if curl.getinfo(pycurl.NAMELOOKUP_TIME_T) > 0 else "dns_timeout"
    if number == pycurl.E_PEER_FAILED_VERIFICATION:
        return _certificate_code(curl.getinfo(pycurl.SSL_VERIFYRESULT))
    if number == pycurl.E_SSL_CONNECT_ERROR and any(text in message for text in _PLAIN_TEXT):
        return "tls_not_spoken"
    if number == pycurl.E_SSL_CONNECT_ERROR and "eof" in message:
        return "connection_lost"
    if number == pycurl.E_RECV_ERROR and message.startswith(_ENDLESS):
        return "endless_reply"
    os_errno = curl.getinfo(pycurl.OS_ERRNO)
    if number in _SOCKET_ERRORS and os_errno:
        return ERRNO_CODES.get(os_errno, "connection_lost" if ready else "local_error")
    return CODES.get(number, "network_error")


def _proxy_code(curl: pycurl.Curl, number: int, *, uses_tls: bool) -> str:
    """Return the code for a proxy that is unreachable or refuses to connect, "" if the proxy is not to blame.

    `uses_tls`: the connection to the proxy itself uses TLS.
    """
    status = curl.getinfo(pycurl.HTTP_CONNECTCODE)
    if status == 407:
        return "proxy_auth"
    if not curl.getinfo(pycurl.CONNECT_TIME_T) or status >= 300:
        return "proxy_failed"
    # An open tunnel shows that the proxy works. So does a TLS error, unless it is the error of the proxy's own TLS.
    is_tls_error = number in (pycurl.E_SSL_CONNECT_ERROR, pycurl.E_PEER_FAILED_VERIFICATION)
    if status or (is_tls_error and not uses_tls):
        return ""
    return "proxy_untrusted" if number == pycurl.E_PEER_FAILED_VERIFICATION else "proxy_failed"


def _certificate_code(verify_result: int) -> str:
    if verify_result in _EXPIRED:
        return "tls_expired"
    return "tls_wrong_host" if verify_result in _WRONG_HOST else "tls_untrusted"
