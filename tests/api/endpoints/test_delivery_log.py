"""The delivery log over HTTP: pages, filters, detail, resend, prune."""

from __future__ import annotations

import re

import pytest

from tests.support.api_server import ApiServer
from tests.support.cases import each

REQUIRED_FIELDS = {"id", "event_type", "channel", "status", "error", "created_at"}


def published(api: ApiServer, *targets: str, event_type: str = "rollout_advance") -> list[str]:
    answer = api.ask("POST", "/events", {"event_type": event_type, "to": list(targets)})
    return [delivery["id"] for delivery in answer.json["deliveries"]]


def test_a_page_has_the_shape_that_its_users_know(api: ApiServer) -> None:
    published(api, "slack:#a")
    page = api.ask("GET", "/delivery-log").json
    assert {"items", "total", "page", "limit"} <= set(page)
    assert (page["total"], page["page"], page["limit"]) == (1, 1, 20)
    item = page["items"][0]
    assert set(item) >= REQUIRED_FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item["created_at"])


@pytest.mark.postgres
def test_pages_and_cursors_show_each_row_once_newest_first(api: ApiServer) -> None:
    ids = [item_id for part in range(5) for item_id in published(api, f"slack:#c{part}")]
    newest = ids[::-1]
    pages = [api.ask("GET", f"/delivery-log?page={number}&limit=2").json for number in (1, 2, 3, 4)]
    assert [delivery["id"] for page in pages for delivery in page["items"]] == newest
    assert {page["total"] for page in pages} == {5}
    seen, cursor = [], ""
    while True:
        page = api.ask("GET", f"/delivery-log?limit=2&cursor={cursor}").json
        seen += [delivery["id"] for delivery in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == newest


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 3),
        ("event_type=&status=&channel=&to=&since=&until=&cursor=", 3),
        ("event_type=rollout_advance", 2),
        ("event_type=safety_rollback", 1),
        ("channel=email", 1),
        ("channel=slack&event_type=rollout_advance", 1),
        ("status=pending", 3),
        ("status=failed", 0),
        ("to=%23A", 1),
        ("to=%23nobody", 0),
        ("since=2020-01-01T00:00:00Z", 3),
        ("since=2020-01-01T00:00:00+02:00", 3),
        ("until=2020-01-01", 0),
        ("since=2099-01-01T00:00:00", 0),
        ("error=not_authed", 0),
        ("page=99999999999999999999999", 0),
    ],
)
def test_filters_narrow_the_log(api: ApiServer, query: str, expected: int) -> None:
    published(api, "slack:#a", "email:a@b.example")
    published(api, "slack:#b", event_type="safety_rollback")
    page = api.ask("GET", f"/delivery-log?{query}").json
    assert len(page["items"]) == expected
    if "page" not in query:
        assert page["total"] == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("status=faild", "status"),
        ("event_type=nope", "event_type"),
        ("channel=fax", "channel"),
        ("since=yesterday", "since"),
        ("until=0001-01-01T00:00:00%2B14:00", "until"),
        ("cursor=%00", "cursor"),
        ("to=a%00b", "to"),
        ("error=%0a", "error"),
        ("statsu=failed", "statsu"),
    ],
)
def test_a_wrong_filter_is_422_and_names_it(shared_api: ApiServer, query: str, field: str) -> None:
    answer = shared_api.ask("GET", f"/delivery-log?{query}")
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("query", ["to=%ff%fe", "error=%ed%a0%80", "%ff=1&page=1", "=", "&&&"])
@pytest.mark.postgres
def test_a_query_that_is_not_utf8_is_harmless(api: ApiServer, query: str) -> None:
    assert api.ask("GET", f"/delivery-log?{query}").status in (200, 422)


def test_a_part_of_a_deliverys_id_shows_the_complete_delivery(api: ApiServer) -> None:
    first, _ = published(api, "slack:#a", "email:a@b.example")
    answer = api.ask("GET", f"/delivery-log/{first[-12:]}")
    assert answer.status == 200
    detail = answer.json
    assert (detail["id"], detail["to"], detail["routing_reason"], detail["attempt_log"]) == (first, "#a", "named", [])
    assert [delivery["to"] for delivery in detail["others"]] == ["a@b.example"]
    assert detail["event"]["event_type"] == "rollout_advance"


@each("id_part", ["nope", "ffffffff-ffff", "%00", "%ff", "%25", "%ed%a0%80", "a" * 3000, "%2e%2e"])
def test_an_id_of_no_delivery_is_404(api: ApiServer, id_part: str) -> None:
    for method, more in (("GET", ""), ("POST", "/retry")):
        answer = api.ask(method, f"/delivery-log/{id_part}{more}")
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_failed_delivery_is_due_again_after_a_retry(api: ApiServer) -> None:
    (delivery_id,) = published(api, "slack:#a")
    with api.store.writing() as connection:
        connection.exec_driver_sql("UPDATE delivery SET status = 'failed', error = 'x', next_attempt_at = NULL")
    before = api.woken
    answer = api.ask("POST", f"/delivery-log/{delivery_id}/retry")
    assert answer.status == 200
    assert (answer.json["id"], answer.json["status"], answer.json["error"]) == (delivery_id, "pending", None)
    assert answer.json["next_attempt_at"] is not None
    assert set(answer.json) == set(api.ask("GET", "/delivery-log").json["items"][0])
    assert api.woken == before + 1


@pytest.mark.parametrize(
    ("status", "again", "code"),
    [("success", "", 409), ("success", "?again=true", 200), ("sending", "?again=true", 409)],
)
def test_a_delivery_that_arrived_or_is_being_sent_is_not_resent_by_accident(
    api: ApiServer, status: str, again: str, code: int
) -> None:
    (delivery_id,) = published(api, "slack:#a")
    with api.store.writing() as connection:
        connection.exec_driver_sql(f"UPDATE delivery SET status = '{status}'")
    answer = api.ask("POST", f"/delivery-log/{delivery_id}/retry{again}")
    assert answer.status == code
    if code == 409:
        assert answer.json["detail"]


def test_the_log_in_numbers(api: ApiServer) -> None:
    api.ask("POST", "/events", {"event_type": "rollout_advance", "to": ["slack:#a", "slack:#b", "email:a@b.example"]})
    stats = api.ask("GET", "/delivery-log/stats?by=channel&since=2020-01-01").json
    assert [(delivery["key"], delivery["total"], delivery["waiting"]) for delivery in stats["items"]] == [
        ("slack", 2, 2),
        ("email", 1, 1),
    ]
    assert (stats["by"], stats["total"]["total"]) == ("channel", 3)
    assert api.ask("GET", "/delivery-log/stats?by=colour").status == 422


@pytest.mark.postgres
def test_many_are_resent_in_one_call(api: ApiServer) -> None:
    api.ask("POST", "/events", {"event_type": "rollout_advance", "to": ["slack:#a", "slack:#b"]})
    ids = [delivery["id"] for delivery in api.ask("GET", "/delivery-log").json["items"]]
    done = api.ask("POST", "/delivery-log/retry", {"ids": ids})
    assert [(delivery["id"], delivery["problem"]) for delivery in done.json["items"]] == [
        (delivery_id, None) for delivery_id in ids
    ]
    assert api.ask("POST", "/delivery-log/retry", {"ids": ["ffffffffffff"]}).status == 404
    assert api.ask("POST", "/delivery-log/retry", {"ids": ids * 600}).status == 422


def test_a_message_can_be_looked_at_as_it_is_sent(api: ApiServer) -> None:
    api.ask(
        "POST", "/events", {"event_type": "rollout_advance", "rollout": "r1", "to": ["slack:#a", "email:a@b.example"]}
    )
    for delivery in api.ask("GET", "/delivery-log").json["items"]:
        rendered = api.ask("GET", f"/delivery-log/{delivery['id']}/rendered").json
        assert (rendered["channel"], rendered["to"]) == (delivery["channel"], delivery["to"])
        assert ("blocks" in rendered["message"]) == (delivery["channel"] == "slack")


def test_pruning_takes_what_is_old_and_final_only(api: ApiServer) -> None:
    api.ask("POST", "/events", {"event_type": "rollout_advance", "to": ["slack:#a"]})
    assert api.ask("POST", "/delivery-log/prune", {"older_than_days": 0}).json == {"deliveries": 0, "dry_run": False}
    assert api.ask("POST", "/delivery-log/prune", {"dry_run": True}).json == {"deliveries": 0, "dry_run": True}
    assert api.ask("POST", "/delivery-log/prune", {"older_than_days": -1}).status == 422
    assert api.ask("GET", "/delivery-log").json["total"] == 1


def test_more_filters_narrow_the_log(api: ApiServer) -> None:
    api.ask("POST", "/events", {"event_type": "safety_rollback", "feature_flag": "checkout-v3", "to": ["slack:#a"]})
    started = {"event_type": "experiment_lifecycle", "experiment": "cta", "action": "started"}
    api.ask("POST", "/events", {**started, "to": ["slack:#b"]})
    for query, expected in (
        ("flag=checkout-v3", ["#a"]),
        ("experiment=cta", ["#b"]),
        ("grep=CHECKOUT", ["#a"]),
        ("user=nobody@corp.example", []),
        ("retrying=true", []),
        ("final=false", ["#b", "#a"]),
    ):
        assert [delivery["to"] for delivery in api.ask("GET", f"/delivery-log?{query}").json["items"]] == expected


def test_labels_narrow_the_log_and_may_be_given_more_than_once(api: ApiServer) -> None:
    for to, labels in (("#a", {"team": "growth"}), ("#b", {"team": "growth", "note": "a=b & c"}), ("#c", {})):
        api.ask("POST", "/events", {"event_type": "safety_rollback", "to": [f"slack:{to}"], "labels": labels})
    for query, expected in (
        ("label=team=growth", ["#b", "#a"]),
        ("label=team%3Dgrowth&label=note%3Da%3Db%20%26%20c", ["#b"]),
        ("label=team=other", []),
        ("label=", ["#c", "#b", "#a"]),
    ):
        assert [item["to"] for item in api.ask("GET", f"/delivery-log?{query}").json["items"]] == expected
        assert api.ask("GET", f"/delivery-log/stats?{query}").json["total"]["total"] == len(expected)


@pytest.mark.parametrize("query", ["label=team", "label=a%20b=c", "label=team=", "label=team=a&label=team=b"])
def test_a_wrong_label_filter_is_refused_by_name(api: ApiServer, query: str) -> None:
    answer = api.ask("GET", f"/delivery-log?{query}")
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "label"
