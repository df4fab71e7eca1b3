"""A client that speaks to an `alertctl serve`. Imports neither SQLAlchemy nor pydantic."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self, TypeVar
from urllib.parse import quote

from alertctl.addresses import email_key
from alertctl.client.calls import Calls, listed, read_as
from alertctl.client.server_config import Server
from alertctl.errors import NotAllowed, NotFound, Unreachable
from alertctl.schemas import (
    BODY_OPTIONS,
    ConnectivityTestResult,
    DeliveryDetail,
    DeliveryItem,
    Dispatched,
    EventReceipt,
    EventState,
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

T = TypeVar("T")
FIRST_TRY = 12.0
"""Seconds that a server's daemon gets for a first try at each of an event's deliveries: one attempt, and some."""
LONGEST_POLL = 25.0
"""Seconds of one call that waits: servers allow 30, proxies hang up on longer silence."""
AT_ONCE = 1000
"""Deliveries that one call sends again, users or tokens that one call lists."""
MOVING = ("pending", "sending")
"""Statuses of a delivery that has had no verdict yet."""


class RemoteClient:
    """Calls a server; what it can't do is an error with the same words and exit code as on the database."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._calls = Calls(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._calls.close()

    def publish(self, request: PublishRequest) -> EventReceipt:
        # With a key a repeat after a lost answer records nothing more.
        key = request.idempotency_key or f"once-{os.urandom(16).hex()}"
        answer = self._calls.ask("POST", "/events", _body(request), headers={"Idempotency-Key": key})
        read = {"created": True, **answer.data} if isinstance(answer.data, dict) else answer.data
        receipt = read_as(EventReceipt, read, self._server)
        if answer.headers.get("idempotent-replayed") != "true" or answer.repeated:
            return receipt
        # As they stand now: the answer has them as they were recorded.
        now = self._state(receipt.event_id, 0.0, "tried")
        return replace(receipt, created=False, deliveries=now.deliveries, warnings=[])

    def deliver(self, event_id: str, wait: float | None = None) -> list[DeliveryItem]:
        until, ends = ("tried", FIRST_TRY) if wait is None else ("final", wait)
        deadline = time.monotonic() + ends
        while True:
            left = max(0.0, deadline - time.monotonic())
            state = self._state(event_id, min(left, LONGEST_POLL), until)
            over = state.final or (wait is None and all(one.status not in MOVING for one in state.deliveries))
            if over or left <= LONGEST_POLL:
                return state.deliveries

    def _state(self, event_id: str, wait: float, until: str) -> EventState:
        found = self._calls.get(f"/events/{quote(event_id, safe='')}", {"wait": wait, "until": until}, patience=wait)
        return read_as(EventState, found, self._server)

    def preview(self, request: PublishRequest) -> list[Rendered]:
        headers = {"Idempotency-Key": request.idempotency_key} if request.idempotency_key else {}
        answer = self._calls.ask("POST", "/events/preview", _body(request), headers=headers)
        return listed(Rendered, answer.data, self._server)

    def test(self, channel: str, to: str | None) -> ConnectivityTestResult:
        answer = self._calls.ask("POST", "/test", {"channel": channel, "to": to}, repeat=False)
        delivery_id = answer.headers.get("content-location", "").rpartition("/")[2]
        known = {"delivery_id": delivery_id, **answer.data} if isinstance(answer.data, dict) else answer.data
        result = read_as(ConnectivityTestResult, known, self._server)
        try:
            whole = self.show(delivery_id)
        except (NotAllowed, NotFound):
            # The log is for admins; the sentence says enough.
            return result
        said = whole.attempt_log[-1].answer if whole.attempt_log else None
        return replace(result, error=whole.error, answer=said)

    def log(self, where: LogFilter, *, limit: int = 20, page: int = 1, cursor: str | None = None) -> Page:
        query = {**_query(where), "limit": limit, "page": None if page == 1 else page, "cursor": cursor}
        query["count"] = "false" if cursor else None
        return self._read(Page, self._calls.get("/delivery-log", query))

    def show(self, id_part: str) -> DeliveryDetail:
        return self._read(DeliveryDetail, self._calls.get(f"/delivery-log/{_delivery(id_part)}"))

    def rendered(self, id_part: str) -> Rendered:
        return self._read(Rendered, self._calls.get(f"/delivery-log/{_delivery(id_part)}/rendered"))

    def follow(self, where: LogFilter) -> Iterator[DeliveryItem | None]:
        from alertctl.client.sse import follow

        return follow(self._calls, _query(where))

    def stats(self, where: LogFilter, by: str) -> Stats:
        return self._read(Stats, self._calls.get("/delivery-log/stats", {**_query(where), "by": by}))

    def prune(self, older: timedelta | None, *, dry_run: bool = False) -> Pruned:
        days = None if older is None else older / timedelta(days=1)
        asked = {"older_than_days": days, "dry_run": dry_run}
        return self._read(Pruned, self._calls.ask("POST", "/delivery-log/prune", asked, repeat=dry_run).data)

    def status(self) -> StatusReport:
        found = self._read(StatusReport, self._calls.get("/status"))
        return replace(found, where=f"server {self._server.root} ({found.where})")

    def resend(self, ids: Sequence[str], *, again: bool = False) -> list[ResendResult]:
        results: list[ResendResult] = []
        for start in range(0, len(ids), AT_ONCE):
            asked = {"ids": [_delivery(part) for part in ids[start : start + AT_ONCE]], "again": again}
            # Not a second time once it went out: what has gone meanwhile would go again.
            answer = self._calls.ask("POST", "/delivery-log/retry", asked, repeat=False)
            results += listed(ResendResult, answer.data, self._server)
        return results

    def dispatch(self) -> Dispatched:
        """The server's daemon sends what is due; this waits for it, and counts what became of it."""
        deadline = time.monotonic() + self._server.timeout
        total = Dispatched(attempted=0, success=0, retrying=0, failed=0)
        while True:
            left = max(0.0, deadline - time.monotonic())
            wait = min(left, LONGEST_POLL)
            answer = self._calls.ask("POST", "/dispatch", query={"wait": wait}, patience=wait)
            total = _sum(total, self._read(Dispatched, answer.data))
            if left <= LONGEST_POLL or answer.data.get("due") is not True:
                return total

    def event_types(self) -> list[EventTypeInfo]:
        found = self._calls.get("/events")
        return listed(EventTypeInfo, {"items": found}, self._server)

    def preferences(self, user: str) -> Prefs:
        return self._prefs("GET", user)

    def set_preferences(self, user: str, changes: Mapping[str, Any]) -> Prefs:
        return self._prefs("PUT", user, body=dict(changes))

    def reset_preferences(self, user: str) -> Prefs:
        return self._prefs("POST", user, "/reset")

    def _prefs(self, method: str, user: str, more: str = "", body: Any = None) -> Prefs:
        # One's own are everybody's to change, others' are for admins.
        path = "/preferences" if email_key(user.strip()) in self._me else f"/admin/preferences/{_user(user)}"
        return self._flat(self._calls.ask(method, f"{path}{more}", body).data)

    def _flat(self, found: Any) -> Prefs:
        if not isinstance(found, dict):
            raise Unreachable(f"{self._server.root} answers what no alertctl does (no preferences)")
        return found

    @cached_property
    def _me(self) -> tuple[str, str]:
        """The caller's id and email."""
        found = self._calls.get("/me")
        known = found if isinstance(found, dict) else {}
        return str(known.get("id")), str(known.get("email") or known.get("id"))

    def all_preferences(self, page: int, limit: int) -> list[Prefs]:
        found = self._calls.get("/admin/preferences", {"page": page, "limit": limit})
        return [self._flat(one) for one in listed(dict, found, self._server)]

    def users(self) -> list[UserItem]:
        return list(self._everything(UserItem, "/admin/users"))

    def add_user(self, email: str, role: str) -> UserItem:
        answer = self._calls.ask("POST", "/admin/users", {"email": email, "role": role}, repeat=False)
        return self._read(UserItem, answer.data)

    def set_role(self, user: str, role: str) -> UserItem:
        return self._change(user, {"role": role})

    def set_email(self, user: str, email: str) -> UserItem:
        return self._change(user, {"email": email})

    def unlink_user(self, user: str) -> UserItem:
        return self._read(UserItem, self._calls.ask("DELETE", f"/admin/users/{_user(user)}/identity").data)

    def remove_user(self, user: str) -> UserItem:
        return self._read(UserItem, self._calls.ask("DELETE", f"/admin/users/{_user(user)}", repeat=False).data)

    def disable_user(self, user: str) -> UserItem:
        return self._change(user, {"disabled": True})

    def enable_user(self, user: str) -> UserItem:
        return self._change(user, {"disabled": False})

    def _change(self, user: str, changes: Mapping[str, Any]) -> UserItem:
        return self._read(UserItem, self._calls.ask("PATCH", f"/admin/users/{_user(user)}", dict(changes)).data)

    def create_token(self, user: str, role: str, expires: timedelta | None) -> tuple[TokenItem, str]:
        asked = {"user": user, "role": role, "expires_in": None if expires is None else expires.total_seconds()}
        made = self._calls.ask("POST", "/admin/tokens", asked, repeat=False).data
        known = made if isinstance(made, dict) else {}
        return self._read(TokenItem, known.get("item")), str(known.get("token", ""))

    def tokens(self) -> list[TokenItem]:
        return list(self._everything(TokenItem, "/admin/tokens"))

    def revoke_token(self, id_part: str) -> TokenItem:
        return self._read(TokenItem, self._calls.ask("DELETE", f"/admin/tokens/{_token(id_part)}").data)

    def _everything(self, kind: type[T], path: str) -> Iterator[T]:
        cursor: str | None = None
        while True:
            found = self._calls.get(path, {"limit": AT_ONCE, "cursor": cursor})
            yield from listed(kind, found, self._server)
            behind = found.get("next_cursor")
            if not behind or behind == cursor:
                return
            cursor = str(behind)

    def _read(self, kind: type[T], data: Any) -> T:
        return read_as(kind, data, self._server)


def _body(request: PublishRequest) -> dict[str, Any]:
    """Return the body of POST /events. Its times are in full: those of an answer are cut to the second."""
    options = {name: getattr(request, name) for name in BODY_OPTIONS}
    return request.fields | {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in options.items()
        if value not in (None, [])
    }


def _query(where: LogFilter) -> dict[str, str]:
    return {name: _text(value) for name, value in where.given().items()}


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "true" if value is True else str(value)


def _delivery(part: str) -> str:
    if not re.fullmatch(r"[0-9a-f-]{1,36}", part.strip().lower()):
        raise NotFound(f"{part[:60]!r} is not an id or a part of one (letters a-f, digits, dashes)")
    return part.strip().lower()


def _token(part: str) -> str:
    if not re.fullmatch(r"[0-9a-f-]{1,36}", part.strip().lower()):
        raise NotFound(f"{part[:60]!r} is not a token's id or a part of one: alertctl token list shows them")
    return part.strip().lower()


def _user(user: str) -> str:
    """A user's name as a part of a path."""
    word = email_key(user.strip())
    if not word or not word.isprintable():
        raise NotFound(f"{user[:80]!r} is no user's id or email")
    if "/" in word or set(word) == {"."}:
        # No email that we take, no id; and a path that means another one.
        raise NotFound(f"{user[:80]!r} is no user's id or email: alertctl user list shows them")
    return quote(word, safe="@")


def _sum(one: Dispatched, other: Dispatched) -> Dispatched:
    return Dispatched(
        attempted=one.attempted + other.attempted,
        success=one.success + other.success,
        retrying=one.retrying + other.retrying,
        failed=one.failed + other.failed,
    )
