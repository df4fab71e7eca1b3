"""A daemon's writer thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from alertctl.db import Store, Writer
from alertctl.errors import Conflict, Unreachable


@pytest.fixture
def writer(store):
    opened = Writer(store)
    yield opened
    opened.close()


def write_notes(connection, items):
    """Insert each item and answer with its double."""
    for item in items:
        connection.execute(
            text("INSERT INTO run (job, period, started_at) VALUES ('note', :item, '2026-03-02 00:00')"),
            {"item": str(item)},
        )
    return [item * 2 for item in items]


def read_notes(store) -> set[str]:
    with store.reading() as connection:
        return set(connection.execute(text("SELECT period FROM run")).scalars())


class BlockedWriter:
    """Keeps the writer inside a transaction until it is released, so that jobs gather."""

    def __init__(self, writer: Writer) -> None:
        self._inside, self._open = threading.Event(), threading.Event()
        self.done = writer.submit_later(self._wait, None)
        self._inside.wait(10)

    def _wait(self, _connection, items):
        self._inside.set()
        self._open.wait(10)
        return items

    def release(self) -> None:
        self._open.set()
        self.done.result(10)


def test_waiting_work_is_committed_together_and_answered_in_order(writer, store):
    blocked = BlockedWriter(writer)
    before = writer.commits
    futures = [writer.submit_later(write_notes, number) for number in range(400)]
    blocked.release()
    assert [future.result(10) for future in futures] == [number * 2 for number in range(400)]
    assert len(read_notes(store)) == 400
    assert writer.commits - before <= 3


def test_a_job_that_raises_does_not_affect_other_jobs(writer, store):
    blocked = BlockedWriter(writer)
    good = [writer.submit_later(write_notes, number) for number in range(5)]
    twice = writer.submit_later(write_notes, 3)
    others = [writer.submit_later(write_notes, number) for number in range(10, 15)]
    blocked.release()
    assert [future.result(10) for future in good + others] == [0, 2, 4, 6, 8, 20, 22, 24, 26, 28]
    assert twice.exception(10) is not None
    assert read_notes(store) == {str(number) for number in (*range(5), *range(10, 15))}


def test_an_exception_reaches_only_its_caller(writer):
    with pytest.raises(ZeroDivisionError):
        writer.write(lambda _: 1 // 0)
    assert writer.write(lambda connection: connection.execute(text("SELECT 7")).scalar()) == 7


def refuse_odd(connection, items):
    """Write the even items; the outcome of an odd one is an exception."""
    write_notes(connection, [item for item in items if item % 2 == 0])
    return [item if item % 2 == 0 else Conflict(f"{item} is odd") for item in items]


def test_an_outcome_that_is_an_exception_is_raised_to_its_caller_alone(writer, store):
    blocked = BlockedWriter(writer)
    before = writer.commits
    futures = [writer.submit_later(refuse_odd, number) for number in range(4)]
    blocked.release()
    assert [future.result(10) for future in futures[::2]] == [0, 2]
    assert [str(future.exception(10)) for future in futures[1::2]] == ["1 is odd", "3 is odd"]
    assert read_notes(store) == {"0", "2"}
    assert writer.commits == before + 2


def test_a_coroutine_gets_the_exception_too(writer):
    async def submit():
        return await asyncio.gather(
            *(writer.submit_soon(refuse_odd, number) for number in (2, 3)), return_exceptions=True
        )

    result, conflict = asyncio.run(submit())
    assert result == 2
    assert isinstance(conflict, Conflict)


def test_a_caller_that_no_longer_waits_does_not_end_the_writer(writer, store):
    blocked = BlockedWriter(writer)
    cancelled, patient = writer.submit_later(write_notes, 1), writer.submit_later(write_notes, 2)
    assert cancelled.cancel()
    blocked.release()
    assert patient.result(10) == 4
    assert writer.submit(write_notes, 3) == 6
    assert read_notes(store) == {"2", "3"}


def test_work_that_answers_too_little_harms_its_own_callers_only(writer, store):
    blocked = BlockedWriter(writer)
    silent = writer.submit_later(lambda _connection, _items: [], 1)
    other = writer.submit_later(write_notes, 2)
    blocked.release()
    assert other.result(10) == 4
    assert silent.exception(10) is not None
    assert writer.submit(write_notes, 3) == 6


def test_a_database_that_is_away_is_away_for_all_and_asked_once(tmp_path):
    store = Store("postgresql+psycopg://alert@127.0.0.1:1/alerts")
    writer = Writer(store)
    futures = [writer.submit_later(write_notes, number) for number in range(50)]
    assert all(isinstance(future.exception(30), Unreachable) for future in futures)
    assert writer.commits == 0
    writer.close()
    store.close()


def test_many_threads_each_get_their_own_answer(writer, store):
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda number: writer.submit(write_notes, number), range(300)))
    assert answers == [number * 2 for number in range(300)]
    assert len(read_notes(store)) == 300


def test_closing_finishes_what_was_handed_in_and_takes_nothing_more(store):
    writer = Writer(store)
    futures = [writer.submit_later(write_notes, number) for number in range(20)]
    writer.close()
    assert [future.result(0) for future in futures] == [number * 2 for number in range(20)]
    with pytest.raises(Unreachable, match="stopping"):
        writer.submit(write_notes, 1)
