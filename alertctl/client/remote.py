"""A client of an `alertctl serve`. Imports neither SQLAlchemy nor pydantic, to start fast."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self, TypeVar
from urllib.parse import quote

from alertctl import schemas
from alertctl.addresses import email_key
from alertctl.client.api_calls import ApiCalls, unexpected_json
from alertctl.client.server_config import ServerConfig
from alertctl.errors import AlertctlError, NotAllowed, NotFound

T = TypeVar("T")
FIRST_ATTEMPT_SECONDS = 12.0
"""Seconds to wait for the first attempt at each of an event's deliveries: a bit longer than one attempt."""
MAX_POLL = 25.0
"""Longest wait of one call in seconds: servers allow 30, and proxies close connections that are silent for longer."""
MAX_BATCH = 1000
"""Most deliveries that one call resends, or users or tokens that one call lists."""
IN_PROGRESS = ("pending", "sending")
"""Statuses of a delivery without a result."""
OTHER_PUBLISHER = (
    "another user published this event, so this token can't read if it was delivered; use a token without the scope "
    "publish for that"
)


class RemoteClient:
    """Calls a server. Errors have the same messages and exit codes as those of LocalClient."""

    def __init__(self, server: ServerConfig) -> None:
        self._server = server
        self._calls = ApiCalls(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._calls.close()

    @property
    def problem(self) -> str:
        return self._calls.problem

    def publish(self, request: schemas.PublishRequest) -> schemas.EventReceipt:
        # With a key, a retry after a lost reply records nothing twice.
        key = request.idempotency_key or f"once-{os.urandom(16).hex()}"
        answer = self._calls.request("POST", "/events", _body(request), headers={"Idempotency-Key": key})
        read = {"created": True, **answer.data} if isinstance(answer.data, dict) else answer.data
        receipt = self._calls.parse(schemas.EventReceipt, read)
        if answer.headers.get("idempotent-replayed") != "true":
            return receipt
        try:
            # Read the current state: the reply has the deliveries as they were when recorded.
            deliveries = self._state(receipt.event_id, 0.0, "tried").deliveries
        except NotFound:
            return replace(receipt, created=False, is_current=False, warnings=[OTHER_PUBLISHER])
        except AlertctlError:
            if not answer.repeated:
                raise
        else:
            if not answer.repeated:
                return replace(receipt, created=False, deliveries=deliveries, warnings=[])
        # An earlier try of this call may have recorded it.
        return receipt

    def deliver(self, event_id: str, wait: float | None = None) -> list[schemas.DeliveryItem]:
        until, seconds = ("tried", FIRST_ATTEMPT_SECONDS) if wait is None else ("final", wait)
        deadline = time.monotonic() + seconds
        while True:
            remaining = max(0.0, deadline - time.monotonic())
            state = self._state(event_id, min(remaining, MAX_POLL), until)
            is_finished = state.final or (
                wait is None and all(item.status not in IN_PROGRESS for item in state.deliveries)
            )
            if is_finished or remaining <= MAX_POLL:
                return state.deliveries

    def _state(self, event_id: str, wait: float, until: str) -> schemas.EventState:
        data = self._calls.get(f"/events/{quote(event_id, safe='')}", {"wait": wait, "until": until}, wait=wait)
        return self._calls.parse(schemas.EventState, data)

    def preview(self, request: schemas.PublishRequest) -> schemas.Previews:
        headers = {"Idempotency-Key": request.idempotency_key} if request.idempotency_key else {}
        answer = self._calls.request("POST", "/events/preview", _body(request), headers=headers)
        return self._calls.parse(schemas.Previews, answer.data)

    def test(self, channel: str, to: str | None, *, all_defaults: bool = False) -> schemas.ConnectivityTestResult:
        # A server before 0.3 refuses the field.
        every = {"all": True} if all_defaults else {}
        answer = self._calls.request("POST", "/test", {"channel": channel, "to": to, **every}, repeat=False)
        delivery_id = answer.headers.get("content-location", "").rpartition("/")[2]
        fields = {"delivery_id": delivery_id, **answer.data} if isinstance(answer.data, dict) else answer.data
        result = self._calls.parse(schemas.ConnectivityTestResult, fields)
        try:
            delivery = self.show(delivery_id)
        except (NotAllowed, NotFound):
            # Only admins can read the log; the message is enough.
            return result
        answer_text = delivery.attempt_log[-1].answer if delivery.attempt_log else None
        return replace(result, error=delivery.error, answer=answer_text)

    def log(self, where: schemas.LogFilter, *, limit: int = 20, cursor: str | None = None) -> schemas.Page:
        query = {**_query(where), "limit": limit, "cursor": cursor, "count": "false" if cursor else None}
        return self._fetch(schemas.Page, "GET", "/delivery-log", query=query)

    def show(self, id_part: str) -> schemas.DeliveryDetail:
        return self._fetch(schemas.DeliveryDetail, "GET", f"/delivery-log/{_id_part(id_part)}")

    def rendered(self, id_part: str) -> schemas.Rendered:
        return self._fetch(schemas.Rendered, "GET", f"/delivery-log/{_id_part(id_part)}/rendered")

    def follow(self, where: schemas.LogFilter) -> Iterator[schemas.DeliveryItem | None]:
        from alertctl.client.sse import follow

        return follow(self._calls, _query(where))

    def stats(self, where: schemas.LogFilter, by: str) -> schemas.Stats:
        return self._fetch(schemas.Stats, "GET", "/delivery-log/stats", query={**_query(where), "by": by})

    def prune(self, older: timedelta | None, *, dry_run: bool = False) -> schemas.Pruned:
        days = None if older is None else older / timedelta(days=1)
        body = {"older_than_days": days, "dry_run": dry_run}
        return self._fetch(schemas.Pruned, "POST", "/delivery-log/prune", body, repeat=dry_run)

    def has_daemon(self) -> bool:
        return True

    def status(self) -> schemas.StatusReport:
        report = self._fetch(schemas.StatusReport, "GET", "/status")
        return replace(report, where=f"server {self._server.root} ({report.where})")

    def resend(self, ids: Sequence[str], *, again: bool = False) -> list[schemas.ResendResult]:
        results: list[schemas.ResendResult] = []
        for start in range(0, len(ids), MAX_BATCH):
            body = {"ids": [_id_part(part) for part in ids[start : start + MAX_BATCH]], "again": again}
            # No retry once it was sent: it would resend deliveries that have arrived since.
            answer = self._calls.request("POST", "/delivery-log/retry", body, repeat=False)
            results += self._calls.parse_items(schemas.ResendResult, answer.data)
        return results

    def dispatch(self) -> schemas.Dispatched:
        """Wait while the server's daemon sends what is due, and count the results."""
        deadline = time.monotonic() + self._server.timeout
        counts: Counter[str] = Counter()
        while True:
            remaining = max(0.0, deadline - time.monotonic())
            wait = min(remaining, MAX_POLL)
            answer = self._calls.request("POST", "/dispatch", query={"wait": wait}, wait=wait)
            counts.update(asdict(self._calls.parse(schemas.Dispatched, answer.data)))
            if remaining <= MAX_POLL or answer.data.get("due") is not True:
                return schemas.Dispatched(**counts)

    def routes(self) -> schemas.RouteList:
        return self._fetch(schemas.RouteList, "GET", "/routes")

    def test_routes(self, request: schemas.PublishRequest, user: str | None) -> schemas.RouteTestResult:
        return self._fetch(schemas.RouteTestResult, "POST", "/routes/test", {**_body(request), "user": user})

    def event_types(self) -> list[schemas.EventTypeInfo]:
        return self._calls.parse_items(schemas.EventTypeInfo, {"items": self._calls.get("/events")})

    def preferences(self, user: str | None) -> schemas.Prefs:
        return self._prefs("GET", user)

    def set_preferences(self, user: str | None, changes: Mapping[str, Any]) -> schemas.Prefs:
        return self._prefs("PUT", user, body=dict(changes))

    def reset_preferences(self, user: str | None) -> schemas.Prefs:
        return self._prefs("POST", user, "/reset")

    def _prefs(self, method: str, user: str | None, suffix: str = "", body: Any = None) -> schemas.Prefs:
        # Every user may change their own preferences; only admins those of others.
        is_own = user is None or email_key(user.strip()) in self._me
        path = "/preferences" if is_own else f"/admin/preferences/{_user_path(user or '')}"
        return self._parse_preferences(self._calls.request(method, f"{path}{suffix}", body).data)

    def _parse_preferences(self, data: Any) -> schemas.Prefs:
        if not isinstance(data, dict):
            raise unexpected_json(self._server)
        return data

    @cached_property
    def _me(self) -> tuple[str, str]:
        """Return the caller's id and email."""
        data = self._calls.get("/me")
        fields = data if isinstance(data, dict) else {}
        return str(fields.get("id")), str(fields.get("email") or fields.get("id"))

    def all_preferences(self, page: int, limit: int) -> list[schemas.Prefs]:
        data = self._calls.get("/admin/preferences", {"page": page, "limit": limit})
        return [self._parse_preferences(item) for item in self._calls.parse_items(dict, data)]

    def users(self) -> list[schemas.UserItem]:
        return list(self._all_pages(schemas.UserItem, "/admin/users"))

    def add_user(self, email: str, role: str) -> schemas.UserItem:
        body = {"email": email, "role": role}
        return self._fetch(schemas.UserItem, "POST", "/admin/users", body, repeat=False)

    def change_user(
        self, user: str, *, role: str | None = None, email: str | None = None, disabled: bool | None = None
    ) -> schemas.UserItem:
        body = {"role": role, "email": email, "disabled": disabled}
        changes = {name: value for name, value in body.items() if value is not None}
        return self._fetch(schemas.UserItem, "PATCH", f"/admin/users/{_user_path(user)}", changes)

    def unlink_user(self, user: str) -> schemas.UserItem:
        return self._fetch(schemas.UserItem, "DELETE", f"/admin/users/{_user_path(user)}/identity")

    def remove_user(self, user: str) -> schemas.UserItem:
        return self._fetch(schemas.UserItem, "DELETE", f"/admin/users/{_user_path(user)}", repeat=False)

    def create_token(
        self, user: str, role: str | None, expires: timedelta | None, scope: str | None = None
    ) -> tuple[schemas.TokenItem, str]:
        # A server before 0.2 knows no scope: it refuses the field, and role is required.
        kind = {"role": role} if scope is None else {"scope": scope}
        body = {"user": user, **kind, "expires_in": None if expires is None else expires.total_seconds()}
        data = self._calls.request("POST", "/admin/tokens", body, repeat=False).data
        fields = data if isinstance(data, dict) else {}
        return self._calls.parse(schemas.TokenItem, fields.get("item")), str(fields.get("token", ""))

    def tokens(self) -> list[schemas.TokenItem]:
        return list(self._all_pages(schemas.TokenItem, "/admin/tokens"))

    def revoke_token(self, id_part: str) -> schemas.TokenItem:
        token_id = _id_part(id_part, "a token's id or a part of one; list them with alertctl token list")
        matches = [token.id for token in self.tokens() if token_id in token.id]
        if len(matches) != 1 and token_id not in matches:
            what = "no token has an id that contains" if not matches else "more than one token matches"
            raise NotFound(f"{what} {id_part!r}; list them with alertctl token list")
        return self._fetch(
            schemas.TokenItem, "DELETE", f"/admin/tokens/{token_id if token_id in matches else matches[0]}"
        )

    def _all_pages(self, kind: type[T], path: str) -> Iterator[T]:
        cursor: str | None = None
        while True:
            data = self._calls.get(path, {"limit": MAX_BATCH, "cursor": cursor})
            yield from self._calls.parse_items(kind, data)
            next_cursor = data.get("next_cursor")
            if not next_cursor or next_cursor == cursor:
                return
            cursor = str(next_cursor)

    def _fetch(self, kind: type[T], method: str, path: str, body: Any = None, **options: Any) -> T:
        """Make a call (see `ApiCalls.request`) and return its reply as a schema."""
        return self._calls.parse(kind, self._calls.request(method, path, body, **options).data)


def _body(request: schemas.PublishRequest) -> dict[str, Any]:
    """Return the body of POST /events, with times in full precision."""
    options = {name: getattr(request, name) for name in schemas.BODY_OPTIONS}
    return request.fields | {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in options.items()
        if value not in (None, [], {})
    }


def _query(where: schemas.LogFilter) -> dict[str, Any]:
    query = where.conditions()
    query["label"] = [f"{name}={value}" for name, value in query.pop("labels", {}).items()]
    for name, value in query.items():
        if isinstance(value, datetime):
            query[name] = value.isoformat()
        elif value is True:
            query[name] = "true"
    return query


def _id_part(part: str, expected: str = "an id or a part of one (letters a-f, digits, dashes)") -> str:
    """Return an id or a part of one for a path. Raises NotFound for anything else."""
    if not re.fullmatch(r"[0-9a-f-]{1,36}", part.strip().lower()):
        raise NotFound(f"{part[:60]!r} is not {expected}")
    return part.strip().lower()


def _user_path(user: str) -> str:
    """Return a user's id or email as a part of a path. Raises NotFound if it can be neither."""
    name = email_key(user.strip())
    if not name or not name.isprintable():
        raise NotFound(f"{user[:80]!r} is not a user's id or email")
    if "/" in name or set(name) == {"."}:
        # Neither an id nor a valid email, and in a path it would mean another resource.
        raise NotFound(f"{user[:80]!r} is not a user's id or email; list them with alertctl user list")
    return quote(name, safe="@")
