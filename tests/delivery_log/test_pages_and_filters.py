"""Pages, filters, detail and queue status of the delivery log."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alertctl import delivery_log
from alertctl.channels.base import MessageOptions
from alertctl.errors import InvalidEvent, NotFound, Reason
from alertctl.outbox import Instance, save_report
from alertctl.publish import publish
from alertctl.routing import parse_target
from alertctl.schemas import LogFilter
from tests.support.cases import each
from tests.support.deliveries import (
    EMAIL,
    NOW,
    after,
    announce,
    arrived,
    claim,
    claim_one,
    publication,
    record,
    refused,
    row,
    rows,
)


def read(store, question, *args, **more):
    with store.reading() as connection:
        return question(connection, *args, **more)


def page(store, limit=20, page=1, cursor=None, **where):
    return read(store, delivery_log.page, LogFilter(**where), limit=limit, page=page, cursor=cursor)


@pytest.fixture
def log(store, start):
    """One that arrived, one that failed, one that waits, on two channels at three times."""
    announce(store, "slack:#Arrived", now=start)
    record(store, arrived(claim_one(store, now=start)), now=start)
    minute = start + timedelta(seconds=60)
    announce(store, "email:failed@corp.example", event_type="safety_rollback", now=minute)
    record(store, refused(claim_one(store, EMAIL, minute), Reason.BAD_ADDRESS, "550"), scope=EMAIL, now=minute)
    announce(store, "slack:#waiting", now=start + timedelta(seconds=120))
    return store


def test_the_newest_comes_first(log):
    assert [item.to for item in page(log).items] == ["#waiting", "failed@corp.example", "#Arrived"]


@each(
    ("where", "expected"),
    [
        ({"status": "failed"}, ["failed@corp.example"]),
        ({"status": "success"}, ["#Arrived"]),
        ({"event_type": "generic_alert"}, ["#waiting", "#Arrived"]),
        ({"channel": "email"}, ["failed@corp.example"]),
        ({"to": "#arrived"}, ["#Arrived"]),
        ({"to": "FAILED@corp.example"}, ["failed@corp.example"]),
        ({"error": "550"}, ["failed@corp.example"]),
        ({"since": 60}, ["#waiting", "failed@corp.example"]),
        ({"until": 60}, ["#Arrived"]),
        ({"since": 1, "until": 100}, ["failed@corp.example"]),
        ({"status": "success", "channel": "email"}, []),
        ({"to": "#arrived", "status": "failed"}, []),
        ({"final": True}, ["failed@corp.example", "#Arrived"]),
        ({"retrying": True}, []),
        ({"grep": "ALMOST full"}, ["#waiting", "#Arrived"]),
        ({"grep": "what it said"}, ["failed@corp.example"]),
        ({"grep": "corp.example"}, ["failed@corp.example"]),
        ({"grep": "%"}, []),
        ({"grep": "_aiting"}, []),
        ({"channel": "slack", "event_type": "generic_alert", "status": "pending"}, ["#waiting"]),
    ],
)
def test_filters_hold_together(log, start, where, expected):
    moments = {name: start + timedelta(seconds=where[name]) for name in ("since", "until") if name in where}
    shown = page(log, **where | moments)
    assert [item.to for item in shown.items] == expected
    assert shown.total == len(expected)


@pytest.mark.parametrize(
    ("labels", "more", "expected"),
    [
        ({"team": "growth"}, {}, ["#c", "#b", "#a"]),
        ({"team": "payments"}, {}, ["#d"]),
        ({"team": "growth", "region": "eu"}, {}, ["#c", "#a"]),
        ({"region": "eu", "team": "growth"}, {"channel": "slack", "status": "pending"}, ["#c", "#a"]),
        ({"region": "eu"}, {"flag": "search"}, ["#c"]),
        ({"team": "growth"}, {"flag": "search", "to": "#b"}, ["#b"]),
        ({"team": "growth"}, {"grep": "SEARCH"}, ["#c", "#b"]),
        ({"team": "Growth"}, {}, []),
        ({"Team": "growth"}, {}, []),
        ({"team": "growth", "region": "us"}, {}, []),
        ({}, {"grep": "payments"}, ["#d"]),
    ],
)
def test_labels_filter_pages_totals_stats_and_followers_alike(store, labels, more, expected):
    start = read(store, delivery_log.position)
    for to, flag, own in (
        ("#a", "checkout", {"team": "growth", "region": "eu"}),
        ("#b", "search", {"team": "growth"}),
        ("#c", "search", {"team": "growth", "region": "eu"}),
        ("#d", "checkout", {"team": "payments"}),
        ("#e", "checkout", {}),
    ):
        event = publication("safety_rollback", {"feature_flag": flag}, to=[f"slack:{to}"], labels=own)
        store.write(lambda connection, event=event: publish(connection, event, NOW))
    shown = page(store, labels=labels, **more)
    assert [item.to for item in shown.items] == expected
    assert shown.total == len(expected)
    where = LogFilter(labels=labels, **more)
    assert read(store, delivery_log.stats, where, "to").total.total == len(expected)
    changes, _ = read(store, delivery_log.changes, where, start)
    assert [item.to for _, item in changes] == expected[::-1]
    assert page(store, limit=1, labels=labels, **more).items == shown.items[:1]


def test_every_item_has_the_labels_of_its_event(store):
    event = publication("safety_rollback", {}, to=["slack:#a", "email:a@corp.example"], labels={"team": "größe 🔥"})
    receipt = store.write(lambda connection: publish(connection, event, NOW))
    announce(store, "slack:#b")
    assert [item.labels for item in page(store).items] == [{}, {"team": "größe 🔥"}, {"team": "größe 🔥"}]
    assert [item.labels for item in receipt.deliveries] == [{"team": "größe 🔥"}] * 2
    detail = read(store, delivery_log.detail, receipt.deliveries[0].id)
    assert detail.labels == detail.others[0].labels == {"team": "größe 🔥"}


def test_the_detail_has_the_route_the_options_and_the_notes_of_attempts(store):
    options = MessageOptions(style="compact", mention=("ana@corp.example",))
    target = replace(parse_target("slack:#a", "route"), route="payments", options=options)
    event = replace(publication("safety_rollback", {}), to=(target,))
    receipt = store.write(lambda connection: publish(connection, event, NOW))
    result = arrived(claim_one(store))
    record(store, replace(result, result=replace(result.result, note="ana@corp.example is unknown to Slack")))
    detail = read(store, delivery_log.detail, receipt.deliveries[0].id)
    assert (detail.routing_reason, detail.route) == ("route", "payments")
    assert detail.options == {"style": "compact", "mention": ["ana@corp.example"]}
    assert [entry.note for entry in detail.attempt_log] == ["ana@corp.example is unknown to Slack"]


def test_an_events_own_deliveries_can_be_asked_for(log):
    event_id = row(log, address="#waiting").event_id
    assert [item.to for item in page(log, event_id=event_id).items] == ["#waiting"]


@pytest.mark.parametrize("by", ["page", "cursor"])
def test_pages_show_every_row_once(store, by):
    announce(store, *(f"slack:#channel-{number}" for number in range(25)))
    seen, cursor = [], None
    for number in (1, 2, 3):
        shown = page(store, limit=10, page=number) if by == "page" else page(store, limit=10, cursor=cursor)
        seen += [item.id for item in shown.items]
        cursor = shown.next_cursor
        assert shown.total == 25
    assert seen == sorted((entry.id for entry in rows(store)), reverse=True)
    assert cursor is None


def test_a_page_after_the_last_is_empty(log):
    shown = page(log, page=10**30)
    assert (shown.items, shown.total, shown.next_cursor) == ([], 3, None)


def test_a_cursor_is_not_moved_by_what_comes_in_meanwhile(store):
    announce(store, *(f"slack:#channel-{number}" for number in range(4)))
    first = page(store, limit=2)
    announce(store, "slack:#new")
    second = page(store, limit=2, cursor=first.next_cursor)
    assert not {item.id for item in first.items} & {item.id for item in second.items}
    assert "#new" not in {item.to for item in second.items}


def test_any_part_of_an_id_that_is_unique_will_do(log):
    entry = row(log, address="#waiting").id
    others = [other.id for other in rows(log) if other.id != entry]
    unique = next(entry[-size:] for size in range(1, 37) if not any(entry[-size:] in other for other in others))
    assert read(log, delivery_log.find_id, entry) == entry
    assert read(log, delivery_log.find_id, unique.upper()) == entry


def test_a_part_that_fits_several_names_them(log):
    with pytest.raises(NotFound, match="more than one"):
        read(log, delivery_log.find_id, rows(log)[0].id[:4])


@each("part", ["", " ", "%", "_", "zz", "x" * 40, "ffffffffffff", "'; --", "\0"])
def test_a_part_that_matches_no_id_raises_not_found(log, part):
    with pytest.raises(NotFound):
        read(log, delivery_log.find_id, part)


def test_the_detail_has_the_event_every_attempt_and_the_other_deliveries(store):
    announce(store, "slack:#a", "email:a@corp.example", event_type="safety_rollback")
    record(store, refused(claim_one(store), Reason.UNAVAILABLE, "http_503"))
    record(store, arrived(claim_one(store, now=after(5))), now=after(5))
    detail = read(store, delivery_log.detail, row(store, channel="slack").id)
    assert (detail.status, detail.attempts, detail.routing_reason, detail.user) == ("success", 2, "named", None)
    assert [(entry.number, entry.outcome, entry.code) for entry in detail.attempt_log] == [
        (1, "failed", "http_503"),
        (2, "success", None),
    ]
    assert [other.to for other in detail.others] == ["a@corp.example"]
    assert (detail.event.title, detail.event.severity) == ("Safety rollback", "critical")


def test_an_events_deliveries_come_in_the_order_of_routing(store):
    event_id = announce(store, "slack:#b", "slack:#a", "email:c@corp.example")
    result = read(store, delivery_log.items_of, [event_id])
    assert [item.to for item in result[event_id]] == ["#b", "#a", "c@corp.example"]


def test_the_queue_says_what_waits_and_for_how_long(log, start):
    result = read(log, delivery_log.queue_status, start + timedelta(seconds=180))
    assert result.depth == {"slack": 1, "email": 0}
    assert result.oldest_due_seconds == 60


def test_a_queue_with_nothing_due_is_not_late(store):
    announce(store, "slack:#a")
    record(store, refused(claim_one(store), Reason.UNAVAILABLE))
    assert read(store, delivery_log.queue_status, after(1)).oldest_due_seconds == 0
    assert read(store, delivery_log.queue_status, after(1)).paused == []


def test_a_provider_whose_breaker_is_open_is_named_while_its_daemon_reports_it(store):
    instance = Instance.current()
    store.write(lambda connection: save_report(connection, instance, "slack", "token_revoked", NOW, after(30), NOW))
    (pause,) = read(store, delivery_log.queue_status, after(1)).paused
    assert (pause.provider, pause.code, pause.breaker, pause.pid) == ("slack", "token_revoked", True, instance.pid)
    assert (pause.since, pause.until) == (NOW, after(30))
    assert read(store, delivery_log.queue_status, after(61)).paused == []


@pytest.mark.parametrize("text", ["", "x", "'", "0" * 37])
def test_a_cursor_that_is_none_is_refused(text):
    with pytest.raises(InvalidEvent, match=r"^cursor: "):
        delivery_log.parse_cursor(text)


def test_claiming_shows_up_as_sending(store):
    announce(store, "slack:#a")
    claim(store)
    assert [item.status for item in page(store).items] == ["sending"]
