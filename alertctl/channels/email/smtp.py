"""Email over SMTP: one recipient per transaction, on kept connections, with one deadline per attempt."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from alertctl.addresses import encode_email, is_email
from alertctl.channels.base import OutgoingMessage, Receipt, SendResult, rendering, result_of, with_note
from alertctl.channels.email.message import Sender, load_templates, message_id, notes_of, preview, serialize_email
from alertctl.channels.email.smtp_errors import SmtpRefusal, may_depend_on_connection
from alertctl.channels.email.smtp_session import SmtpServer, SmtpSession
from alertctl.content import Content
from alertctl.deadline import Deadline
from alertctl.errors import DeliveryError, Reason
from alertctl.http.tls import tls_context


class SmtpChannel:
    """Sends through a mail server, on up to `pool` kept connections.

    `deadline` is in seconds and covers all of an attempt but the final answer.
    """

    name = "email"
    provider = "smtp"
    batch_size = 1

    def __init__(
        self,
        server: SmtpServer,
        sender: Sender,
        *,
        deadline: float = 10.0,
        ca_bundle: str | Path | None = None,
        pool: int = 64,
    ) -> None:
        load_templates(sender.branding.templates)
        self.deadline = deadline
        self._server, self._sender = server, sender
        self._ca_bundle = ca_bundle
        self._pool = pool
        self._redact = server.login.redact
        self._idle_sessions: deque[SmtpSession] = deque()

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        deadline = Deadline(self.deadline)
        return [result_of(partial(self._send_one, content, outgoing, deadline), self._redact) for outgoing in messages]

    def render(self, content: Content, outgoing: OutgoingMessage) -> dict[str, Any]:
        return preview(content, outgoing, self._sender)

    def close(self) -> None:
        while self._idle_sessions:
            self._idle_sessions.pop().quit_and_close()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return tls_context(self._ca_bundle)

    def _send_one(self, content: Content, outgoing: OutgoingMessage, deadline: Deadline) -> SendResult:
        if not is_email(outgoing.address):
            raise DeliveryError(Reason.BAD_ADDRESS, "invalid_address", detail="not exactly one email address")
        with rendering():
            message = serialize_email(content, outgoing, self._sender, datetime.now(UTC))
        answer = self._deliver(encode_email(outgoing.address), message, deadline)
        receipt = Receipt(message_id(outgoing.delivery_id, self._sender), self._redact(answer))
        return with_note(receipt, *notes_of(content, outgoing, self._sender))

    def _deliver(self, address: str, message: bytes, deadline: Deadline) -> str:
        """Send the message and return the server's answer. A failure on a reused connection is checked on a new one.

        Servers limit the messages, errors and minutes of a connection, and refuse the next message with any code.
        """
        session = self._take_session()
        if session is not None:
            session.renew(deadline)
            try:
                return self._transmit(session, address, message)
            except DeliveryError as error:
                if not may_depend_on_connection(error):
                    raise
        return self._transmit(SmtpSession(self._server, lambda: self._context, deadline), address, message)

    def _transmit(self, session: SmtpSession, address: str, message: bytes) -> str:
        """Send the message in this session, then keep or close the session."""
        try:
            session.begin(encode_email(self._sender.address), len(message), utf8=not address.isascii())
            answer = session.finish(address, message)
        except DeliveryError as error:
            self._after_failure(session, error)
            raise
        except BaseException:
            session.close()
            raise
        self._keep_session(session)
        return answer

    def _take_session(self) -> SmtpSession | None:
        """Return the usable session that was used last. Close the unusable ones before it."""
        while self._idle_sessions:
            try:
                session = self._idle_sessions.pop()
            except IndexError:
                break
            if session.is_usable:
                return session
            session.close()
        return None

    def _keep_session(self, session: SmtpSession) -> None:
        if len(self._idle_sessions) < self._pool:
            self._idle_sessions.append(session)
        else:
            session.quit_and_close()

    def _after_failure(self, session: SmtpSession, error: DeliveryError) -> None:
        """Keep the session after a refusal that is about this message only; close it after anything else.

        It is closed before a new one is opened: the server may limit the connections, too.
        """
        refused = isinstance(error, SmtpRefusal) and error.leaves_session_usable
        doubtful = session.reused and may_depend_on_connection(error)
        if (refused or error.code == "smtputf8_unsupported") and not doubtful and session.reset():
            self._keep_session(session)
        elif isinstance(error, SmtpRefusal):
            session.quit_and_close()
        else:
            session.close()
