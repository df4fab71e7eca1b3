"""The requests and messages that the sandbox's servers record."""

from __future__ import annotations

import email
import email.policy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

_WALL, _MONOTONIC = datetime.now(UTC), time.monotonic()


def now() -> datetime:
    """Return the time in UTC. It never runs backwards, so that differences are durations."""
    return _WALL + timedelta(seconds=time.monotonic() - _MONOTONIC)


@dataclass(slots=True)
class SmtpCall:
    """One mail transaction from its MAIL command on, accepted or not.

    `commands` are the client's lines, `replies` the sandbox's, `data` the message (dot-unstuffed) if it was received.
    """

    mail_from: str
    fault: str
    connection: int
    at: datetime
    encrypted: bool
    rcpt_tos: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """`channel` is as requested, or a known ID's name. `payload` has all arguments of chat.postMessage but the token.

    `thread_ts` is the root's `ts` for a reply in a thread, else None. `edits` are the later texts of the message.
    `recipient` is the email of the person who gets a direct message, empty if nobody looked it up. `emails` are those
    of the people who were looked up, by the user's id.
    """

    channel: str
    text: str
    blocks: list[dict[str, Any]]
    ts: str
    payload: dict[str, Any]
    headers: Mapping[str, str]
    at: datetime
    thread_ts: str | None = None
    edits: list[SlackEdit] = field(default_factory=list, compare=False)
    recipient: str = ""
    emails: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def to(self) -> str:
        """The channel, or the person by email."""
        return f"@{self.recipient}" if self.recipient else self.channel

    @property
    def label(self) -> str:
        """How the message differs from one at top level, for people; empty if it doesn't."""
        if self.thread_ts is None:
            return ""
        return "reply in a thread, also in the channel" if self.broadcast else "reply in a thread"

    @property
    def broadcast(self) -> bool:
        """Whether a reply is shown in the channel, too."""
        return self.thread_ts is not None and self.payload.get("reply_broadcast") in (True, "true", "1")

    @property
    def current(self) -> SlackMessage | SlackEdit:
        """The message as it is shown now."""
        return self.edits[-1] if self.edits else self


@dataclass(frozen=True, slots=True)
class SlackEdit:
    """A call of chat.update: the new text and blocks of the message with this `ts`; `to` as that of the message."""

    to: str
    text: str
    blocks: list[dict[str, Any]]
    ts: str
    payload: dict[str, Any]
    at: datetime
    thread_ts: str | None = None
    label: str = "edited"
    emails: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class SendGridMessage:
    """One personalization of a request. `to` has its addresses, separated by a comma and a space."""

    to: str
    personalization: dict[str, Any]
    payload: dict[str, Any]
    message_id: str
    headers: Mapping[str, str]
    at: datetime

    @property
    def subject(self) -> str:
        return self._substituted(str(self.personalization.get("subject") or self.payload.get("subject", "")))

    @property
    def parts(self) -> dict[str, str]:
        """The text of each part by its media type, with this recipient's substitutions."""
        return {part["type"]: self._substituted(part["value"]) for part in self.payload.get("content", [])}

    def _substituted(self, text: str) -> str:
        for tag, value in self.personalization.get("substitutions", {}).items():
            text = text.replace(tag, value)
        return text


@dataclass(frozen=True, slots=True)
class SmtpMessage:
    mail_from: str
    rcpt_tos: list[str]
    data: bytes
    at: datetime

    @property
    def parsed(self) -> EmailMessage:
        """The message with newlines for CRLF; `data` is the message as received."""
        return email.message_from_bytes(self.data.replace(b"\r\n", b"\n"), policy=email.policy.default)
