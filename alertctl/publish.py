"""Publish an event: write it and its deliveries in one transaction. No provider is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select

from alertctl import delivery_log, outbox
from alertctl.channels import channel_type
from alertctl.content import Severity
from alertctl.db import insert_new, upsert
from alertctl.errors import Conflict, InvalidEvent, Unreachable
from alertctl.events import EventFields, parse
from alertctl.events.base import subject_key
from alertctl.ids import new_id
from alertctl.labels import parse_labels
from alertctl.models import Event, EventKey, EventLabel, Priority, table_of
from alertctl.preferences import recipients
from alertctl.routing import Decision, RoutingRules, Target, decide, label_targets, parse_target
from alertctl.schemas import EventReceipt, PublishRequest
from alertctl.text import safe_link

event = table_of(Event)
event_label = table_of(EventLabel)
event_key = table_of(EventKey)
_EVENT = insert(event)
Key = tuple[str, str]
"""A scope (the callers that share it) and the caller's key."""
DEDUP = "dedup"
"""The scope of an event's dedup_key, which all callers share."""
DEDUP_WINDOW = "dedup_window"
"""The scope of a dedup_key with a window. Its row is only a lock, by which publishers of this key take turns."""
MAX_TARGETS = 1000
"""Targets that one event may name."""
MAX_CACHED_USERS = 100
"""Users that are kept in memory for the next event of a transaction."""
LONGEST_WINDOW = 30 * 86400
"""Seconds. A window also ends when its event is deleted from the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A checked request, with its labels as text, its typed `fields` and the targets that it names in `to`.

    A key in `keys` that was used before means the same event, or a conflict if the `body_hash` differs.
    """

    request: PublishRequest
    fields: EventFields
    fields_json: str
    to: tuple[Target, ...]
    keys: tuple[Key, ...]
    body_hash: str
    rules: RoutingRules
    published_by: str | None
    is_test: bool
    warnings: tuple[str, ...]

    @property
    def labels(self) -> Mapping[str, str]:
        return self.request.labels

    @property
    def channel(self) -> str | None:
        return self.request.channel

    @property
    def dedup_scope(self) -> outbox.DedupScope:
        """What duplicates have in common besides the target: the key, the type, the subject and its environment."""
        parts = ("feature_flag", "experiment", "environment")
        subject = (getattr(self.fields, name, None) or None for name in parts)
        return self.fields.dedup_key, self.fields.event_type, *subject


def prepare(
    request: PublishRequest,
    rules: RoutingRules,
    published_by: str | None = None,
    *,
    is_test: bool = False,
    complete: bool = True,
) -> Publication:
    """Check a request, without a database. Without `complete` no field is required. Raises InvalidEvent."""
    fields, warnings = parse(request.event_type, request.fields, complete=complete)
    labels, label_warnings = parse_labels(request.labels)
    if labels != request.labels:
        request = replace(request, labels=labels)
    if request.channel is not None:
        channel_type(request.channel)
    _check_window(request.dedup_window, fields.dedup_key)
    if len(request.to) > MAX_TARGETS:
        raise InvalidEvent("to", f"should be {MAX_TARGETS} targets at most, got {len(request.to)}")
    routing_reason = "test" if is_test else "named"
    to = tuple(parse_target(target, routing_reason) for target in request.to)
    for target in to:
        rules.check(target)
    fields_json = fields.model_dump_json(exclude_unset=True)
    keys = _keys(request, fields.dedup_key, published_by)
    return Publication(
        request=request,
        fields=fields,
        fields_json=fields_json,
        to=to,
        keys=keys,
        # An event without a key is never compared.
        body_hash=_body_hash(request, fields_json) if keys else "",
        rules=rules,
        published_by=published_by,
        is_test=is_test,
        warnings=(*warnings, *label_warnings, *(_hints(fields) if complete else ()), *label_targets(labels)[1]),
    )


def explain_no_targets(request: PublishRequest) -> str:
    """Return the warning for an event that has no target."""
    if request.to:
        return f"no recipients: channel {request.channel} excludes every target of `to`; leave the channel out"
    where = f" on {request.channel}" if request.channel else ""
    return f"no recipients{where}: no default target, route, label or preference applies; name a target (`to`)"


def _hints(fields: EventFields) -> Iterator[str]:
    """Yield how the message would be better: fields that are missing, and a link that can't be clicked."""
    missing = [name for name in fields.expected if getattr(fields, name) in (None, "")]
    if missing:
        yield f"{fields.event_type} without {', '.join(missing)}: missing fields are left out of the message"
    if fields.url and safe_link(fields.url) is None:
        yield f"url: {fields.url[:60]!r} is not an http:// or https:// address, so the message has no link"
    elif fields.url and "@" in urlsplit(fields.url).netloc:
        yield "url: it holds a user name or a password, and everyone who gets the message sees it; remove them"


def _body_hash(request: PublishRequest, fields_json: str) -> str:
    body = [request.event_type, json.loads(fields_json), sorted(request.to), request.channel]
    if request.labels:
        # Without labels the hash is that of alertctl 0.2, so that a key keeps its meaning.
        body.append(request.labels)
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _check_window(window: float | None, dedup_key: str | None) -> None:
    if window is None:
        return
    if not 1 <= window <= LONGEST_WINDOW:
        raise InvalidEvent("dedup_window", f"should be 1 second to {LONGEST_WINDOW // 86400} days")
    if not dedup_key:
        raise InvalidEvent("dedup_window", "requires a dedup_key; set one")


def _keys(request: PublishRequest, dedup_key: str | None, published_by: str | None) -> tuple[Key, ...]:
    keys: list[Key] = []
    if request.idempotency_key is not None:
        if not 0 < len(request.idempotency_key) <= 255 or not request.idempotency_key.isprintable():
            raise InvalidEvent("idempotency_key", "should be 1 to 255 printable characters")
        keys.append((f"call:{published_by or ''}", request.idempotency_key))
    if dedup_key and request.dedup_window is None:
        keys.append((DEDUP, dedup_key))
    return tuple(keys)


def publish(connection: Connection, publication: Publication, now: datetime) -> EventReceipt:
    """Write an event and its deliveries, or return the first event that used its key. Raises Conflict."""
    (outcome,) = publish_many(connection, [publication], now)
    if not isinstance(outcome, EventReceipt):
        raise outcome
    return outcome


def publish_many(
    connection: Connection, publications: Sequence[Publication], now: datetime
) -> list[EventReceipt | Conflict | Unreachable]:
    """Do what `publish` does for many events. Returns one outcome for each, in order.

    A Conflict is returned and not raised here, because it must not undo the other events of the transaction. A Writer
    raises it to the one caller that it concerns.
    """
    outcomes: dict[int, EventReceipt | Conflict | Unreachable] = {}
    recipient_cache, windows = _RecipientCache(connection), outbox.DedupWindows(connection, now)
    receipts: list[EventReceipt] = []
    labels: dict[str, dict[str, str]] = {}
    deliveries: list[Iterator[dict[str, Any]]] = []
    keyless = [index for index, publication in enumerate(publications) if not _keys_in_order(publication)]
    ids = {index: new_id(now) for index in keyless}
    if keyless:
        connection.execute(_EVENT, [_row(publications[index], ids[index], now) for index in keyless])
    # In the order of their keys: two daemons that write the same keys must not wait for each other.
    for index, publication in sorted(enumerate(publications), key=lambda item: _keys_in_order(item[1])):
        try:
            receipt = _receipt(publication, ids[index]) if index in ids else _write_keyed(connection, publication, now)
        except (Conflict, Unreachable) as error:
            outcomes[index] = error
            continue
        outcomes[index] = receipt
        receipts.append(receipt)
        if receipt.created:
            labels[receipt.event_id] = publication.request.labels
            deliveries.append(_new_deliveries(recipient_cache, windows, publication, receipt.event_id, now))
    if label_rows := list(_label_rows(labels)):
        connection.execute(insert(event_label), label_rows)
    new_deliveries = outbox.enqueue(connection, chain.from_iterable(deliveries), labels)
    repeated = [receipt.event_id for receipt in receipts if not receipt.created]
    earlier_deliveries = delivery_log.items_of(connection, repeated) if repeated else {}
    for receipt in receipts:
        receipt.deliveries.extend((new_deliveries if receipt.created else earlier_deliveries).get(receipt.event_id, ()))
    for index, outcome in outcomes.items():
        if isinstance(outcome, EventReceipt) and not outcome.deliveries:
            outcome.warnings.append(explain_no_targets(publications[index].request))
    return [outcomes[index] for index in range(len(publications))]


def _keys_in_order(publication: Publication) -> tuple[Key, ...]:
    if publication.request.dedup_window is None:
        return publication.keys
    return *publication.keys, (DEDUP_WINDOW, publication.fields.dedup_key or "")


def _receipt(publication: Publication, event_id: str, *, created: bool = True) -> EventReceipt:
    """Return a receipt whose deliveries are still to be filled in."""
    return EventReceipt(
        event_id=event_id,
        event_type=publication.fields.event_type,
        created=created,
        deliveries=[],
        warnings=list(publication.warnings),
    )


def _write_keyed(connection: Connection, publication: Publication, now: datetime) -> EventReceipt:
    """Write an event that has a key, unless the key was used. Raises Conflict, or Unreachable while a call uses it."""
    repeated = _find_repeated(connection, publication)
    if repeated is not None:
        return repeated
    event_id = new_id(now)
    connection.execute(_EVENT, _row(publication, event_id, now))
    rows = [_key_row(publication, key, event_id, now) for key in publication.keys]
    if rows and insert_new(connection, event_key, rows) < len(rows):
        # Another daemon has just committed an event with the same key.
        connection.execute(delete(event).where(event.c.id == event_id))
        repeated = _find_repeated(connection, publication)
        if repeated is None:
            raise Unreachable("another call is using this key; try again")
        return repeated
    if publication.request.dedup_window is not None:
        # Other publishers of this dedup_key wait until this transaction ends. An upsert locks the row whether or not it
        # exists or is deleted meanwhile.
        lock = _key_row(publication, (DEDUP_WINDOW, publication.fields.dedup_key or ""), event_id, now)
        upsert(connection, event_key, lock, {"created_at": now})
    return _receipt(publication, event_id)


def _key_row(publication: Publication, key: Key, event_id: str, now: datetime) -> dict[str, Any]:
    row = {"scope": key[0], "key": key[1], "event_id": event_id}
    return row | {"body_hash": publication.body_hash, "created_at": now}


def _find_repeated(connection: Connection, publication: Publication) -> EventReceipt | None:
    """Return the receipt of the event that used one of the keys before. Raises Conflict if that was another event."""
    for scope, key in publication.keys:
        same_key = (event_key.c.scope == scope, event_key.c.key == key)
        used = connection.execute(select(event_key.c.event_id, event_key.c.body_hash).where(*same_key)).first()
        if used is None:
            continue
        if used.body_hash != publication.body_hash:
            name = "dedup_key" if scope == DEDUP else "idempotency key"
            raise Conflict(f"{name} {key!r} was already used for a different event ({used.event_id}); use another key")
        return _receipt(publication, used.event_id, created=False)
    return None


def _row(publication: Publication, event_id: str, now: datetime) -> dict[str, Any]:
    request, fields = publication.request, publication.fields
    return {
        "id": event_id,
        "event_type": fields.event_type,
        "severity": fields.level.value,
        "fields": publication.fields_json,
        "labels": json.dumps(request.labels, ensure_ascii=False) if request.labels else None,
        "feature_flag": _cut(getattr(fields, "feature_flag", None)),
        "experiment": _cut(getattr(fields, "experiment", None)),
        "subject_key": None if publication.is_test else subject_key(fields.subject),
        "ends_subject": fields.ends_subject,
        "is_test": publication.is_test,
        "published_by": publication.published_by,
        "occurred_at": fields.occurred_at or request.originally_published_at or now,
        "created_at": now,
        "expires_at": request.expires_at,
        "originally_published_at": request.originally_published_at,
    }


def _label_rows(labels: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, str]]:
    for event_id, own in labels.items():
        for name, value in own.items():
            yield {"event_id": event_id, "name": name, "value": value}


def _cut(text: str | None) -> str | None:
    return text[:255] if text else None


class _RecipientCache:
    """The users who want an event type, queried once per transaction.

    If they are many, they are streamed for each event instead, so that memory stays bounded.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, list[Target]] = {}

    def __call__(self, event_type: str) -> Iterable[Target]:
        if event_type in self._known:
            return self._known[event_type]
        rows = recipients(self._connection, event_type)
        first = list(islice(rows, MAX_CACHED_USERS + 1))
        if len(first) > MAX_CACHED_USERS:
            return chain(first, rows)
        self._known[event_type] = first
        return first


def _new_deliveries(
    recipient_cache: _RecipientCache,
    windows: outbox.DedupWindows,
    publication: Publication,
    event_id: str,
    now: datetime,
) -> Iterator[dict[str, Any]]:
    fields = publication.fields
    priority = Priority.CRITICAL if fields.level is Severity.CRITICAL else Priority.NORMAL
    targets: Iterator[Target] = (decision.target for decision in _decisions(recipient_cache, publication))
    if fields.dedup_key:
        targets = windows.suppress(targets, publication.dedup_scope, publication.request.dedup_window, event_id)
    return (outbox.new_delivery(event_id, fields.event_type, priority, target, now) for target in targets)


def decisions_of(connection: Connection, publication: Publication) -> Iterator[Decision]:
    """Yield the decisions about the targets of this publication if it were published now."""
    return _decisions(_RecipientCache(connection), publication)


def _decisions(recipient_cache: _RecipientCache, publication: Publication) -> Iterator[Decision]:
    users = () if publication.to else recipient_cache(publication.fields.event_type)
    return decide(publication, publication.rules, users)
