"""SMTP: one recipient per transaction, on kept connections, within one deadline."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from alertctl.channels.base import Parcel, Receipt, Verdict
from alertctl.channels.credentials import sealed
from alertctl.channels.deadline import Deadline
from alertctl.channels.email import Sender, headers, letter, message_id, serialised, valid_address, wire_address
from alertctl.channels.smtp_session import Security, Server, SmtpSession
from alertctl.channels.text import Redactor
from alertctl.content import Content
from alertctl.errors import DeliveryError, Reason
from alertctl.http.tls import tls_context

_GONE = frozenset({"no_reply", "incomplete_reply", "connection_reset", "connection_lost"})
"""How a kept connection shows that it had been closed while nobody used it."""


class SmtpChannel:
    """Sends through one mail server. `deadline` is in seconds and covers all of a delivery's attempt."""

    name = "email"
    provider = "smtp"
    batch_size = 1

    def __init__(
        self,
        host: str,
        port: int = 587,
        username: str = "",
        password: str = "",
        security: Security | None = None,
        from_address: str = "",
        from_name: str = "",
        deadline: float = 10.0,
        ca_bundle: str | Path | None = None,
        pool: int = 64,
    ) -> None:
        self.deadline = deadline
        self._sender = Sender(from_address, from_name)
        self._server = Server(host, port, username, password.rstrip("\r\n"), security, self._sender.domain)
        self._ca_bundle = ca_bundle
        self._pool = pool
        self._redact = Redactor([password, password.rstrip("\r\n")], username=username)
        self._kept: deque[SmtpSession] = deque()

    def send(self, content: Content, parcels: Sequence[Parcel]) -> list[Verdict]:
        deadline = Deadline(self.deadline)
        return [self._send_one(content, parcel, deadline) for parcel in parcels]

    def render(self, content: Content, parcel: Parcel) -> dict[str, Any]:
        """Headers, text and HTML of the email that `send` would send."""
        said = letter(content, parcel.plain)
        shown = headers(content, parcel.delivery_id, parcel.address, self._sender, datetime.now(UTC))
        return {"headers": shown, "text": said.text, "html": said.html}

    def close(self) -> None:
        while self._kept:
            self._kept.pop().leave()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return tls_context(self._ca_bundle)

    def _send_one(self, content: Content, parcel: Parcel, deadline: Deadline) -> Verdict:
        if not valid_address(parcel.address):
            return DeliveryError(Reason.BAD_ADDRESS, "invalid_address", detail="not exactly one email address")
        try:
            now = datetime.now(UTC)
            message = serialised(content, parcel.delivery_id, parcel.address, self._sender, now, plain=parcel.plain)
        except Exception as exc:
            return DeliveryError(Reason.REJECTED, "unrenderable", detail=self._redact(repr(exc)))
        try:
            answer = self._deliver(wire_address(parcel.address), message, deadline)
        except DeliveryError as error:
            return sealed(error, self._redact)
        except Exception as exc:
            return DeliveryError(Reason.AMBIGUOUS, "unexpected", detail=self._redact(repr(exc)))
        return Receipt(message_id(parcel.delivery_id, self._sender), self._redact(answer))

    def _deliver(self, address: str, message: bytes, deadline: Deadline) -> str:
        session = self._begun(address, len(message), deadline)
        try:
            answer = session.finish(address, message)
        except DeliveryError as error:
            self._after_refusal(session, error)
            raise
        except BaseException:
            session.close()
            raise
        self._keep(session)
        return answer

    def _begun(self, address: str, size: int, deadline: Deadline) -> SmtpSession:
        """A session in which MAIL FROM was taken: a kept one if it is still alive, else a new one.

        A 4xx there may be about the kept connection: some servers say 452 to the hundredth message on one.
        """
        kept = self._take()
        if kept is not None:
            kept.renew(deadline)
            try:
                return self._begin(kept, address, size)
            except DeliveryError as error:
                if error.code not in _GONE and not error.code.startswith("4"):
                    raise
        return self._begin(SmtpSession(self._server, lambda: self._context, deadline), address, size)

    def _begin(self, session: SmtpSession, address: str, size: int) -> SmtpSession:
        try:
            session.begin(wire_address(self._sender.address), size, utf8=not address.isascii())
        except DeliveryError as error:
            if error.reason is Reason.UNAVAILABLE:
                session.close()
            else:
                self._after_refusal(session, error)
            raise
        return session

    def _take(self) -> SmtpSession | None:
        """The kept session that was used last, if it is alive. Others that aren't are closed on the way."""
        while self._kept:
            try:
                session = self._kept.pop()
            except IndexError:
                break
            if session.usable:
                return session
            session.close()
        return None

    def _keep(self, session: SmtpSession) -> None:
        if len(self._kept) < self._pool:
            self._kept.append(session)
        else:
            session.leave()

    def _after_refusal(self, session: SmtpSession, error: DeliveryError) -> None:
        """A refused message leaves a good connection; anything else leaves one that can't be trusted."""
        refused = error.code.isdigit() and error.code != "421"
        if (refused or error.code == "smtputf8_unsupported") and session.reset():
            self._keep(session)
        else:
            session.close()
