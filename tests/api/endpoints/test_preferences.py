"""Preferences over HTTP, and their effect on recipients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from alertctl import preferences, users
from alertctl.db import Store
from tests.support.api_server import ApiServer
from tests.support.cases import each

DEFAULTS = {
    "slack_enabled": True,
    "email_enabled": True,
    "notify_on_safety_rollback": True,
    "notify_on_experiment_lifecycle": True,
    "notify_on_rollout_advance": False,
    "slack_channel": None,
    "email_address": None,
}
ORDER = ["user_id", *DEFAULTS]


def rows(api: ApiServer, table: str) -> int:
    with api.store.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.mark.postgres
def test_twenty_first_calls_at_once_make_one_row(api: ApiServer) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: api.ask("GET", "/preferences", by="viewer"), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    shown = answers[0].json
    assert list(shown) == ORDER
    assert shown == {"user_id": api.user_id("viewer@corp.example"), **DEFAULTS}
    assert rows(api, "preference") == 1
    assert rows(api, "event_preference") == 0


def test_a_change_is_partial_and_stays(api: ApiServer) -> None:
    changed = api.ask("PUT", "/preferences", {"slack_channel": "#mine", "notify_on_rollout_advance": True})
    assert changed.status == 200
    more = api.ask("PUT", "/preferences", {"email_enabled": False}).json
    expected = {
        **DEFAULTS,
        "slack_channel": "#mine",
        "notify_on_rollout_advance": True,
        "email_enabled": False,
    }
    assert more == {"user_id": api.user_id("admin@corp.example"), **expected}
    assert api.ask("GET", "/preferences").json == more
    assert rows(api, "event_preference") == 1


def test_null_is_the_default_again_and_a_default_needs_no_row(api: ApiServer) -> None:
    api.ask("PUT", "/preferences", {"email_address": "me@corp.example", "notify_on_safety_rollback": False})
    back = api.ask("PUT", "/preferences", {"email_address": None, "notify_on_safety_rollback": True}).json
    assert {name: back[name] for name in DEFAULTS} == DEFAULTS
    assert rows(api, "event_preference") == 0


@pytest.mark.parametrize("channel", ["#alerts", "alerts", "C0123456789", "#größe"])
def test_a_channel_is_a_name_with_or_without_its_hash_or_an_id(api: ApiServer, channel: str) -> None:
    assert api.ask("PUT", "/preferences", {"slack_channel": channel}).json["slack_channel"] == channel


@each(
    ("field", "value"),
    [
        *(("slack_enabled", value) for value in ("yes", 1, 0, None, "true", [])),
        *(("notify_on_rollout_advance", value) for value in ("no", 1.0, None)),
        *(("slack_channel", value) for value in ("", "#", "a b", "#" + "x" * 81, 7, "a\0b", "\ud800")),
        *(("email_address", value) for value in ("", "me", "a@b, c@d", "a@b;c@d", "<a@b>", True, "a@b\n", "@b")),
        ("user_id", "somebody-else"),
        ("slack_chanel", "#x"),
        ("notify_on_generic_alert", True),
        ("", True),
        ("\ud800", 1),
    ],
)
def test_a_wrong_change_is_422_names_the_field_and_changes_nothing(
    shared_api: ApiServer, field: str, value: Any
) -> None:
    before = shared_api.ask("GET", "/preferences").body
    answer = shared_api.ask("PUT", "/preferences", {"email_enabled": False, field: value})
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == field.encode("utf-8", "replace").decode()
    assert shared_api.ask("GET", "/preferences").body == before


@pytest.mark.parametrize("body", [[], "x", 1, None, True])
def test_a_body_that_is_no_object_is_422(shared_api: ApiServer, body: Any) -> None:
    sent = b"null" if body is None else body
    assert shared_api.ask("PUT", "/preferences", sent).json["errors"][0]["field"] == "body"


@pytest.mark.postgres
def test_an_admin_pages_through_everybodys_preferences(api: ApiServer) -> None:
    api.ask("PUT", "/preferences", {"slack_channel": "#v"}, by="viewer")
    pages = [api.ask("GET", f"/admin/preferences?page={page}&limit=3").json for page in (1, 2, 3)]
    assert [len(page["items"]) for page in pages] == [3, 1, 0]
    assert {(page["total"], page["limit"]) for page in pages} == {(4, 3)}
    items = pages[0]["items"] + pages[1]["items"]
    assert len({item["user_id"] for item in items}) == 4
    assert [item["slack_channel"] for item in items].count("#v") == 1
    assert all(list(item) == ORDER for item in items)


@pytest.mark.parametrize("query", ["page=0", "page=-1", "limit=0", "limit=101", "page=x", "limit=", "pgae=1"])
def test_a_wrong_page_of_preferences_is_422(shared_api: ApiServer, query: str) -> None:
    answer = shared_api.ask("GET", f"/admin/preferences?{query}")
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == query.split("=")[0]


def test_a_page_far_beyond_the_end_is_empty(api: ApiServer) -> None:
    assert api.ask("GET", f"/admin/preferences?page={10**30}").json["items"] == []


def test_preferences_decide_who_is_notified(store: Store, clock: Any) -> None:
    def recipients(event_type: str) -> list[tuple[str, str]]:
        with store.reading() as connection:
            rows = preferences.recipients(connection, event_type)
            return [(row.channel, row.address) for row in rows]

    user = store.write(lambda it: users.add_user(it, "dev@corp.example", "viewer", clock())).id
    assert recipients("safety_rollback") == [("email", "dev@corp.example")]
    assert recipients("rollout_advance") == []
    changes = {"slack_channel": "#dev", "email_enabled": False, "notify_on_rollout_advance": True}
    store.write(lambda it: preferences.update(it, user, changes, clock()))
    assert recipients("rollout_advance") == [("slack", "#dev")]
    shown = store.write(lambda it: preferences.reset(it, user, clock()))
    assert {name: shown[name] for name in DEFAULTS} == DEFAULTS
    assert recipients("rollout_advance") == []


def test_the_answer_of_get_is_a_body_for_put(api: ApiServer) -> None:
    shown = api.ask("GET", "/preferences", by="viewer").json
    assert api.ask("PUT", "/preferences", shown, by="viewer").json == shown
    assert api.ask("PUT", f"/admin/preferences/{shown['user_id']}", shown | {"email_enabled": False}).status == 200
    foreign = api.ask("PUT", "/preferences", shown, by="admin")
    assert (foreign.status, foreign.json["errors"][0]["field"]) == (422, "user_id")
    assert api.ask("GET", "/preferences", by="viewer").json == shown | {"email_enabled": False}
