"""The state of an event's deliveries over HTTP, with and without waiting."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from alertctl import outbox
from alertctl.channels import Receipt
from alertctl.errors import DeliveryError, Reason
from alertctl.outbox import AttemptResult, ClaimScope
from tests.api.lab import Lab, now

SLACK = ClaimScope("slack", "slack")


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
