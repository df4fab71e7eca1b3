"""Publishing over HTTP: recorded once, answered alike, and never refused for a missing optional field."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from alertctl import outbox
from alertctl.channels.base import Receipt
from alertctl.errors import DeliveryError, Reason
from alertctl.events.lenient_input import REQUEST_KEYS
from alertctl.outbox import AttemptResult, ClaimScope
from alertctl.schemas import BODY_OPTIONS
from tests.support.api_server import ApiServer, now
from tests.support.cases import each

SLACK = ClaimScope("slack", "slack")
ROLLBACK = {"event_type": "safety_rollback", "feature_flag": "checkout-v3"}


def count(api: ApiServer, table: str) -> int:
    with api.store.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.mark.postgres
def test_an_accepted_event_is_committed_with_its_deliveries(api: ApiServer) -> None:
    body = {**ROLLBACK, "to": ["slack:#x", "email:a@b.example", "slack:#X"]}
    answer = api.ask("POST", "/events", body, by="developer")
    assert answer.status == 202
    deliveries = answer.json["deliveries"]
    assert [(item["channel"], item["to"], item["status"]) for item in deliveries] == [
        ("slack", "#x", "pending"),
        ("email", "a@b.example", "pending"),
    ]
    logged = api.ask("GET", "/delivery-log").json
    assert {item["id"] for item in logged["items"]} == {item["id"] for item in deliveries}
    assert logged["items"][0]["event_id"] == answer.json["event_id"]
    assert (api.woken, len(api.accepted)) == (1, 1)


def test_a_missing_field_is_a_warning(api: ApiServer) -> None:
    answer = api.ask("POST", "/events", {"event_type": "safety_rollback"})
    assert answer.status == 202
    assert "feature_flag" in answer.json["warnings"][0]


def test_the_event_records_its_publisher(api: ApiServer) -> None:
    api.ask("POST", "/events", ROLLBACK, by="developer")
    first = api.ask("GET", "/delivery-log").json["items"][0]["id"]
    assert api.ask("GET", f"/delivery-log/{first}").json["event"]["published_by"] == "developer@corp.example"


@pytest.mark.parametrize("key_location", ["header", "dedup_key"])
@pytest.mark.postgres
def test_twenty_identical_calls_at_once_are_one_event_and_one_answer(api: ApiServer, key_location: str) -> None:
    body = ROLLBACK if key_location == "header" else {**ROLLBACK, "dedup_key": "job-7"}
    headers = {"Idempotency-Key": "job-7"} if key_location == "header" else {}
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(api.ask, "POST", "/events", body, by="developer", headers=headers) for _ in range(20)]
        answers = [call.result() for call in calls]
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    assert count(api, "event") == 1
    assert api.woken == 1


@pytest.mark.parametrize("key_location", ["header", "dedup_key"])
def test_another_body_under_a_used_key_is_a_conflict(api: ApiServer, key_location: str) -> None:
    more, headers = ({}, {"Idempotency-Key": "k"}) if key_location == "header" else ({"dedup_key": "k"}, {})
    first = api.ask("POST", "/events", {**ROLLBACK, **more}, headers=headers)
    answer = api.ask("POST", "/events", {**ROLLBACK, **more, "reason": "another"}, headers=headers)
    assert (first.status, answer.status) == (202, 409)
    assert first.json["event_id"] in answer.json["detail"]
    assert count(api, "event") == 1


def test_a_header_key_is_its_callers_own(api: ApiServer) -> None:
    key = {"Idempotency-Key": "deploy"}
    ids = {api.ask("POST", "/events", ROLLBACK, by=by, headers=key).json["event_id"] for by in ("developer", "admin")}
    assert len(ids) == 2


@pytest.mark.postgres
def test_an_answer_is_repeated_as_it_was_though_deliveries_went_on(api: ApiServer) -> None:
    key = {"Idempotency-Key": "again"}
    first = api.ask("POST", "/events", ROLLBACK, headers=key)
    with api.store.writing() as connection:
        connection.exec_driver_sql("UPDATE delivery SET status = 'failed', error = 'not_authed', attempts = 3")
    assert api.ask("POST", "/events", ROLLBACK, headers=key).body == first.body


def test_an_unknown_field_is_a_detail_and_a_warning(api: ApiServer) -> None:
    answer = api.ask("POST", "/events", {**ROLLBACK, "feature_flg": "x", "\ud800": 1})
    assert answer.status == 202
    assert [warning.partition(":")[0] for warning in answer.json["warnings"][:2]] == ["feature_flg", "\ufffd"]
    with api.store.reading() as connection:
        fields = connection.exec_driver_sql("SELECT fields FROM event").scalar_one()
    assert '"feature_flg":"x"' in fields


@pytest.mark.parametrize(
    ("name", "known"), [("To", "to"), ("chanel", "channel"), ("expires", "expires_at"), ("dedup_windw", "dedup_window")]
)
def test_a_misspelt_key_of_the_request_is_a_detail_and_a_warning_with_the_right_one(
    api: ApiServer, name: str, known: str
) -> None:
    answer = api.ask("POST", "/events", {**ROLLBACK, name: "x"})
    assert answer.status == 202
    warning = f"{name}: safety_rollback has no such field, shown as a detail; did you mean {known}?"
    assert warning in answer.json["warnings"]


def test_suggested_keys_are_those_of_the_body() -> None:
    assert set(REQUEST_KEYS) <= set(BODY_OPTIONS)


@each(
    ("body", "field"),
    [
        ({}, "event_type"),
        ({"event_type": 7}, "event_type"),
        ({"event_type": "safety_rolback"}, "event_type"),
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
    ],
)
def test_a_wrong_event_is_422_and_names_the_field(shared_api: ApiServer, body: Any, field: str) -> None:
    answer = shared_api.ask("POST", "/events", body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, field)
    assert answer.headers["content-type"] == "application/problem+json"
    assert count(shared_api, "event") == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "caf\xe9"])
def test_a_key_that_is_no_header_text_is_422(shared_api: ApiServer, key: str) -> None:
    answer = shared_api.ask("POST", "/events", ROLLBACK, headers={"Idempotency-Key": key})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff\ud800", "e\u0301\u202e", "💥"])
@pytest.mark.postgres
def test_odd_text_is_taken_and_cleaned(api: ApiServer, text: str) -> None:
    answer = api.ask("POST", "/events", {"event_type": "generic_alert", "title": f"x{text}", "details": {text: text}})
    assert answer.status == 202
    first = api.ask("GET", "/delivery-log").json["items"][0]["id"]
    assert api.ask("GET", f"/delivery-log/{first}").json["event"]["title"].startswith("x")


def test_the_types_are_listed_with_their_schemas(api: ApiServer) -> None:
    event_types = {item["event_type"]: item for item in api.ask("GET", "/events", by="viewer").json}
    assert list(event_types) == ["safety_rollback", "experiment_lifecycle", "rollout_advance", "generic_alert"]
    assert "title" in event_types["generic_alert"]["json_schema"]["required"]


def test_a_channel_that_is_off_is_recorded_as_suppressed(api: ApiServer) -> None:
    deliveries = api.ask("POST", "/events", {**ROLLBACK, "channel": "slack"}).json["deliveries"]
    assert {item["channel"] for item in deliveries} == {"slack"}


def published(api: ApiServer, **fields: Any) -> str:
    body = {"event_type": "rollout_advance", "to": ["slack:#x"], **fields}
    event_id: str = api.ask("POST", "/events", body, by="developer").json["event_id"]
    return event_id


def finish(api: ApiServer, result: Any, at: timedelta = timedelta(0)) -> None:
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

    api.store.write(work)


def test_without_wait_the_current_state_is_returned(api: ApiServer) -> None:
    answer = api.ask("GET", f"/events/{published(api)}", by="developer")
    assert answer.status == 200
    assert (answer.json["event_type"], answer.json["final"]) == ("rollout_advance", False)
    assert [item["status"] for item in answer.json["deliveries"]] == ["pending"]


def test_with_wait_the_answer_comes_when_the_deliveries_are_final(api: ApiServer) -> None:
    api.stopping = False
    event_id = published(api)
    threading.Timer(0.3, finish, [api, Receipt("17.01")]).start()
    started_at = time.monotonic()
    answer = api.ask("GET", f"/events/{event_id}?wait=20", by="developer").json
    assert time.monotonic() - started_at < 15
    assert answer["final"]
    (item,) = answer["deliveries"]
    assert (item["status"], item["provider_id"]) == ("success", "17.01")
    assert item["latency_ms"] >= 0


def test_a_first_try_may_be_enough(api: ApiServer) -> None:
    event_id = published(api)
    finish(api, DeliveryError(Reason.UNAVAILABLE, "http_503"))
    tried = api.ask("GET", f"/events/{event_id}?wait=20&until=tried", by="developer").json
    assert [item["status"] for item in tried["deliveries"]] == ["failed"]
    assert not tried["final"]
    waited = api.ask("GET", f"/events/{event_id}?wait=0.2&until=final", by="developer").json
    assert not waited["final"], "its retry is still to come"


def test_an_event_without_recipients_is_final_and_a_warning(api: ApiServer) -> None:
    excluded = {**ROLLBACK, "channel": "email", "to": ["slack:#x"]}
    on_slack_only = {"event_type": "rollout_advance", "feature_flag": "x", "to_percentage": 5, "channel": "email"}
    for body, warning in (
        (excluded, "no recipients: channel email excludes every target of `to`; leave the channel out"),
        (on_slack_only, "no recipients on email: no default target, route, label or preference applies; "),
    ):
        accepted = api.ask("POST", "/events", body, by="developer").json
        assert accepted["deliveries"] == []
        assert accepted["warnings"][-1].startswith(warning)
        assert api.ask("GET", f"/events/{accepted['event_id']}?wait=20", by="developer").json["final"]
        preview = api.ask("POST", "/events/preview", body, by="developer").json
        assert (preview["items"], preview["warnings"][-1]) == ([], accepted["warnings"][-1])


def test_an_unknown_event_and_a_too_long_wait_are_refused(api: ApiServer) -> None:
    assert api.ask("GET", "/events/0190-none", by="developer").status == 404
    assert api.ask("GET", f"/events/{published(api)}?wait=31", by="developer").status == 422


def test_dedup_window_and_expiry_are_checked(api: ApiServer) -> None:
    for field, value in (
        ("expires_at", "soon"),
        ("expires_at", 5),
        ("originally_published_at", ""),
        ("dedup_window", "30m"),
    ):
        answer = api.ask("POST", "/events", {"event_type": "rollout_advance", field: value}, by="developer")
        assert (answer.status, field in answer.json["detail"]) == (422, True)


def test_a_duplicate_within_its_window_is_answered_as_suppressed(api: ApiServer) -> None:
    body = {"dedup_key": "k", "dedup_window": 60}
    first = published(api, **body)
    answer = api.ask("GET", f"/events/{published(api, **body)}", by="developer").json
    assert [(item["status"], item["error"]) for item in answer["deliveries"]] == [
        ("suppressed", f"duplicate of {first}")
    ]
    assert answer["final"]


@pytest.mark.parametrize("event_id", ["%00", "0190", "%ff"])
def test_an_id_of_no_event_is_404(api: ApiServer, event_id: str) -> None:
    assert api.ask("GET", f"/events/{event_id}", by="developer").status == 404


def test_an_empty_list_of_targets_means_the_usual_recipients(api: ApiServer) -> None:
    usual, empty = (api.ask("POST", "/events", {**ROLLBACK, **more}).json for more in ({}, {"to": []}))
    assert [item["to"] for item in empty["deliveries"]] == [item["to"] for item in usual["deliveries"]] != []


def test_labels_are_recorded_as_text(api: ApiServer) -> None:
    body = {**ROLLBACK, "to": ["slack:#a"], "labels": {"team": "growth", "canary": True, "shard": 7, "none": None}}
    answer = api.ask("POST", "/events", body, by="developer")
    labels = {"team": "growth", "canary": "true", "shard": "7"}
    assert (answer.status, answer.json["deliveries"][0]["labels"]) == (202, labels)
    assert api.ask("GET", "/delivery-log").json["items"][0]["labels"] == labels
    assert api.ask("POST", "/events", {**ROLLBACK, "labels": None}).status == 202


@pytest.mark.parametrize("labels", [["team"], "team=growth", {"my team": "x"}, 7])
def test_wrong_labels_are_refused_by_name(api: ApiServer, labels: Any) -> None:
    answer = api.ask("POST", "/events", {**ROLLBACK, "labels": labels})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "labels")
    assert count(api, "event") == 0
