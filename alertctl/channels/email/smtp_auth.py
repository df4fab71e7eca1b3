"""SMTP AUTH (RFC 4954): log in with a password or an OAuth token, by a mechanism that the server accepts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from alertctl.errors import DeliveryError, Reason
from alertctl.text import Redactor

if TYPE_CHECKING:
    from alertctl.config.settings import Smtp

Reply = tuple[int, bytes]
Ask = Callable[[str], Reply]
"""Sends a line to the server and returns its reply."""

PASSWORD_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
"""In the order in which they are tried."""
_ACCEPTED = 235
_CONTINUE = 334
_REFUSED = 535
_UNSUPPORTED = frozenset({502, 504})
_MAX_PROMPTS = 4
RECENT_SECONDS = 600.0
"""Seconds for which an accepted recipient proves that the server takes mail from this login."""


class SmtpLogin:
    """A user name with its password or OAuth token. Shared by all sessions, which learn from each other.

    An account may be locked after a few refused logins: one refused mechanism is followed by another one only once.
    """

    def __init__(self, username: str = "", password: str = "", *, token: str | None = None) -> None:
        """An OAuth `token` is used instead of the password."""
        self.username = username
        secrets = [password, password.rstrip("\r\n"), token or "", _token_response(username, token) if token else ""]
        self.redact = Redactor(secrets, username=username)
        self._password, self._token = password.rstrip("\r\n"), token
        self._worked = ""
        self._recipient_accepted_at = float("-inf")
        self._tried_another = False

    def note_accepted_recipient(self) -> None:
        self._recipient_accepted_at = time.monotonic()

    @property
    def has_accepted_recipient(self) -> bool:
        """Whether the server has accepted a recipient from this login recently, in any session."""
        return time.monotonic() - self._recipient_accepted_at < RECENT_SECONDS

    def authenticate(self, ask: Ask, offered: list[str]) -> Reply:
        """Log in and return the server's last reply. Raises DeliveryError if no offered mechanism is supported."""
        if self._token is not None:
            return self._send_token(self._token, ask, offered)
        mechanisms = [mechanism for mechanism in PASSWORD_MECHANISMS if mechanism in offered]
        if not mechanisms:
            raise _unavailable(offered, "PLAIN, LOGIN or CRAM-MD5")
        refusal: Reply | None = None
        for mechanism in sorted(mechanisms, key=lambda mechanism: mechanism != self._worked):
            try:
                reply = self._send_password(mechanism, ask)
            except OSError:
                if refusal is None:
                    raise
                break  # The server closes the connection after a refusal.
            if reply[0] == _ACCEPTED:
                self._worked = mechanism
                return reply
            if not _is_unsupported(reply):
                refusal = refusal or reply
                if reply[0] != _REFUSED or self._worked or self._tried_another:
                    break
                self._tried_another = True
        return refusal or reply

    def _send_password(self, mechanism: str, ask: Ask) -> Reply:
        name, password = self.username, self._password
        if mechanism == "LOGIN":
            return self._answer_prompts(ask)
        if mechanism == "PLAIN":
            return _cancel_prompt(ask, _send_response("PLAIN", _base64(f"\0{name}\0{password}"), ask))
        code, text = ask("AUTH CRAM-MD5")
        if code != _CONTINUE:
            return code, text
        digest = hmac.new(password.encode(), base64.b64decode(text), hashlib.md5).hexdigest()
        return _cancel_prompt(ask, ask(_base64(f"{name} {digest}")))

    def _answer_prompts(self, ask: Ask) -> Reply:
        """Run AUTH LOGIN. A prompt for the user name never gets the password, even if the server repeats it."""
        reply, named = ask("AUTH LOGIN"), False
        for _ in range(_MAX_PROMPTS):
            if reply[0] != _CONTINUE:
                return reply
            prompt = _decoded(reply[1]).lower()
            asks_password = (named and "user" not in prompt) or "pass" in prompt
            reply, named = ask(_base64(self._password if asks_password else self.username)), True
        return _cancel_prompt(ask, reply)

    def _send_token(self, token: str, ask: Ask, offered: list[str]) -> Reply:
        if "XOAUTH2" not in offered:
            raise _unavailable(offered, "XOAUTH2")
        reply = _send_response("XOAUTH2", _token_response(self.username, token), ask)
        # The challenge describes the error; an empty response asks for the refusal.
        return _cancel_prompt(ask, ask("")) if reply[0] == _CONTINUE else reply


def login_of(smtp: Smtp) -> SmtpLogin:
    """Return the login of these settings."""
    if smtp.auth == "xoauth2":
        return SmtpLogin(smtp.username, token=smtp.oauth_token.get_secret_value())
    return SmtpLogin(smtp.username, smtp.password.get_secret_value())


def _send_response(mechanism: str, response: str, ask: Ask) -> Reply:
    """Start AUTH with this initial response. Send it again if the server ignored it and asks for it."""
    code, prompt = ask(f"AUTH {mechanism} {response}")
    # Another prompt of XOAUTH2 describes an error.
    asks_again = code == _CONTINUE and (mechanism == "PLAIN" or not prompt.strip())
    return ask(response) if asks_again else (code, prompt)


def _cancel_prompt(ask: Ask, reply: Reply) -> Reply:
    """Return the reply; instead of another prompt return the refusal that follows its cancellation (RFC 4954, 4)."""
    return ask("*") if reply[0] == _CONTINUE else reply


def _is_unsupported(reply: Reply) -> bool:
    """Return whether the server offers this mechanism and does not implement it."""
    code, text = reply
    return code in _UNSUPPORTED or text.startswith(b"5.5.4")


def _unavailable(offered: list[str], needed: str) -> DeliveryError:
    detail = f"the server offers {' '.join(offered) or 'no login'}; {needed} is needed"
    return DeliveryError(Reason.CONFIG, "auth_unavailable", detail=detail)


def _token_response(username: str, token: str) -> str:
    return _base64(f"user={username}\1auth=Bearer {token}\1\1")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(prompt: bytes) -> str:
    try:
        return base64.b64decode(prompt).decode("utf-8", "replace")
    except ValueError:
        return ""
