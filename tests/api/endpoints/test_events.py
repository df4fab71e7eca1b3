"""Publishing over HTTP: recorded once, answered alike, and never refused for what it lacks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from alertctl import outbox
from alertctl.channels import Receipt
from alertctl.errors import DeliveryError, Reason
from alertctl.outbox import AttemptResult, ClaimScope
from tests.support.api_server import Lab, now

SLACK = ClaimScope("slack", "slack")
ROLLBACK = {"event_type": "safety_rollback", "feature_flag": "checkout-v3"}


def count(lab: Lab, table: str) -> int:
    with lab.store.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_an_accepted_event_is_committed_with_its_deliveries(lab: Lab) -> None:
    body = {**ROLLBACK, "to": ["slack:#x", "email:a@b.example", "slack:#X"]}
    answer = lab.ask("POST", "/events", body, by="developer")
    assert answer.status == 202
    deliveries = answer.json["deliveries"]
    assert [(item["channel"], item["to"], item["status"]) for item in deliveries] == [
        ("slack", "#x", "pending"),
        ("email", "a@b.example", "pending"),
    ]
    logged = lab.ask("GET", "/delivery-log").json
    assert {item["id"] for item in logged["items"]} == {item["id"] for item in deliveries}
    assert logged["items"][0]["event_id"] == answer.json["event_id"]
    assert (lab.woken, len(lab.accepted)) == (1, 1)


def test_what_an_event_lacks_is_a_warning(lab: Lab) -> None:
    answer = lab.ask("POST", "/events", {"event_type": "safety_rollback"})
    assert answer.status == 202
    assert "feature_flag" in answer.json["warnings"][0]


def test_who_published_is_known(lab: Lab) -> None:
    lab.ask("POST", "/events", ROLLBACK, by="developer")
    first = lab.ask("GET", "/delivery-log").json["items"][0]["id"]
    assert lab.ask("GET", f"/delivery-log/{first}").json["event"]["published_by"] == "developer@corp.example"


@pytest.mark.parametrize("key_location", ["header", "dedup_key"])
def test_twenty_identical_calls_at_once_are_one_event_and_one_answer(lab: Lab, key_location: str) -> None:
    body = ROLLBACK if key_location == "header" else {**ROLLBACK, "dedup_key": "job-7"}
    headers = {"Idempotency-Key": "job-7"} if key_location == "header" else {}
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(lab.ask, "POST", "/events", body, by="developer", headers=headers) for _ in range(20)]
        answers = [call.result() for call in calls]
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    assert count(lab, "event") == 1
    assert lab.woken == 1


@pytest.mark.parametrize("key_location", ["header", "dedup_key"])
def test_another_body_under_a_used_key_is_a_conflict(lab: Lab, key_location: str) -> None:
    more, headers = ({}, {"Idempotency-Key": "k"}) if key_location == "header" else ({"dedup_key": "k"}, {})
    first = lab.ask("POST", "/events", {**ROLLBACK, **more}, headers=headers)
    answer = lab.ask("POST", "/events", {**ROLLBACK, **more, "reason": "another"}, headers=headers)
    assert (first.status, answer.status) == (202, 409)
    assert first.json["event_id"] in answer.json["detail"]
    assert count(lab, "event") == 1


def test_a_header_key_is_its_callers_own(lab: Lab) -> None:
    key = {"Idempotency-Key": "deploy"}
    ids = {lab.ask("POST", "/events", ROLLBACK, by=by, headers=key).json["event_id"] for by in ("developer", "admin")}
    assert len(ids) == 2


def test_an_answer_is_repeated_as_it_was_though_deliveries_went_on(lab: Lab) -> None:
    key = {"Idempotency-Key": "again"}
    first = lab.ask("POST", "/events", ROLLBACK, headers=key)
    with lab.store.writing() as connection:
        connection.exec_driver_sql("UPDATE delivery SET status = 'failed', error = 'not_authed', attempts = 3")
    assert lab.ask("POST", "/events", ROLLBACK, headers=key).body == first.body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "event_type"),
        ({"event_type": 7}, "event_type"),
        ({"event_type": "safety_rolback"}, "event_type"),
        ({**ROLLBACK, "feature_flg": "x"}, "feature_flg"),
        ({**ROLLBACK, "from_percentage": 101}, "from_percentage"),
        ({**ROLLBACK, "from_percentage": True}, "from_percentage"),
        ({**ROLLBACK, "value": "NaN"}, "value"),
        ({**ROLLBACK, "to": "slack:#x"}, "to"),
        ({**ROLLBACK, "to": [7]}, "to"),
        ({**ROLLBACK, "to": ["fax:1"]}, "to"),
        ({**ROLLBACK, "to": ["email:a@b,c@d"]}, "to"),
        ({**ROLLBACK, "to": ["slack:#x"] * 1001}, "to"),
        ({**ROLLBACK, "channel": "fax"}, "channel"),
        ({**ROLLBACK, "channel": ["slack"]}, "channel"),
        ({**ROLLBACK, "dedup_key": ""}, "dedup_key"),
        ({**ROLLBACK, "dedup_key": "k", "dedup_window": 10**400}, "dedup_window"),
        ({**ROLLBACK, "\ud800": 1}, "\ufffd"),
    ],
)
def test_a_wrong_event_is_422_and_names_the_field(steady: Lab, body: Any, field: str) -> None:
    answer = steady.ask("POST", "/events", body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, field)
    assert answer.headers["content-type"] == "application/problem+json"
    assert count(steady, "event") == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "caf\xe9"])
def test_a_key_that_is_no_header_text_is_422(steady: Lab, key: str) -> None:
    answer = steady.ask("POST", "/events", ROLLBACK, headers={"Idempotency-Key": key})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff\ud800", "e\u0301\u202e", "💥"])
def test_odd_text_is_taken_and_cleaned(lab: Lab, text: str) -> None:
    answer = lab.ask("POST", "/events", {"event_type": "generic_alert", "title": f"x{text}", "details": {text: text}})
    assert answer.status == 202
    first = lab.ask("GET", "/delivery-log").json["items"][0]["id"]
    assert lab.ask("GET", f"/delivery-log/{first}").json["event"]["title"].startswith("x")


def test_the_types_are_listed_with_their_schemas(lab: Lab) -> None:
    event_types = {item["event_type"]: item for item in lab.ask("GET", "/events", by="viewer").json}
    assert list(event_types) == ["safety_rollback", "experiment_lifecycle", "rollout_advance", "generic_alert"]
    assert "title" in event_types["generic_alert"]["json_schema"]["required"]


def test_a_channel_that_is_off_is_recorded_as_suppressed(lab: Lab) -> None:
    deliveries = lab.ask("POST", "/events", {**ROLLBACK, "channel": "slack"}).json["deliveries"]
    assert {item["channel"] for item in deliveries} == {"slack"}


def published(lab: Lab, **fields: Any) -> str:
    body = {"event_type": "rollout_advance", "to": ["slack:#x"], **fields}
    event_id: str = lab.ask("POST", "/events", body, by="developer").json["event_id"]
    return event_id


def finish(lab: Lab, result: Any, at: timedelta = timedelta(0)) -> None:
    def work(connection: Any) -> None:
        claimed = outbox.claim(connection, SLACK, (10,) * 4, now() + at, 30.0).taken
        outbox.record(
            connection,
            SLACK,
            [AttemptResult(item, result, 5) for item in claimed],
            (60.0,),
            1e6,
            now() + at,
            lambda: 0.0,
        )

    lab.store.write(work)


def test_without_wait_the_current_state_is_returned(lab: Lab) -> None:
    answer = lab.ask("GET", f"/events/{published(lab)}", by="developer")
    assert answer.status == 200
    assert (answer.json["event_type"], answer.json["final"]) == ("rollout_advance", False)
    assert [item["status"] for item in answer.json["deliveries"]] == ["pending"]


def test_with_wait_the_answer_comes_when_the_deliveries_are_final(lab: Lab) -> None:
    event_id = published(lab)
    threading.Timer(0.3, finish, [lab, Receipt("17.01")]).start()
    started_at = time.monotonic()
    answer = lab.ask("GET", f"/events/{event_id}?wait=20", by="developer").json
    assert time.monotonic() - started_at < 15
    assert answer["final"]
    (item,) = answer["deliveries"]
    assert (item["status"], item["provider_id"]) == ("success", "17.01")
    assert item["latency_ms"] >= 0


def test_a_first_try_may_be_enough(lab: Lab) -> None:
    event_id = published(lab)
    finish(lab, DeliveryError(Reason.UNAVAILABLE, "http_503"))
    tried = lab.ask("GET", f"/events/{event_id}?wait=20&until=tried", by="developer").json
    assert [item["status"] for item in tried["deliveries"]] == ["failed"]
    assert not tried["final"]
    waited = lab.ask("GET", f"/events/{event_id}?wait=0.2&until=final", by="developer").json
    assert not waited["final"], "its retry is still to come"


def test_an_event_for_nobody_is_final(lab: Lab) -> None:
    event_id = published(lab, channel="email", to=["slack:#x"])
    assert lab.ask("GET", f"/events/{event_id}?wait=20", by="developer").json["final"]


def test_an_unknown_event_and_a_too_long_wait_are_refused(lab: Lab) -> None:
    assert lab.ask("GET", "/events/0190-none", by="developer").status == 404
    assert lab.ask("GET", f"/events/{published(lab)}?wait=31", by="developer").status == 422


def test_what_bounds_an_alert_in_time_is_checked(lab: Lab) -> None:
    for field, value in (("expires_at", "soon"), ("expires_at", 5), ("said_at", ""), ("dedup_window", "30m")):
        answer = lab.ask("POST", "/events", {"event_type": "rollout_advance", field: value}, by="developer")
        assert (answer.status, field in answer.json["detail"]) == (422, True)


def test_a_duplicate_within_its_window_is_answered_as_suppressed(lab: Lab) -> None:
    body = {"dedup_key": "k", "dedup_window": 60}
    first = published(lab, **body)
    answer = lab.ask("GET", f"/events/{published(lab, **body)}", by="developer").json
    assert [(item["status"], item["error"]) for item in answer["deliveries"]] == [
        ("suppressed", f"duplicate of {first}")
    ]
    assert answer["final"]


@pytest.mark.parametrize("event_id", ["%00", "0190", "%ff"])
def test_an_id_of_no_event_is_404(lab: Lab, event_id: str) -> None:
    assert lab.ask("GET", f"/events/{event_id}", by="developer").status == 404
