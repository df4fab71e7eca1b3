"""Every route against every kind of caller. A new route without a declared role fails here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from alertctl import users
from alertctl.api.app import ROUTES as DECLARED
from alertctl.api.openapi import required_role
from alertctl.db import Store, upgrade
from alertctl.users import Role
from tests.support.api_server import BASE, ROLES, ApiServer, now, openapi_schema, running
from tests.support.cases import each

OPEN = {"GET /healthz", "GET /readyz", "GET /metrics"}
NEEDS = {
    f"GET {BASE}/preferences": "viewer",
    f"PUT {BASE}/preferences": "viewer",
    f"POST {BASE}/preferences/reset": "viewer",
    f"GET {BASE}/me": "viewer",
    f"GET {BASE}/events": "viewer",
    f"POST {BASE}/events": "developer",
    f"GET {BASE}/events/{{event_id}}": "developer",
    f"POST {BASE}/events/preview": "developer",
    f"POST {BASE}/dispatch": "developer",
    f"POST {BASE}/test": "developer",
    f"GET {BASE}/status": "developer",
    f"GET {BASE}/routes": "developer",
    f"POST {BASE}/routes/test": "developer",
    f"GET {BASE}/admin/preferences": "admin",
    f"GET {BASE}/admin/preferences/{{user}}": "admin",
    f"PUT {BASE}/admin/preferences/{{user}}": "admin",
    f"POST {BASE}/admin/preferences/{{user}}/reset": "admin",
    f"GET {BASE}/admin/users": "admin",
    f"POST {BASE}/admin/users": "admin",
    f"PATCH {BASE}/admin/users/{{user}}": "admin",
    f"DELETE {BASE}/admin/users/{{user}}": "admin",
    f"DELETE {BASE}/admin/users/{{user}}/identity": "admin",
    f"GET {BASE}/admin/tokens": "admin",
    f"POST {BASE}/admin/tokens": "admin",
    f"DELETE {BASE}/admin/tokens/{{id}}": "admin",
    f"GET {BASE}/delivery-log": "admin",
    f"GET {BASE}/delivery-log/stats": "admin",
    f"GET {BASE}/delivery-log/stream": "admin",
    f"POST {BASE}/delivery-log/retry": "admin",
    f"POST {BASE}/delivery-log/prune": "admin",
    f"GET {BASE}/delivery-log/{{id}}": "admin",
    f"GET {BASE}/delivery-log/{{id}}/rendered": "admin",
    f"POST {BASE}/delivery-log/{{id}}/retry": "admin",
}
BODIES = {
    f"PUT {BASE}/preferences": {"slack_enabled": True},
    f"POST {BASE}/events": {"event_type": "rollout_advance"},
    f"POST {BASE}/events/preview": {"event_type": "rollout_advance"},
    f"PUT {BASE}/admin/preferences/{{user}}": {"slack_enabled": True},
    f"POST {BASE}/admin/users": {"email": "new@corp.example"},
    f"PATCH {BASE}/admin/users/{{user}}": {"role": "viewer"},
    f"POST {BASE}/admin/tokens": {"user": "admin@corp.example", "role": "viewer"},
    f"POST {BASE}/test": {"channel": "slack"},
    f"POST {BASE}/routes/test": {"event_type": "rollout_advance"},
    f"POST {BASE}/delivery-log/retry": {"ids": []},
    f"POST {BASE}/delivery-log/prune": {"dry_run": True},
}
ROUTES = [f"{method.upper()} {path}" for path, methods in openapi_schema()["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    path: Path = tmp_path_factory.mktemp("access") / "alertctl.db"
    store = Store(f"sqlite:///{path}")
    upgrade(store)
    with running(store) as started:
        started.tokens |= {
            "bad": "actl_" + "x" * 43,
            "no jwt": "eyJhbGciOiJub25lIn0.e30.",
            "expired": started.token("admin", "admin", timedelta(seconds=1), now() - timedelta(hours=1)),
            "disabled": started.token("gone", "admin"),
        }
        store.write(lambda it: users.change_user(it, "gone@corp.example", disabled=True))
        yield started
    store.close()


def test_every_route_is_listed_here_with_its_role(api: ApiServer) -> None:
    roles = {}
    for route in DECLARED:
        if isinstance(route, APIRoute):
            for method in route.methods:
                roles[f"{method} {route.path}"] = required_role(route)
    assert {name for name, role in roles.items() if role is None} == OPEN
    assert {name: str(role) for name, role in roles.items() if role is not None} == NEEDS
    assert set(ROUTES) == set(roles)


@each("route", ROUTES)
@each("caller", [None, "bad", "no jwt", "expired", "disabled", *ROLES])
def test_a_route_lets_in_exactly_whom_it_should(api: ApiServer, route: str, caller: str | None) -> None:
    method, path = route.split()
    answer = api.call(method, re.sub(r"{\w+}", "0190-none", path), BODIES.get(route), by=caller)
    if route in OPEN:
        assert answer.status == 200
    elif caller not in ROLES:
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    elif not Role(caller).reaches(Role(NEEDS[route])):
        assert answer.status == 403
        or_higher = "" if NEEDS[route] == "admin" else " or higher"
        assert f"requires the role {NEEDS[route]}{or_higher};" in answer.json["detail"]
    else:
        assert answer.status in (200, 201, 202, 404)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "actl_x", "Bearer \xff", "Bearer a b", "bearer\tactl_x"]
)
def test_an_authorization_that_is_no_bearer_token_is_401(api: ApiServer, header: str) -> None:
    assert api.ask("GET", "/preferences", by=None, headers={"Authorization": header}).status == 401


def test_the_scheme_is_compared_without_case(api: ApiServer) -> None:
    header = {"Authorization": f"bEARER {api.tokens['viewer']}"}
    assert api.ask("GET", "/preferences", by=None, headers=header).status == 200


def test_a_caller_without_a_token_learns_nothing_about_a_body(api: ApiServer) -> None:
    for route, _ in BODIES.items():
        method, path = route.split()
        assert api.call(method, path, b"{broken", by=None).status == 401


def test_a_revoked_token_stops_publishing_at_once_though_it_was_just_remembered(api: ApiServer) -> None:
    event = {"event_type": "rollout_advance"}
    item, secret = api.store.write(lambda it: users.create_token(it, "pat@corp.example", "developer", None, now()))
    assert api.ask("POST", "/events", event, by=secret).status == 202
    api.store.write(lambda it: users.revoke_token(it, item.id, now()))
    assert api.ask("POST", "/events", event, by=secret).status == 401
    assert api.ask("GET", "/preferences", by=secret).status == 401


@pytest.mark.parametrize("change", ["disabled", "demoted"])
def test_a_user_who_lost_the_right_stops_publishing_at_once(api: ApiServer, change: str) -> None:
    secret = api.token(change, "developer")
    assert api.ask("POST", "/events", {"event_type": "rollout_advance"}, by=secret).status == 202
    user = f"{change}@corp.example"
    if change == "disabled":
        api.store.write(lambda it: users.change_user(it, user, disabled=True))
    else:
        api.store.write(lambda it: users.change_user(it, user, role="viewer"))
    assert api.ask("POST", "/events", {"event_type": "rollout_advance"}, by=secret).status == 401


def test_a_tokens_last_use_is_kept(api: ApiServer) -> None:
    secret = api.token("used", "viewer")
    api.ask("GET", "/preferences", by=secret)
    # The note is written behind the answer: what the writer does next comes after it.
    tokens = api.writer.write(users.list_tokens)
    assert next(item for item in tokens if item.user == "used@corp.example").last_used_at is not None
