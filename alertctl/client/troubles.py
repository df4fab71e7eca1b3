"""What went wrong on the way to a server, in words; and whether trying again can help."""

from __future__ import annotations

import http.client
import socket

from alertctl.channels.deadline import ReplyTooLongError


class Lost(Exception):
    """No reply came back. `sent`: the request went out whole, it may have been done. `hopeless`: again is no use."""

    def __init__(self, why: str, *, sent: bool = False, hopeless: bool = False) -> None:
        super().__init__(why)
        self.why, self.sent, self.hopeless = why, sent, hopeless


def lost(error: Exception, *, sent: bool, seconds: float) -> Lost:
    """What an exception of a socket, of TLS or of HTTP means; `seconds` is how long was waited, if it was."""
    if isinstance(error, http.client.RemoteDisconnected):
        return Lost("it closed the connection without an answer", sent=sent)
    if isinstance(error, http.client.IncompleteRead):
        return Lost("the connection broke in the middle of the answer", sent=sent)
    if isinstance(error, http.client.HTTPException):
        return Lost("what it answers is not HTTP", sent=sent, hopeless=True)
    if isinstance(error, TimeoutError):
        return Lost(f"no answer within {seconds:g} s", sent=sent)
    if isinstance(error, ReplyTooLongError):
        return Lost("its answer doesn't end", sent=sent, hopeless=True)
    if isinstance(error, socket.gaierror):
        return _unknown_host(error)
    if isinstance(error, OSError):
        return _of_socket(error, sent)
    return Lost(f"{type(error).__name__}: {error}", sent=sent)


def _unknown_host(error: socket.gaierror) -> Lost:
    for_good = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
    return Lost("its name has no address" if for_good else "its name can't be looked up now", hopeless=for_good)


def _of_socket(error: OSError, sent: bool) -> Lost:
    kind = next((each.__name__ for each in type(error).__mro__ if each.__module__ == "ssl"), "")
    if kind == "SSLCertVerificationError":
        said = getattr(error, "verify_message", "") or error
        return Lost(f"its certificate is not trusted: {said} (ALERTCTL_CA_BUNDLE)", hopeless=True)
    if kind.startswith("SSL") and not sent:
        return Lost("it speaks no TLS that we do (is it http://?)", hopeless=True)
    if isinstance(error, ConnectionRefusedError):
        return Lost("connection refused")
    if isinstance(error, ConnectionError):
        return Lost("the connection broke", sent=sent)
    return Lost((error.strerror or str(error)).lower() if not kind else "the connection broke", sent=sent)
