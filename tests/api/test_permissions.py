"""Recipient policy, masked addresses, publish tokens, limits for each token, and the audit log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from alertctl import preferences, users
from alertctl.api.rate_limits import LINES_PER_MINUTE
from alertctl.client.remote import RemoteClient
from alertctl.client.server_config import ServerConfig
from alertctl.db import Store, upgrade
from alertctl.delivery_log.tables import pauses
from alertctl.errors import Unreachable
from alertctl.schemas import PublishRequest
from tests.support import postgres
from tests.support.api_server import ApiServer, now, running

POLICY = {
    "allowed_email_domains": "Corp.Example, *.corp.example",
    "allowed_slack_channels": "#ops-*, C0123ABCD",
    "events_per_minute": "0",
}
EVENT: dict[str, Any] = {"event_type": "safety_rollback", "feature_flag": "f"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def permissions_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: postgres.Server | str
) -> Iterator[str]:
    """A database for all tests of this file, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('permissions') / 'alertctl.db'}"
    elif isinstance(postgres_server, str):
        pytest.skip(postgres_server)
    else:
        with postgres_server.database() as url:
            yield url


@pytest.fixture(scope="module")
def limited(permissions_url: str) -> Iterator[ApiServer]:
    """An API with a recipient policy, and one user with private targets."""
    store = Store(permissions_url)
    upgrade(store)
    with running(store, alertctl=POLICY) as api:
        user = api.store.write(lambda it: users.add_user(it, "dana@corp.example", "viewer", now()))
        changes = {"slack_channel": "#dana-private", "email_address": "dana@home.example"}
        api.store.write(lambda it: preferences.update(it, user.id, changes, now()))
        yield api
    store.close()


def alert(*to: str) -> dict[str, Any]:
    return {"event_type": "generic_alert", "title": "x", "to": list(to)}


# Recipient policy


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("email:dev@corp.example", True),
        ("email:DEV@EU.CORP.EXAMPLE", True),
        ("email:dev@evilcorp.example", False),
        ("email:corp.example@evil.example", False),
        ("slack:#OPS-eu", True),
        ("slack:ops-eu", True),
        ("slack:C0123ABCD", True),
        ("slack:#random", False),
        ("slack:U0123ABCD", False),
        # The platform's own targets are always allowed.
        ("slack:platform-alerts", True),
    ],
)
@pytest.mark.parametrize("route", ["/events", "/events/preview"])
def test_an_event_goes_only_to_allowed_recipients(limited: ApiServer, route: str, target: str, allowed: bool) -> None:
    answer = limited.ask("POST", route, alert(target), by="admin")
    assert answer.status == ((202 if route == "/events" else 200) if allowed else 422)
    if not allowed:
        assert answer.json["errors"][0]["field"] == "to"
        assert "ALERTCTL_ALLOWED_" in answer.json["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"email_address": "x@gmail.example"}, 422),
        ({"slack_channel": "#general"}, 422),
        ({"email_address": "x@corp.example", "slack_channel": "ops-me"}, 200),
        ({"email_address": None, "slack_channel": None}, 200),
    ],
)
def test_a_preference_names_only_allowed_recipients(limited: ApiServer, body: dict[str, Any], status: int) -> None:
    for path, caller in (("/preferences", "viewer"), ("/admin/preferences/viewer@corp.example", "admin")):
        assert limited.ask("PUT", path, body, by=caller).status == status


def test_an_older_preference_that_is_not_allowed_is_suppressed_with_the_cause(limited: ApiServer) -> None:
    receipt = limited.ask("POST", "/events", EVENT, by="admin").json
    causes = {item["to"]: item["error"] for item in receipt["deliveries"]}
    assert causes["dana@home.example"] == causes["#dana-private"] == "recipient_not_allowed"
    assert causes["ops@corp.example"] is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/users", {"email": "new@gmail.example"}),
        ("PATCH", "/admin/users/dana@corp.example", {"email": "dana@gmail.example"}),
    ],
)
def test_a_user_has_only_an_allowed_address(limited: ApiServer, method: str, path: str, body: dict[str, str]) -> None:
    refused = limited.ask(method, path, body)
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "email")
    assert "ALERTCTL_ALLOWED_EMAIL_DOMAINS" in refused.json["detail"]
    allowed = {"email": "dana@eu.corp.example"} if method == "PATCH" else {"email": "new@corp.example"}
    assert limited.ask(method, path, allowed).status in (200, 201)
    if method == "PATCH":
        limited.ask("PATCH", "/admin/users/dana@eu.corp.example", {"email": "dana@corp.example"})


def test_a_token_for_a_new_user_needs_an_allowed_address(limited: ApiServer) -> None:
    body = {"user": "ci@gmail.example", "role": "viewer"}
    refused = limited.ask("POST", "/admin/tokens", body)
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "email")
    assert "ALERTCTL_ALLOWED_EMAIL_DOMAINS" in refused.json["detail"]
    assert limited.ask("POST", "/admin/tokens", body | {"user": "ci@corp.example"}).status == 201


def test_a_delivery_whose_address_is_no_longer_allowed_is_not_resent(limited: ApiServer) -> None:
    deliveries = limited.ask("POST", "/events", EVENT, by="admin").json["deliveries"]
    ids = {item["to"]: item["id"] for item in deliveries}
    chosen_ids = [ids["dana@home.example"], ids["#dana-private"], ids["ops@corp.example"], ids["#platform-alerts"]]
    items = limited.ask("POST", "/delivery-log/retry", {"ids": chosen_ids}).json["items"]
    domains, channels = "corp.example, *.corp.example", "ops-*, c0123abcd"
    assert [item["problem"] for item in items] == [
        f"'dana@home.example' is not an allowed recipient (ALERTCTL_ALLOWED_EMAIL_DOMAINS: {domains})",
        f"'#dana-private' is not an allowed recipient (ALERTCTL_ALLOWED_SLACK_CHANNELS: {channels})",
        None,
        None,
    ]
    answer = limited.ask("POST", f"/delivery-log/{chosen_ids[0]}/retry")
    assert (answer.status, "is not an allowed recipient" in answer.json["detail"]) == (409, True)


@pytest.mark.parametrize(("number", "status"), [(1000, 202), (1001, 422)])
def test_an_event_names_at_most_a_thousand_targets(limited: ApiServer, number: int, status: int) -> None:
    targets = [f"email:u{index}@corp.example" for index in range(number)]
    assert limited.ask("POST", "/events", alert(*targets), by="developer").status == status


# Addresses of users


def test_addresses_of_users_are_masked_for_everybody_but_admins(limited: ApiServer) -> None:
    seen = {}
    body = EVENT | {"labels": {"slack": "#ops-labelled"}}
    for caller in ("developer", "admin"):
        receipt = limited.ask("POST", "/events", body, by=caller).json
        again = limited.ask("POST", "/events", body, by=caller, headers={"Idempotency-Key": caller}).json
        replayed = limited.ask("POST", "/events", body, by=caller, headers={"Idempotency-Key": caller}).json
        state = limited.ask("GET", f"/events/{receipt['event_id']}", by=caller).json
        preview = limited.ask("POST", "/events/preview", body, by=caller)
        targets = {item["to"] for item in receipt["deliveries"]}
        for other in (again["deliveries"], replayed["deliveries"], state["deliveries"], preview.json["items"]):
            assert {item["to"] for item in other} == targets
        seen[caller] = targets
        assert (b"dana" in preview.body) == (caller == "admin")
    others = {"#platform-alerts", "ops@corp.example", "#ops-labelled"}
    assert {"d***@home.example", "#d***", *others} <= seen["developer"]
    assert {"dana@home.example", "#dana-private", *others} <= seen["admin"]
    # The callers' own test users get the event at their own addresses.
    assert not [
        to for to in seen["developer"] if to.endswith("@corp.example") and to != "ops@corp.example" and "*" not in to
    ]


@pytest.mark.parametrize(
    ("provider", "address", "shown"),
    [
        ("slack", "#dana-private", "#d***"),
        ("slack", "@dana@home.example", "@d***@home.example"),
        ("smtp", "dana@home.example", "d***@home.example"),
        ("slack", "", None),
    ],
)
def test_the_status_masks_paused_addresses_for_everybody_but_admins(
    store: Store, provider: str, address: str, shown: str | None
) -> None:
    with running(store) as api:
        moments = {"since": now(), "until": now() + timedelta(minutes=1)}
        row = {"provider": provider, "address_key": address, "reason": "rate_limited", "code": "ratelimited", **moments}
        api.store.write(lambda it: it.execute(insert(pauses), row))
        paused = {by: api.ask("GET", "/status", by=by).json["paused"] for by in ("developer", "admin")}
    assert [item["to"] for item in paused["developer"]] == [shown]
    assert [item["to"] for item in paused["admin"]] == [address or None]


def test_a_users_address_is_masked_where_a_route_replaces_the_default_target_of_the_same_address(store: Store) -> None:
    routes = [{"name": "rollbacks", "match": {"event_type": "safety_rollback"}, "to": ["slack:#rollbacks"]}]
    with running(store, routes=routes) as api:
        api.store.write(lambda it: users.add_user(it, "ops@corp.example", "viewer", now()))
        receipt = api.ask("POST", "/events", EVENT, by="developer").json
        state = api.ask("GET", f"/events/{receipt['event_id']}", by="developer").json
    targets = {item["to"] for item in receipt["deliveries"]}
    assert {"#rollbacks", "o***@corp.example"} <= targets
    assert targets == {item["to"] for item in state["deliveries"]}


def test_a_target_that_the_caller_named_is_shown(limited: ApiServer) -> None:
    receipt = limited.ask("POST", "/events", alert("email:dana@corp.example"), by="developer").json
    assert [item["to"] for item in receipt["deliveries"]] == ["dana@corp.example"]
    state = limited.ask("GET", f"/events/{receipt['event_id']}", by="developer").json
    assert [item["to"] for item in state["deliveries"]] == ["dana@corp.example"]


# Tokens with the scope `publish`


def test_a_publish_token_publishes_and_reads_its_own_events(limited: ApiServer) -> None:
    body = {"user": "ci-scope@corp.example", "scope": "publish", "expires_in": 3600.0}
    made = limited.ask("POST", "/admin/tokens", body).json
    assert (made["item"]["role"], made["item"]["scope"]) == ("developer", "publish")
    event = limited.ask("POST", "/events", alert("slack:#ops-x"), by=made["token"]).json
    assert limited.ask("GET", f"/events/{event['event_id']}", by=made["token"]).status == 200
    other = limited.ask("POST", "/events", alert("slack:#ops-x"), by="developer").json
    assert limited.ask("GET", f"/events/{other['event_id']}", by=made["token"]).status == 404
    for path in ("/delivery-log", "/admin/users"):
        refused = limited.ask("GET", path, by=made["token"])
        assert (refused.status, "has the scope publish" in refused.json["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user": "ci@corp.example"}, 422),
        ({"user": "ci@corp.example", "scope": "publish", "role": "developer"}, 422),
        ({"user": "ci@corp.example", "scope": "read"}, 422),
        ({"user": "viewer@corp.example", "scope": "publish"}, 422),
    ],
)
def test_a_token_with_a_wrong_scope_is_refused(limited: ApiServer, body: dict[str, Any], status: int) -> None:
    assert limited.ask("POST", "/admin/tokens", body).status == status


@pytest.mark.parametrize("seconds", [0, -1, 1e300])
def test_a_refused_lifetime_of_a_token_names_its_field(limited: ApiServer, seconds: float) -> None:
    body = {"user": "ci@corp.example", "role": "developer", "expires_in": seconds}
    refused = limited.ask("POST", "/admin/tokens", body)
    assert refused.status == 422
    assert [error["field"] for error in refused.json["errors"]] == ["expires_in"]


def test_a_part_of_a_tokens_id_revokes_nothing(limited: ApiServer) -> None:
    token = limited.ask("POST", "/admin/tokens", {"user": "parts@corp.example", "role": "viewer"}).json
    token_id = token["item"]["id"]
    for part in (token_id[:-1], token_id[1:], token_id[-8:], "-"):
        assert limited.ask("DELETE", f"/admin/tokens/{part}").status == 404
    assert limited.ask("GET", "/me", by=token["token"]).status == 200
    assert limited.ask("DELETE", f"/admin/tokens/{token_id}").status == 200
    assert limited.ask("GET", "/me", by=token["token"]).status == 401


# Limits


@pytest.mark.postgres
def test_a_token_over_its_limit_waits_and_other_tokens_do_not(store: Store) -> None:
    with running(store, alertctl={"events_per_minute": 3}) as api:
        statuses = [api.ask("POST", "/events", alert("slack:#x"), by="developer") for _ in range(5)]
        assert [answer.status for answer in statuses] == [202, 202, 202, 429, 429]
        assert 1 <= int(statuses[-1].headers["retry-after"]) <= 20
        assert api.ask("POST", "/test", {"channel": "slack"}, by="developer").status == 429
        assert api.ask("GET", "/me", by="developer").status == 200
        assert api.ask("POST", "/events", alert("slack:#x"), by="admin").status == 202


def test_a_client_reports_a_limit_that_outlasts_its_timeout_so_that_send_spools(store: Store) -> None:
    with running(store, alertctl={"events_per_minute": 1}) as api:
        server = ServerConfig(f"http://127.0.0.1:{api.port}", api.tokens["developer"], timeout=0.5)
        request = PublishRequest(event_type="generic_alert", fields={"title": "x"}, to=["slack:#x"])
        with RemoteClient(server) as client:
            client.publish(request)
            with pytest.raises(Unreachable, match="answered 429: this token may publish 1 events per minute"):
                client.publish(request)


# The audit log


@pytest.fixture
def audit_lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, "alertctl.audit")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "alertctl.audit"]


def test_refusals_and_changes_are_logged_with_who_and_from_where(limited: ApiServer, audit_lines: Any) -> None:
    limited.ask("GET", "/delivery-log%0Aforged", by=None)
    limited.ask("GET", "/delivery-log", by="viewer")
    revoked = limited.ask("POST", "/admin/tokens", {"user": "gone@corp.example", "role": "viewer"}).json
    limited.ask("DELETE", f"/admin/tokens/{revoked['item']['id']}")
    limited.ask("GET", "/me", by=revoked["token"])
    item, publisher = limited.store.write(
        lambda it: users.create_token(it, "pipeline@corp.example", "developer", None, now())
    )
    limited.ask("POST", "/events", alert("slack:#ops-x"), by=publisher)
    limited.store.write(lambda it: users.revoke_token(it, item.id, now()))
    limited.ask("POST", "/events", alert("slack:#ops-x"), by=publisher)
    limited.ask("PATCH", "/admin/users/gone@corp.example", {"role": "analyst"})
    limited.ask("PUT", "/admin/preferences/gone@corp.example", {"slack_enabled": False})
    limited.ask("POST", "/delivery-log/prune", {"older_than_days": 1})
    limited.ask("POST", "/delivery-log/prune", {"dry_run": True})
    delivery = limited.ask("POST", "/events", alert("slack:#ops-x")).json["deliveries"][0]["id"]
    limited.ask("POST", "/delivery-log/retry", {"ids": [delivery]})
    patterns = [
        r"refused GET \S+/delivery-log with 403: .*viewer@corp.example.*",
        r"admin@corp.example created the viewer token \S+ of gone@corp.example",
        r"admin@corp.example revoked the viewer token \S+ of gone@corp.example",
        r"refused GET \S+/me with 401: gone@corp.example: the token was revoked.*",
        r"refused POST \S+/events with 401: pipeline@corp.example: the token was just revoked.*",
        r"admin@corp.example changed the user gone@corp.example: role=analyst",
        r"admin@corp.example changed the preferences of \S+: slack_enabled",
        r"admin@corp.example pruned 0 deliveries: older_than_days=1",
        rf"admin@corp.example resent 1 of 1 deliveries: {delivery}",
    ]
    lines = audit_lines()
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(rf"{pattern} \(from 127\.0\.0\.1\)", line), line


def test_refusals_are_bounded_in_rate(limited: ApiServer, audit_lines: Any) -> None:
    for number in range(LINES_PER_MINUTE * 2 + 5):
        assert limited.ask("GET", "/me", by=f"actl_{number}").status == 401
    lines = [line for line in audit_lines() if "refused" in line]
    # A new minute may begin meanwhile.
    assert len(lines) <= LINES_PER_MINUTE * 2
    assert limited.ask("GET", "/delivery-log", by="viewer").status == 403
    assert "with 403" in audit_lines()[-1]


# Headers of responses


@pytest.mark.parametrize(
    ("method", "path", "by"),
    [("GET", "/me", "viewer"), ("GET", "/me", None), ("GET", "/nothing", "admin"), ("POST", "/events", "admin")],
)
def test_every_response_is_for_its_caller_only(shared_api: ApiServer, method: str, path: str, by: str | None) -> None:
    answer = shared_api.ask(method, path, b"{" if method == "POST" else None, by=by)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("sent", "is_kept"), [("ci-1.2:3_a", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("\xe9", False)]
)
def test_a_callers_request_id_is_kept_if_it_is_harmless(shared_api: ApiServer, sent: str, is_kept: bool) -> None:
    answer = shared_api.ask("GET", "/me", headers={"X-Request-ID": sent})
    assert (answer.headers["x-request-id"] == sent) == is_kept


def test_an_unexpected_error_has_the_headers_too(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with running(store) as api:
        api.parts = None  # type: ignore[assignment]
        answer = api.call("GET", "/readyz", headers={"X-Request-ID": "broken-1"})
    assert (answer.status, answer.headers["x-request-id"]) == (500, "broken-1")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_documentation_needs_no_other_host_and_no_script(shared_api: ApiServer) -> None:
    page = shared_api.call("GET", "/docs", by=None)
    text = page.body.decode()
    assert page.status == 200
    assert "POST /api/v1/notifications/events" in text
    assert not re.search(r"<script|<link|<img|(src|href)=\"?(https?:)?//", text)
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
