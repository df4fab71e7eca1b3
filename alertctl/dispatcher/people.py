"""Find people by email, for direct messages and mentions, and keep their ids in the table `person`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast

from sqlalchemy import Connection, delete, select

from alertctl.addresses import email_key, email_of_person
from alertctl.channels import channel_type
from alertctl.channels.base import (
    Channel,
    Directory,
    Mention,
    MessageOptions,
    OutgoingMessage,
    SendResult,
    with_note,
)
from alertctl.config.validators import MAX_MENTIONS
from alertctl.content import Content
from alertctl.db import upsert
from alertctl.deadline import Deadline
from alertctl.errors import DeliveryError, Reason
from alertctl.outbox import KNOWN_FOR
from alertctl.outbox.tables import person
from alertctl.retry import rate_limit_wait

log = logging.getLogger("alertctl.dispatcher")
UNKNOWN_FOR = timedelta(minutes=10)
"""Age at which an email that belonged to nobody is looked up again."""
RECIPIENT_SECONDS = 5.0
"""Seconds that the look-up of a recipient may take, at most half of the channel's deadline."""
MENTIONS_SECONDS = 2.0
"""Seconds that the look-ups of all mentions of a message may take together."""
PAUSE_SECONDS = 30.0
"""Seconds between two look-ups while they fail: a directory that hangs must not keep all senders waiting."""
MAX_KNOWN = 10_000
"""People that are kept in memory."""
NOT_FOUND = "users_not_found"
PAUSED = "lookup_paused"
NOT_TRIED = "not tried, because an earlier look-up failed or took too long"


@dataclass(frozen=True, slots=True)
class _Known:
    """The result of a look-up. `provider_id` is None if nobody has the email."""

    provider_id: str | None
    looked_up_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        return now - self.looked_up_at < (UNKNOWN_FOR if self.provider_id is None else KNOWN_FOR)


class People:
    """Sends messages through a channel after looking up the people whom they address or mention by email.

    `sync` belongs to the worker's transaction; `send` is called by many threads and touches no database.
    """

    def __init__(self, name: str, channel: Channel, clock: Callable[[], datetime]) -> None:
        self._name = name
        self._channel = channel
        self._clock = clock
        self._directory = cast("Directory", channel) if channel_type(name).has_directory else None
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        """The people that this process knows, by the key of their email."""
        self._unsaved: dict[str, _Known | None] = {}
        """Results to save; None: to delete."""
        self._rate_limit = DeliveryError(Reason.RATE_LIMITED, "ratelimited")
        self._rate_limited_until = self._paused_until = 0.0
        self._is_refused = False

    def sync(self, connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
        """Save the results of look-ups, and load the people whom these messages need.

        Results are lost if the transaction fails. Then these people are looked up again when needed.
        """
        if self._directory is None:
            return
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
        # In the same order everywhere: two daemons that write the same people must not wait for each other.
        for key, known in sorted(unsaved.items()):
            self._save(connection, key, known)
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        keys = {email_key(email) for message in messages for email in _emails(message)}
        missing = iter(sorted(key for key in keys if self._cached(key) is None))
        while batch := list(islice(missing, 500)):
            columns = select(person.c.email_key, person.c.provider_id, person.c.looked_up_at)
            rows = connection.execute(columns.where(person.c.channel == self._name, person.c.email_key.in_(batch)))
            self._known.update({row.email_key: _Known(row.provider_id, row.looked_up_at) for row in rows})

    def _save(self, connection: Connection, key: str, known: _Known | None) -> None:
        if known is None:
            connection.execute(delete(person).where(person.c.channel == self._name, person.c.email_key == key))
            return
        values: dict[str, Any] = {"provider_id": known.provider_id, "looked_up_at": known.looked_up_at}
        upsert(connection, person, {"channel": self._name, "email_key": key, **values}, values)

    def send(self, content: Content, messages: Sequence[OutgoingMessage]) -> list[SendResult]:
        """Send the messages; return a result for each, in order.

        A recipient who can't be looked up fails that message. A person to mention who can't be looked up becomes plain
        text, with a note on the attempt.
        """
        needs_people = any(email_of_person(message.address) or message.options.mention for message in messages)
        if self._directory is None or not needs_people:
            return self._channel.send(content, messages)
        return [self._send_one(content, message) for message in messages]

    def _send_one(self, content: Content, message: OutgoingMessage) -> SendResult:
        email = email_of_person(message.address)
        cached = self._cached(email) if email else None
        try:
            recipient_id = None
            if email:
                recipient_id = self._look_up(email) if cached is None else cached.provider_id
                if recipient_id is None:
                    return _not_found(email)
            mentions, notes = self._mentions(content, message.options)
            outgoing = replace(message, recipient_id=recipient_id, mentions=mentions)
            (result,) = self._channel.send(content, [outgoing])
            if cached is not None and isinstance(result, DeliveryError) and result.reason is Reason.BAD_ADDRESS:
                result = self._send_to_new_id(content, outgoing, email, result)
        except DeliveryError as error:
            return error
        return with_note(result, *notes)

    def _send_to_new_id(
        self, content: Content, outgoing: OutgoingMessage, email: str, refusal: DeliveryError
    ) -> SendResult:
        """Look a person up again whose stored id was refused; send once more if the id has changed.

        Raises DeliveryError if the look-up fails.
        """
        self._remember(email, None)
        recipient_id = self._look_up(email)
        if recipient_id is None:
            return _not_found(email)
        if recipient_id == outgoing.recipient_id:
            return refusal
        # The thread is with the former id.
        (result,) = self._channel.send(content, [replace(outgoing, recipient_id=recipient_id, reply_to=None)])
        return result

    def _mentions(self, content: Content, options: MessageOptions) -> tuple[tuple[Mention, ...], list[str]]:
        """Return a message's mentions, and a note about each that could not be looked up."""
        deadline = Deadline(MENTIONS_SECONDS)
        mentions: list[Mention] = []
        notes: list[str] = []
        for mention in options.mentions_at(content.severity)[:MAX_MENTIONS]:
            if mention.provider_id is None:
                provider_id, problem = self._look_up_mention(mention.text, deadline)
                mention = replace(mention, provider_id=provider_id)
                if problem:
                    notes.append(f"could not look up {mention.text}: {problem}")
            mentions.append(mention)
        return tuple(mentions), notes

    def _look_up_mention(self, email: str, deadline: Deadline) -> tuple[str | None, str]:
        """Return the id of a person to mention, or None and the problem. Takes no longer than the deadline."""
        cached = self._cached(email)
        if cached is not None:
            return cached.provider_id, "" if cached.provider_id else NOT_FOUND
        if not deadline.remaining():
            return None, NOT_TRIED
        try:
            provider_id = self._look_up(email, deadline.remaining())
        except DeliveryError as error:
            return None, NOT_TRIED if error.code == PAUSED else error.code
        return provider_id, "" if provider_id else NOT_FOUND

    def _cached(self, email: str) -> _Known | None:
        known = self._known.get(email_key(email))
        return known if known is not None and known.is_fresh(self._clock()) else None

    def _look_up(self, email: str, timeout: float = RECIPIENT_SECONDS) -> str | None:
        """Ask the provider for a person's id, and remember it. Raises DeliveryError."""
        assert self._directory is not None, "only called for a channel that has a directory"
        paused = self._rate_limited_until - time.monotonic()
        if paused > 0:
            limit = self._rate_limit
            raise DeliveryError(limit.reason, limit.code, detail=limit.detail, retry_after=paused)
        if not self._may_try():
            raise DeliveryError(Reason.LOCAL, PAUSED, detail=NOT_TRIED)
        try:
            provider_id = self._directory.find_person(email, min(timeout, self._channel.deadline / 2))
        except DeliveryError as error:
            self._note_failure(error)
            raise
        except Exception as error:
            # A bug in a look-up must not fail a message that only mentions somebody.
            log.exception("%s: a look-up failed", self._name)
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            raise DeliveryError(Reason.UNAVAILABLE, "lookup_failed", detail=type(error).__name__) from None
        self._is_refused = False
        self._paused_until = 0.0
        self._remember(email, _Known(provider_id, self._clock()))
        return provider_id

    def _may_try(self) -> bool:
        """Return whether to look somebody up now. After a failure only one message may try, once in PAUSE_SECONDS."""
        with self._lock:
            now = time.monotonic()
            if now < self._paused_until:
                return False
            if self._paused_until:
                self._paused_until = now + PAUSE_SECONDS
            return True

    def _note_failure(self, error: DeliveryError) -> None:
        if error.reason is Reason.RATE_LIMITED:
            self._rate_limit, self._rate_limited_until = error, time.monotonic() + rate_limit_wait(error)
        elif error.reason is not Reason.CONFIG:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
        if error.feature_only and not self._is_refused:
            log.warning("%s: people can't be looked up (%s); run alertctl doctor", self._name, error.code)
        self._is_refused = error.feature_only

    def _remember(self, email: str, known: _Known | None) -> None:
        """Keep the result of a look-up; None forgets the person."""
        key = email_key(email)
        with self._lock:
            self._unsaved[key] = known
        if known is None:
            self._known.pop(key, None)
        else:
            self._known[key] = known


def _emails(message: OutgoingMessage) -> Iterator[str]:
    """Yield the emails of the people whom a message addresses or mentions."""
    if email := email_of_person(message.address):
        yield email
    yield from (name for name in message.options.mention[:MAX_MENTIONS] if "@" in name)


def _not_found(email: str) -> DeliveryError:
    return DeliveryError(Reason.BAD_ADDRESS, NOT_FOUND, detail=f"nobody has the email {email}")
