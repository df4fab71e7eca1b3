"""Where an alert comes in: an event and its deliveries, written in one transaction; no provider is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlmodel import SQLModel

from alertctl import outbox
from alertctl.config import Settings
from alertctl.content import Severity
from alertctl.errors import Conflict, InvalidEvent
from alertctl.events import EventFields, parse
from alertctl.models import Event, EventKey, Urgency, new_id
from alertctl.preferences import recipients
from alertctl.routing import CHANNELS, Audience, Recipient, Rule, Target, parse_target, route
from alertctl.schemas import DeliveryItem
from alertctl.store import insert_new, insert_or

event = SQLModel.metadata.tables[str(Event.__tablename__)]
event_key = SQLModel.metadata.tables[str(EventKey.__tablename__)]
_EVENT = insert(event)
Key = tuple[str, str]
"""A scope (who may repeat it) and the caller's key."""
DEDUP = "dedup"
"""The scope of an event's own dedup_key: everybody's."""
DEDUP_WINDOW = "dedup_window"
"""The scope of a dedup_key with a window: its row is only a lock, on which publishers of this key take turns."""
FEW = 100
"""Users who are remembered for the next event of a transaction."""
LONGEST_WINDOW = 30 * 86400
"""Seconds. A window ends at the latest when its event leaves the log."""


@dataclass(frozen=True, slots=True)
class Publication:
    """An event that was checked and is ready to be written. `named` and `only` narrow who receives it.

    `window` (seconds) belongs to the event's dedup_key: a target that was sent the same within it is suppressed.
    """

    fields: EventFields
    given: str
    digest: str
    audience: Audience
    named: tuple[Target, ...] = ()
    only: str | None = None
    keys: tuple[Key, ...] = ()
    is_test: bool = False
    published_by: str | None = None
    window: float | None = None
    expires_at: datetime | None = None
    said_at: datetime | None = None

    @property
    def dedup_scope(self) -> outbox.DedupScope:
        """What is compared besides the target: the key, the type, and the subject, which is another one in each
        environment."""
        parts = ("feature_flag", "experiment", "environment")
        subject = (getattr(self.fields, name, None) or None for name in parts)
        return self.fields.dedup_key, self.fields.event_type, *subject

    def warnings(self) -> list[str]:
        """What would have made the message say more."""
        lacking = self.fields.lacks()
        return (
            [f"{self.fields.event_type} without {', '.join(lacking)}: the message says only what it knows"]
            if lacking
            else []
        )


@dataclass(frozen=True, slots=True)
class Published:
    """The event that stands for a publication, and the deliveries that it was given just now.

    `created` is False when its key was used before for the same body; then there are none.
    """

    event_id: str
    event_type: str
    created: bool
    deliveries: list[DeliveryItem] = field(default_factory=list, compare=False)


def prepare(
    event_type: str,
    fields: Mapping[str, Any],
    audience: Audience,
    *,
    to: Sequence[str] = (),
    channel: str | None = None,
    idempotency_key: str | None = None,
    published_by: str | None = None,
    dedup_window: float | None = None,
    expires_at: datetime | None = None,
    said_at: datetime | None = None,
) -> Publication:
    """Check everything that a caller gave, without a database. Raises InvalidEvent."""
    checked = parse(event_type, fields)
    if channel not in (None, *CHANNELS):
        raise InvalidEvent("channel", f"{str(channel)[:80]!r} is not a channel (slack or email)")
    _check_window(dedup_window, checked.dedup_key)
    named = tuple(parse_target(one) for one in to)
    given = checked.model_dump_json(exclude_unset=True)
    keys = _keys(checked, idempotency_key, published_by, dedup_window)
    return Publication(
        fields=checked,
        given=given,
        # Whoever has no key is never compared.
        digest=_digest(event_type, given, to, channel) if keys else "",
        audience=audience,
        named=named,
        only=channel,
        keys=keys,
        published_by=published_by,
        window=dedup_window,
        expires_at=expires_at,
        said_at=said_at,
    )


def _digest(event_type: str, given: str, to: Sequence[str], channel: str | None) -> str:
    body = json.dumps([event_type, json.loads(given), sorted(to), channel], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()


def _check_window(window: float | None, dedup_key: str | None) -> None:
    if window is None:
        return
    if not 1 <= window <= LONGEST_WINDOW:
        raise InvalidEvent("dedup_window", f"should be 1 second to {LONGEST_WINDOW // 86400} days")
    if not dedup_key:
        raise InvalidEvent("dedup_window", "needs a dedup_key: what would be the duplicate of what?")


def _keys(
    fields: EventFields, idempotency_key: str | None, published_by: str | None, window: float | None
) -> tuple[Key, ...]:
    keys: list[Key] = []
    if idempotency_key is not None:
        if not 0 < len(idempotency_key) <= 255 or not idempotency_key.isprintable():
            raise InvalidEvent("idempotency_key", "should be 1 to 255 printable characters")
        keys.append((f"call:{published_by or ''}", idempotency_key))
    if fields.dedup_key and window is None:
        keys.append((DEDUP, fields.dedup_key))
    return tuple(keys)


def connectivity_test_publication(
    channel: str, address: str, rule: Rule, audience: Audience, by: str | None
) -> Publication:
    """One real message to one address, marked as a test. Raises InvalidEvent on a bad address."""
    parse_target(f"{channel}:{address}")
    fields = parse(
        "generic_alert",
        {
            "title": "Test notification",
            "message": "If you can read this, alertctl reaches you here.",
            "source": "alertctl",
        },
    )
    given = fields.model_dump_json(exclude_unset=True)
    target = Target(channel, address, rule)
    return Publication(fields, given, "", audience, (target,), is_test=True, published_by=by)


def publish(connection: Connection, publications: Sequence[Publication], now: datetime) -> list[Published | Conflict]:
    """Write events and their deliveries; one answer for each, in order. A used key answers with its first event."""
    answers: list[Published | Conflict | None] = [None] * len(publications)
    wanting, windows = _Wanting(connection), outbox.DedupWindows(connection, now)
    routed: list[outbox.Routed] = []
    told: dict[str, Published] = {}
    plain = [index for index, one in enumerate(publications) if not one.keys and one.window is None]
    ids = {index: new_id(now) for index in plain}
    if plain:
        connection.execute(_EVENT, [_row(publications[index], ids[index], now) for index in plain])
    # In the order of their keys: two daemons that write the same ones must not wait for each other.
    for index, one in sorted(enumerate(publications), key=lambda each: _order(each[1])):
        answer = answers[index] = _written(one, ids[index]) if index in ids else _write_keyed(connection, one, now)
        if isinstance(answer, Published) and answer.created:
            if one.window is not None:
                _lock_dedup_key(connection, one, answer.event_id, now)
            told[answer.event_id] = answer
            routed.append(_routed(wanting, windows, one, answer.event_id))
    for event_id, born in outbox.enqueue(connection, routed, now).items():
        told[event_id].deliveries.extend(born)
    return [answer for answer in answers if answer is not None]


def _order(one: Publication) -> tuple[Key, ...]:
    return one.keys if one.window is None else (*one.keys, (DEDUP_WINDOW, one.fields.dedup_key or ""))


def _written(one: Publication, event_id: str) -> Published:
    return Published(event_id, one.fields.event_type, created=True)


def _write_keyed(connection: Connection, one: Publication, now: datetime) -> Published | Conflict:
    repeated = _repeated(connection, one)
    if repeated is not None:
        return repeated
    event_id = new_id(now)
    connection.execute(_EVENT, _row(one, event_id, now))
    rows = [
        {"scope": scope, "key": key, "event_id": event_id, "digest": one.digest, "created_at": now}
        for scope, key in one.keys
    ]
    if rows and insert_new(connection, event_key, rows) < len(rows):
        # Another daemon was faster with the same key; its transaction has just committed.
        connection.execute(delete(event).where(event.c.id == event_id))
        return _repeated(connection, one) or Conflict("the key is being used by another call right now: try again")
    return _written(one, event_id)


def _lock_dedup_key(connection: Connection, one: Publication, event_id: str, now: datetime) -> None:
    """Let other publishers of this windowed dedup_key wait until this transaction ends, and see what they wrote.

    An upsert, because it locks the row whether or not it exists, and whoever else removes it meanwhile.
    """
    row = {"scope": DEDUP_WINDOW, "key": one.fields.dedup_key, "event_id": event_id, "digest": one.digest}
    lock = insert_or(connection, event_key, {**row, "created_at": now})
    connection.execute(lock.on_conflict_do_update(index_elements=["scope", "key"], set_={"created_at": now}))


def _repeated(connection: Connection, one: Publication) -> Published | Conflict | None:
    for scope, key in one.keys:
        mine = (event_key.c.scope == scope, event_key.c.key == key)
        found = connection.execute(select(event_key.c.event_id, event_key.c.digest).where(*mine)).first()
        if found is None:
            continue
        if found.digest != one.digest:
            name = "dedup_key" if scope == DEDUP else "idempotency key"
            return Conflict(f"{name} {key!r} was used before for a different event ({found.event_id}): use another one")
        return Published(found.event_id, one.fields.event_type, created=False)
    return None


def _row(one: Publication, event_id: str, now: datetime) -> dict[str, Any]:
    fields = one.fields
    return {
        "id": event_id,
        "event_type": fields.event_type,
        "severity": fields.level.value,
        "fields": one.given,
        "feature_flag": _cut(getattr(fields, "feature_flag", None)),
        "experiment": _cut(getattr(fields, "experiment", None)),
        "is_test": one.is_test,
        "published_by": one.published_by,
        "occurred_at": fields.occurred_at or one.said_at or now,
        "created_at": now,
        "expires_at": one.expires_at,
        "said_at": one.said_at,
    }


def _cut(text: str | None) -> str | None:
    return text[:255] if text else None


class _Wanting:
    """The users who want a type of event: asked for once a transaction, unless they are many. Those are read as they
    are written, so that memory stays bounded."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, list[Recipient]] = {}

    def __call__(self, event_type: str) -> Iterable[Recipient]:
        if event_type in self._known:
            return self._known[event_type]
        found = recipients(self._connection, event_type)
        first = list(islice(found, FEW + 1))
        if len(first) > FEW:
            return chain(first, found)
        self._known[event_type] = first
        return first


def _routed(wanting: _Wanting, windows: outbox.DedupWindows, one: Publication, event_id: str) -> outbox.Routed:
    urgency = Urgency.CRITICAL if one.fields.level is Severity.CRITICAL else Urgency.NORMAL
    targets = _targets(wanting, one)
    if one.fields.dedup_key:
        targets = windows.suppress(targets, one.dedup_scope, one.window, event_id)
    return outbox.Routed(event_id, one.fields.event_type, urgency, targets)


def targets_of(connection: Connection, one: Publication) -> Iterator[Target]:
    """Who would receive this publication if it were published now."""
    return _targets(_Wanting(connection), one)


def _targets(wanting: _Wanting, one: Publication) -> Iterator[Target]:
    users = () if one.named else wanting(one.fields.event_type)
    return route(one.fields.channels, one.audience, users, one.named, one.only)


def audience_of(settings: Settings) -> Audience:
    """The platform's own audience, and the channels that are switched on."""
    on = {"slack": settings.slack.enabled, "email": settings.email.enabled}
    return Audience(
        slack_channel=settings.slack.default_channel,
        admin_emails=settings.notification.admin_emails,
        enabled=frozenset(name for name, enabled in on.items() if enabled),
    )
