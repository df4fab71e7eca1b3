"""A client that uses the database directly and sends with this process's threads."""

from __future__ import annotations

import getpass
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection

from alertctl import delivery_log, outbox, preferences, schemas, users
from alertctl.channels import CHANNEL_NAMES, CHANNEL_TYPES, build, build_all
from alertctl.config import Settings, reference
from alertctl.config.secret_files import current_database_url
from alertctl.connectivity_test import send_test_message, wait_for_results
from alertctl.db import Store, upgrade
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.errors import InvalidEvent, Unreachable
from alertctl.events import EVENT_TYPES
from alertctl.events.wording import Wording
from alertctl.publish import explain_no_targets, prepare, publish
from alertctl.routing import routing_rules_of

P = ParamSpec("P")
T = TypeVar("T")
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

    With `tolerate` the deliveries of an unusable channel wait (see `channels.build`). The end of its context
    waits until the roots of threads show what was delivered, except after Ctrl-C.
    """

    problem = ""
    """Why the call that is running is tried again: only calls of a server are."""

    def __init__(self, settings: Settings, *, tolerate: bool = False) -> None:
        self._settings, self._tolerate = settings, tolerate
        self._rules = routing_rules_of(settings)
        self._result_timeout = settings.alertctl.deadline + RESULT_WAIT

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception: object = None, *_: object) -> None:
        try:
            if exception is not KeyboardInterrupt:
                self.wait_for_edits()
        finally:
            self.close()

    def close(self) -> None:
        opened = vars(self)
        if "_dispatcher" in opened:
            self._dispatcher.stop_edits()
        if "_store" in opened:
            self._store.close()
        if "_channels" in opened:
            for channel in self._channels.values():
                channel.close()

    @cached_property
    def _store(self) -> Store:
        store = Store(self._settings.database.url, current_url=current_database_url(self._settings))
        try:
            upgrade(store)
        except BaseException:
            store.close()
            raise
        return store

    @cached_property
    def _channels(self) -> dict[str, Any]:
        return build(self._settings, tolerate=self._tolerate)

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(self._store, self._channels, DispatchOptions.of(self._settings), now)

    def publish(self, request: schemas.PublishRequest) -> schemas.EventReceipt:
        publication = prepare(request, self._rules)
        receipt = self._write(publish, publication, now())
        warnings = [*self._setting_problems(), *(receipt.warnings if receipt.created else ())]
        return replace(receipt, warnings=warnings)

    def _setting_problems(self) -> list[str]:
        routes = (f"{problem}; the route adds the default targets instead" for problem in self._rules.routes.problems)
        # `send` warns of ALERTCTL_STRICT itself, also when it does not get this far.
        problems = (problem for problem in self._settings.problems if not problem.startswith("ALERTCTL_STRICT:"))
        return [*map(_add_default, problems), *routes]

    def deliver(self, event_id: str, wait: float | None = None) -> list[schemas.DeliveryItem]:
        """Return an event's deliveries after a first attempt at each, or with `wait` (seconds) once all are final."""
        deadline = time.monotonic() + (wait or 0.0)
        while True:
            self._dispatcher.run_once(event_id)
            # A daemon on the same database may have claimed the delivery first: wait for its result.
            items = wait_for_results(self._store, event_id, self._result_timeout, only_sending=True)
            remaining = deadline - time.monotonic()
            due = [item.next_attempt_at for item in items if item.next_attempt_at is not None]
            if wait is None or remaining <= 0 or not due:
                return items
            time.sleep(min(remaining, 10 * POLL_SECONDS, max(POLL_SECONDS, (min(due) - now()).total_seconds())))

    def wait_for_edits(self) -> None:
        """Wait until the roots of threads show what was delivered, for some ten seconds at most."""
        if "_dispatcher" in vars(self):
            self._dispatcher.wait_for_edits()

    def preview(self, request: schemas.PublishRequest) -> schemas.Previews:
        from alertctl.preview import preview_event

        publication = prepare(request, self._rules)
        items = preview_event(self._store, self._settings, publication, now())
        warnings = [*self._setting_problems(), *publication.warnings, *([] if items else [explain_no_targets(request)])]
        return schemas.Previews(items=items, warnings=warnings)

    def test(self, channel: str, to: str | None, *, all_defaults: bool = False) -> schemas.ConnectivityTestResult:
        store = self._store
        rules = self._rules
        timeout = self._result_timeout
        return send_test_message(
            store, store, self._dispatcher, rules, channel, to, None, now, timeout, all_defaults=all_defaults
        )

    def log(self, where: schemas.LogFilter, *, limit: int = 20, cursor: str | None = None) -> schemas.Page:
        """Return a page of the log; its `total` is set only without a cursor."""
        return self._read(delivery_log.page, where, limit=limit, cursor=cursor, count=cursor is None)

    def show(self, id_part: str) -> schemas.DeliveryDetail:
        return self._read(delivery_log.detail, id_part, Wording.of(self._settings.messages))

    def rendered(self, id_part: str) -> schemas.Rendered:
        channels: dict[str, Any] = build_all(self._settings)
        return self._read(delivery_log.rendered, channels, id_part, Wording.of(self._settings.messages))

    def follow(self, where: schemas.LogFilter) -> Iterator[schemas.DeliveryItem | None]:
        """Yield each state of each delivery (older deliveries first with `where.since`), forever.

        Yields None at least once a second while nothing changes.
        """
        position = self._read(delivery_log.position, history=where.since is not None)
        away = False
        while True:
            try:
                changes, next_position = self._read(delivery_log.changes, where, position)
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

    def stats(self, where: schemas.LogFilter, by: str) -> schemas.Stats:
        return self._read(delivery_log.stats, where, by)

    def prune(self, older: timedelta | None, *, dry_run: bool = False) -> schemas.Pruned:
        """Remove final deliveries that are older than `older`; None: than the PRUNE_ settings say."""
        return outbox.prune_by(self._store, outbox.ages(self._settings, older), now(), dry_run=dry_run)

    def has_daemon(self) -> bool:
        """Return whether a daemon sends what is recorded."""
        return self._read(outbox.has_daemon, now())

    def status(self) -> schemas.StatusReport:
        where = f"database {self._store.shown}"
        return self._read(delivery_log.status_report, where, now(), self._rules.enabled, daemon=False)

    def resend(self, ids: Sequence[str], *, again: bool = False) -> list[schemas.ResendResult]:
        delivery_ids = [self._read(delivery_log.find_id, part) for part in ids]
        by, rules = _command_line_user(), self._rules
        return self._write(outbox.resend, delivery_ids, by, now(), again=again, rules=rules)

    def dispatch(self) -> schemas.Dispatched:
        # Cron's `dispatch --once` counts as a daemon.
        self._write(outbox.beat, now())
        return self._dispatcher.run_once()

    def routes(self) -> schemas.RouteList:
        from alertctl.route_test import list_routes

        return list_routes(self._rules)

    def test_routes(self, request: schemas.PublishRequest, user: str | None) -> schemas.RouteTestResult:
        """Test the routes, with the preferences of `user` or of all users that the caller may see."""
        from alertctl.db.sqlite import file_of
        from alertctl.route_test import run_route_test

        file = file_of(self._settings.database.url)
        try:
            if file is not None and not file.exists():
                raise Unreachable(f"there is no database {file}")
            result = self._read(lambda connection: run_route_test(request, self._rules, connection, user))
        except Unreachable as error:
            if user is not None:
                raise Unreachable(f"the preferences of {user} can't be read: {error}; leave out --user") from None
            note = f"users' preferences are not considered: {error}"
            result = run_route_test(request, self._rules, None, notes=[note])
        return replace(result, warnings=[*self._setting_problems(), *result.warnings])

    def event_types(self) -> list[schemas.EventTypeInfo]:
        return [schemas.EventTypeInfo.of(kind, CHANNEL_NAMES) for kind in EVENT_TYPES]

    def preferences(self, user: str | None) -> schemas.Prefs:
        """Return a user's preferences; None means the token's user."""
        return self._write(lambda connection: preferences.get(connection, _user_id(connection, user), now()))

    def set_preferences(self, user: str | None, changes: Mapping[str, Any]) -> schemas.Prefs:
        policy = self._rules.policy
        return self._write(
            lambda connection: preferences.update(connection, _user_id(connection, user), changes, now(), policy)
        )

    def reset_preferences(self, user: str | None) -> schemas.Prefs:
        return self._write(lambda connection: preferences.reset(connection, _user_id(connection, user), now()))

    def all_preferences(self, page: int, limit: int) -> list[schemas.Prefs]:
        return self._read(preferences.everyone, page, limit)[0]

    def users(self) -> list[schemas.UserItem]:
        return self._read(users.list_users)

    def add_user(self, email: str, role: str) -> schemas.UserItem:
        return self._write(users.add_user, email, role, now(), self._rules.policy)

    def change_user(
        self, user: str, *, role: str | None = None, email: str | None = None, disabled: bool | None = None
    ) -> schemas.UserItem:
        policy = self._rules.policy
        return self._write(users.change_user, user, role=role, email=email, disabled=disabled, policy=policy)

    def unlink_user(self, user: str) -> schemas.UserItem:
        return self._write(users.unlink_user, user)

    def remove_user(self, user: str) -> schemas.UserItem:
        return self._write(users.remove_user, user)

    def create_token(
        self, user: str, role: str | None, expires: timedelta | None, scope: str | None = None
    ) -> tuple[schemas.TokenItem, str]:
        return self._write(users.create_token, user, role, expires, now(), scope=scope, policy=self._rules.policy)

    def tokens(self) -> list[schemas.TokenItem]:
        return self._read(users.list_tokens)

    def revoke_token(self, id_part: str) -> schemas.TokenItem:
        return self._write(
            lambda connection: users.revoke_token(connection, users.find_token(connection, id_part), now())
        )

    def _read(self, query: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T:
        with self._store.reading() as connection:
            return query(connection, *values, **options)

    def _write(self, change: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T:
        return self._store.write(lambda connection: change(connection, *values, **options))


def _add_default(problem: str) -> str:
    """Return a setting's problem with the default that applies instead. The deliveries of a wrong channel wait."""
    name = problem.partition(":")[0]
    default = next((default for known, default, _ in reference() if known == name), "")
    appearance = {setting for kind in CHANNEL_TYPES for setting in kind.appearance_settings}
    is_applied = default and (name in appearance or name.startswith(("ALERTCTL_", "PRUNE_", "RETRY_")))
    return f"{problem}; the default applies: {default}" if is_applied else problem


def _command_line_user() -> str:
    """Return the name of the operating system's user, for the attempt's record."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        # The user of a container may have no name.
        return f"uid {os.getuid()} (command line)"


def _user_id(connection: Connection, user: str | None) -> str:
    """Return the id of the user with this id or email. Raises NotFound, InvalidEvent without a user."""
    if user is None:
        raise InvalidEvent("--user", "is required without a server, because no token says who you are")
    return users.find_user(connection, user).id
