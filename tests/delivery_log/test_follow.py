"""Following the log: each state of a delivery once, none missed, in any order of commits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from alertctl import delivery_log, outbox
from alertctl.errors import InvalidEvent, Reason
from alertctl.outbox.tables import delivery
from alertctl.schemas import LogFilter
from tests.support.deliveries import EMAIL, SLACK, after, announce, arrived, claim, claim_one, record, refused, rows

EVERYTHING = LogFilter()


class Follower:
    """Reads the changes since its position."""

    def __init__(self, store, where=EVERYTHING, *, history=False, at=None):
        self._store, self._where = store, where
        with store.reading() as connection:
            self.at = at or delivery_log.position(connection, history=history)

    def more(self, limit=500):
        seen = []
        while True:
            history = self.at.startswith("h")
            with self._store.reading() as connection:
                page, self.at = delivery_log.changes(connection, self._where, self.at, limit)
            seen += [(entry.to, entry.status) for _, entry in page]
            if len(page) < limit and not history:
                return seen


def test_a_follower_hears_what_comes_and_what_becomes_of_it(store):
    announce(store, "slack:#before")
    follower = Follower(store)
    announce(store, "slack:#a")
    assert follower.more() == [("#a", "pending")]
    assert follower.more() == []
    for claimed in claim(store).taken:
        record(store, arrived(claimed))
    assert follower.more() == [("#before", "success"), ("#a", "success")]
    assert follower.more() == []


def test_being_sent_is_no_news_but_its_verdict_is(store):
    follower = Follower(store)
    announce(store, "slack:#a")
    claimed = claim_one(store)
    assert follower.more() == []
    record(store, refused(claimed, Reason.UNAVAILABLE))
    assert follower.more() == [("#a", "failed")]
    outbox_again = claim_one(store, now=after(60))
    store.write(lambda connection: outbox.release(connection, [outbox_again]))
    assert follower.more() == [("#a", "failed")], "what was given back may have been passed over while it was sent"


def test_changes_outside_the_filter_are_skipped(store):
    follower = Follower(store, LogFilter(channel="email"))
    announce(store, "slack:#a", "email:a@corp.example")
    assert follower.more() == [("a@corp.example", "pending")]
    record(store, arrived(claim_one(store)))
    assert follower.more() == []
    record(store, arrived(claim_one(store, EMAIL)), scope=EMAIL)
    assert follower.more() == [("a@corp.example", "success")]


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_history_comes_first_and_changes_after_it_in_pages_of_any_size(store, limit):
    for number in range(5):
        announce(store, f"slack:#{number}", now=after(number))
    soon = after(60)
    record(store, *(arrived(claimed) for claimed in claim(store, limit=2, now=soon).taken), now=soon)
    follower = Follower(store, history=True)
    announce(store, "slack:#new", now=soon)
    record(store, *(arrived(claimed) for claimed in claim(store, limit=1, now=soon).taken), now=soon)
    seen = dict(follower.more(limit))
    assert seen == dict.fromkeys(("#0", "#1", "#2"), "success") | dict.fromkeys(("#3", "#4", "#new"), "pending")
    assert follower.more(limit) == []


def test_a_follower_that_comes_back_goes_on_where_it_was(store):
    announce(store, *(f"slack:#{number}" for number in range(7)))
    seen, at = [], Follower(store, history=True).at
    while True:
        with store.reading() as connection:
            page, _ = delivery_log.changes(connection, EVERYTHING, at, 3)
        if not page:
            break
        # It heard two of the three, then the line broke.
        seen += [entry.to for _, entry in page[:2]]
        at = page[:2][-1][0]
    assert sorted(seen) == [f"#{number}" for number in range(7)]


def test_a_transaction_that_commits_late_is_not_missed(store):
    """Its changes have lower numbers than what was committed meanwhile. (SQLite lets nobody write meanwhile.)"""
    if store.is_sqlite:
        return
    follower = Follower(store)
    begun, go_on = threading.Event(), threading.Event()

    def slowly(connection):
        announce(_OpenTransaction(connection), "slack:#slow")
        begun.set()
        assert go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(store.write, slowly)
        assert begun.wait(30)
        announce(store, "slack:#fast")
        early = follower.more()
        go_on.set()
        slow.result()
    assert sorted(early + follower.more()) == [("#fast", "pending"), ("#slow", "pending")]


class _OpenTransaction:
    """A connection in an open transaction, with the interface that `announce` needs."""

    def __init__(self, connection):
        self._connection = connection

    def write(self, work):
        return work(self._connection)


def test_under_load_every_last_state_is_heard_once(store):
    follower, seen = Follower(store), []
    writing = threading.Event()

    def publish_and_send(number):
        for part in range(10):
            announce(store, *(f"slack:#{number}-{part}-{index}" for index in range(5)))
            record(store, *(arrived(claimed) for claimed in claim(store, SLACK, limit=3).taken))

    def follow():
        while not writing.is_set():
            seen.extend(follower.more(50))

    listener = threading.Thread(target=follow)
    listener.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish_and_send, range(4)))
    record(store, *(arrived(claimed) for claimed in claim(store, SLACK, limit=1000, now=after(1)).taken))
    writing.set()
    listener.join()
    seen += follower.more()
    with store.reading() as connection:
        last = {(entry.address, entry.status) for entry in connection.execute(select(delivery))}
    assert len(last) == 200
    assert last <= set(seen)
    assert len(seen) == len(set(seen)), "a state was seen twice"


@pytest.mark.parametrize("text", ["", "x", "c~1", "c~-1~", "h~1~'", "c~99999999999999999999999~g", f"h~{2**63}~"])
def test_a_position_that_is_none_is_refused(text):
    with pytest.raises(InvalidEvent, match="Last-Event-ID"):
        delivery_log.parse_position(text)


def test_an_empty_log_has_no_changes(store):
    assert Follower(store, history=True).more() == []
    assert rows(store) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_dump_restored_on_a_server_with_lower_numbers_is_history_and_no_news(store):
    announce(store, "slack:#old")
    # As rows look that a busier server has numbered: a million transactions ahead of this one's.
    store.write(lambda connection: connection.execute(update(delivery).values(change=delivery.c.change + 1_000_000)))
    for _ in range(2):
        store.write(outbox.resume_sequence_after_restore)
    follower, historian = Follower(store), Follower(store, history=True)
    announce(store, "slack:#new")
    assert follower.more() == [("#new", "pending")]
    assert historian.more() == [("#old", "pending"), ("#new", "pending")]
