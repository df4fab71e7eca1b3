"""A client that uses the database directly and sends with this process's threads."""

from __future__ import annotations

import getpass
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self

from sqlalchemy import Connection

from alertctl import delivery_log, outbox, preferences, users
from alertctl.channels import CHANNEL_NAMES, build, build_all
from alertctl.config import Settings
from alertctl.connectivity_test import send_test_message, wait_for_results
from alertctl.db import Store, upgrade
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.errors import Unreachable
from alertctl.events import EVENT_TYPES
from alertctl.preview import preview_event
from alertctl.publish import audience_of, prepare, publish
from alertctl.schemas import (
    ConnectivityTestResult,
    DeliveryDetail,
    DeliveryItem,
    Dispatched,
    EventReceipt,
    EventTypeInfo,
    LogFilter,
    Page,
    Prefs,
    Pruned,
    PublishRequest,
    Rendered,
    ResendResult,
    Stats,
    StatusReport,
    TokenItem,
    UserItem,
)

log = logging.getLogger("alertctl.client")
RESULT_WAIT = 2.0
"""Seconds beyond an attempt's deadline that a command waits for another process to finish the attempt."""
POLL_SECONDS = 0.1
"""Seconds between two queries."""
RECONNECT_SECONDS = 0.5
"""Seconds between two tries to reach a database that is down."""


def now() -> datetime:
    return datetime.now(UTC)


class LocalClient:
    """Uses the database directly and sends with this process's threads.

    With `tolerate` an unusable channel is no error: its deliveries wait (see `channels.build`).
    """

    def __init__(self, settings: Settings, *, tolerate: bool = False) -> None:
        self._settings, self._tolerate = settings, tolerate
        self._audience = audience_of(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        opened = vars(self)
        if "_store" in opened:
            self._store.close()
        if "_channels" in opened:
            for channel in self._channels.values():
                channel.close()

    @cached_property
    def _store(self) -> Store:
        store = Store(self._settings.database.url)
        upgrade(store)
        return store

    @cached_property
    def _channels(self) -> dict[str, Any]:
        return build(self._settings, tolerate=self._tolerate)

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(self._store, self._channels, DispatchOptions.of(self._settings), now)

    def publish(self, request: PublishRequest) -> EventReceipt:
        publication = prepare(request, self._audience)
        receipt = self._store.write(lambda connection: publish(connection, publication, now()))
        warnings = [*self._settings.problems, *(receipt.warnings if receipt.created else ())]
        return replace(receipt, warnings=warnings)

    def deliver(self, event_id: str, wait: float | None = None) -> list[DeliveryItem]:
        deadline = time.monotonic() + (wait or 0.0)
        while True:
            self._dispatcher.run_once(event_id)
            # A daemon on the same database may have claimed the delivery first: wait for its result.
            items = wait_for_results(
                self._store, event_id, self._settings.alertctl.deadline + RESULT_WAIT, only_sending=True
            )
            remaining = deadline - time.monotonic()
            due = [item.next_attempt_at for item in items if item.next_attempt_at is not None]
            if wait is None or remaining <= 0 or not due:
                return items
            time.sleep(min(remaining, 10 * POLL_SECONDS, max(POLL_SECONDS, (min(due) - now()).total_seconds())))

    def preview(self, request: PublishRequest) -> list[Rendered]:
        return preview_event(self._store, self._settings, prepare(request, self._audience), now())

    def test(self, channel: str, to: str | None) -> ConnectivityTestResult:
        timeout = self._settings.alertctl.deadline + RESULT_WAIT
        return send_test_message(
            self._store, self._store, self._dispatcher, self._audience, channel, to, None, now, timeout
        )

    def log(self, where: LogFilter, *, limit: int = 20, page: int = 1, cursor: str | None = None) -> Page:
        with self._store.reading() as connection:
            return delivery_log.page(connection, where, limit=limit, page=page, cursor=cursor, count=cursor is None)

    def show(self, id_part: str) -> DeliveryDetail:
        with self._store.reading() as connection:
            return delivery_log.detail(connection, id_part)

    def rendered(self, id_part: str) -> Rendered:
        channels: dict[str, Any] = build_all(self._settings)
        with self._store.reading() as connection:
            return delivery_log.rendered(connection, channels, id_part)

    def follow(self, where: LogFilter) -> Iterator[DeliveryItem | None]:
        with self._store.reading() as connection:
            position = delivery_log.position(connection, history=where.since is not None)
        away = False
        while True:
            try:
                with self._store.reading() as connection:
                    changes, next_position = delivery_log.changes(connection, where, position)
                away = False
            except Unreachable as error:
                # Keep following: a database that worked once comes back after its restart.
                if not away:
                    log.warning("%s; retrying", error)
                away = True
                yield None
                time.sleep(RECONNECT_SECONDS)
                continue
            yield from (item for _, item in changes)
            still_history, position = position.startswith("h") and next_position != position, next_position
            if not changes and not still_history:
                yield None
                time.sleep(POLL_SECONDS)

    def stats(self, where: LogFilter, by: str) -> Stats:
        with self._store.reading() as connection:
            return delivery_log.stats(connection, where, by)

    def prune(self, older: timedelta | None, *, dry_run: bool = False) -> Pruned:
        return outbox.prune_by(self._store, outbox.ages(self._settings, older), now(), dry_run=dry_run)

    def status(self) -> StatusReport:
        with self._store.reading() as connection:
            return delivery_log.status_report(connection, f"database {self._store.shown}", now(), daemon=False)

    def resend(self, ids: Sequence[str], *, again: bool = False) -> list[ResendResult]:
        with self._store.reading() as connection:
            delivery_ids = [delivery_log.find_id(connection, part) for part in ids]
        results = self._store.write(
            lambda connection: outbox.resend(
                connection, delivery_ids, _command_line_user(), now(), again=again, enabled=self._audience.enabled
            )
        )
        return [ResendResult(id=item.delivery_id, problem=item.problem) for item in results]

    def dispatch(self) -> Dispatched:
        counts = self._dispatcher.run_once()
        return Dispatched(
            attempted=counts.attempted, success=counts.success, retrying=counts.retrying, failed=counts.failed
        )

    def event_types(self) -> list[EventTypeInfo]:
        return [
            EventTypeInfo(
                event_type=kind.event_type,
                description=kind.description,
                channels=list(kind.channels or CHANNEL_NAMES),
                default_on=kind.default_on,
                json_schema=kind.model_json_schema(),
            )
            for kind in EVENT_TYPES
        ]

    def preferences(self, user: str) -> Prefs:
        return self._store.write(lambda connection: preferences.get(connection, _user_id(connection, user), now()))

    def set_preferences(self, user: str, changes: Mapping[str, Any]) -> Prefs:
        return self._store.write(
            lambda connection: preferences.update(connection, _user_id(connection, user), changes, now())
        )

    def reset_preferences(self, user: str) -> Prefs:
        return self._store.write(lambda connection: preferences.reset(connection, _user_id(connection, user), now()))

    def all_preferences(self, page: int, limit: int) -> list[Prefs]:
        with self._store.reading() as connection:
            return preferences.everyone(connection, page, limit)[0]

    def users(self) -> list[UserItem]:
        with self._store.reading() as connection:
            return users.list_users(connection)

    def add_user(self, email: str, role: str) -> UserItem:
        return self._store.write(lambda connection: users.add_user(connection, email, role, now()))

    def set_role(self, user: str, role: str) -> UserItem:
        return self._store.write(lambda connection: users.set_role(connection, user, role))

    def set_email(self, user: str, email: str) -> UserItem:
        return self._store.write(lambda connection: users.set_email(connection, user, email))

    def unlink_user(self, user: str) -> UserItem:
        return self._store.write(lambda connection: users.unlink_user(connection, user))

    def remove_user(self, user: str) -> UserItem:
        return self._store.write(lambda connection: users.remove_user(connection, user))

    def disable_user(self, user: str) -> UserItem:
        return self._store.write(lambda connection: users.disable_user(connection, user))

    def enable_user(self, user: str) -> UserItem:
        return self._store.write(lambda connection: users.enable_user(connection, user))

    def create_token(self, user: str, role: str, expires: timedelta | None) -> tuple[TokenItem, str]:
        return self._store.write(lambda connection: users.create_token(connection, user, role, expires, now()))

    def tokens(self) -> list[TokenItem]:
        with self._store.reading() as connection:
            return users.list_tokens(connection)

    def revoke_token(self, id_part: str) -> TokenItem:
        return self._store.write(lambda connection: users.revoke_token(connection, id_part, now()))


def _command_line_user() -> str:
    """Return the name of the operating system's user, for the attempt's record."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        # The user of a container may have no name.
        return f"uid {os.getuid()} (command line)"


def _user_id(connection: Connection, user: str) -> str:
    """Return the id of the user with this id or email. Raises NotFound."""
    return users.find_user(connection, user).id
