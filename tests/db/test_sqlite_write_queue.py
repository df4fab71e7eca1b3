"""Processes that write to one SQLite file take turns."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from alertctl.db import Store, upgrade
from alertctl.db.sqlite_write_queue import SUFFIX, WriteQueue
from tests.support import cli_process

WRITES = 100
WRITER = """
import sys
from sqlalchemy import text
from alertctl.db import Store

url, name, writes = sys.argv[1:]
store = Store(url)
insert = text("INSERT INTO run (job, period, started_at) VALUES (:job, :period, '2026-03-02 00:00')")
with store.reading():
    print("ready", flush=True)
sys.stdin.read()
for number in range(int(writes)):
    store.write(lambda connection: connection.execute(insert, {"job": name, "period": str(number)}))
"""
HOLDER = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(handle, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    (tmp_path / "a.db").touch(0o600)
    return str(tmp_path / "a.db")


@contextmanager
def lock_held(database: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock file until its stdin ends."""
    command = [sys.executable, "-c", HOLDER, database + SUFFIX]
    with cli_process.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            yield holder
        finally:
            holder.kill()


def is_free(database: str) -> bool:
    handle = os.open(database + SUFFIX, os.O_RDWR)
    with suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
        return True
    os.close(handle)
    return False


@pytest.fixture
def url_on_disk() -> Iterator[str]:
    """A database on a disk: in memory a commit is so short that a writer has the next turn before others wake up."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        url = f"sqlite:///{folder}/alertctl.db"
        store = Store(url)
        upgrade(store)
        store.close()
        yield url


def test_processes_that_write_all_the_time_take_turns(url_on_disk):
    """When the first has written all its rows, the others have half of theirs at least (with SQLite alone a third)."""
    names = [f"writer{number}" for number in range(4)]
    command = [sys.executable, "-c", WRITER, url_on_disk]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writers = [cli_process.Popen([*command, name, str(WRITES)], **pipes) for name in names]
    for writer in writers:
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.stdin.close()
    for writer in writers:
        assert writer.wait(300) == 0
        writer.stdout.close()
    store = Store(url_on_disk)
    with store.reading() as connection:
        order = connection.execute(text("SELECT job FROM run ORDER BY rowid")).scalars().all()
    store.close()
    assert Counter(order) == dict.fromkeys(names, WRITES)
    first_ends = min(len(order) - order[::-1].index(name) for name in names)
    written_by_then = Counter(order[:first_ends])
    assert min(written_by_then[name] for name in names) > WRITES / 2, written_by_then


def test_threads_of_one_process_take_turns(database):
    queue, order = WriteQueue(), []
    with queue.turn(database):
        threads = [threading.Thread(target=_note, args=(queue, database, order, number)) for number in range(5)]
        for thread in threads:
            thread.start()
        assert order == []
    for thread in threads:
        thread.join(30)
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert is_free(database)


def _note(queue: WriteQueue, database: str, order: list[int], number: int) -> None:
    with queue.turn(database):
        order.append(number)


def test_a_turn_within_a_turn_of_the_same_thread_is_the_same(database):
    queue = WriteQueue()
    with queue.turn(database):
        with queue.turn(database):
            pass
        assert not is_free(database)
    assert is_free(database)


def test_a_process_that_is_killed_gives_its_turn_up(database):
    queue, order = WriteQueue(), []
    with lock_held(database) as holder:
        waiting = threading.Thread(target=_note, args=(queue, database, order, 1))
        waiting.start()
        assert order == []
        holder.kill()
        waiting.join(30)
    assert order == [1]


def test_a_lock_that_is_never_released_is_waited_for_only_so_long(database):
    queue = WriteQueue(stuck=0.1)
    with lock_held(database) as holder:
        for _ in range(3):
            with queue.turn(database):
                assert not is_free(database)
        holder.kill()
        holder.wait()
        # Those that gave up must not keep what they get afterwards.
        deadline = threading.Event()
        assert any(is_free(database) or deadline.wait(0.02) for _ in range(500))
        with queue.turn(database):
            assert not is_free(database)


def test_a_queue_that_moves_is_waited_for_longer(database):
    """Others get through, each within the time after which a queue counts as stuck, and all of them in more."""
    patient, order = WriteQueue(stuck=1.0), []
    with lock_held(database) as holder:
        waiting = threading.Thread(target=_note, args=(patient, database, order, 1))
        waiting.start()
        for _ in range(10):
            waiting.join(0.3)
            os.utime(database + SUFFIX)
        assert order == []
        holder.kill()
        waiting.join(30)
    assert order == [1]


def test_a_writer_that_fails_does_not_count_as_one_that_got_through(database):
    queue = WriteQueue()
    with queue.turn(database):
        pass
    os.utime(database + SUFFIX, (1, 1))
    with pytest.raises(ZeroDivisionError), queue.turn(database):
        raise ZeroDivisionError
    assert os.stat(database + SUFFIX).st_mtime == 1
    with queue.turn(database):
        pass
    assert os.stat(database + SUFFIX).st_mtime > 1


def test_a_forked_child_does_not_block_its_parent(database):
    queue = WriteQueue()
    reading, writing = os.pipe()
    with queue.turn(database):
        child = os.fork()
        if not child:
            os.read(reading, 1)
            os._exit(0)
    assert is_free(database)
    os.write(writing, b"x")
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)


def test_no_lock_file_is_no_reason_not_to_write(tmp_path):
    with WriteQueue().turn(str(tmp_path / "missing" / "a.db")):
        pass
    (tmp_path / "a.db").touch()
    (tmp_path / ("a.db" + SUFFIX)).symlink_to(tmp_path / "elsewhere")
    with WriteQueue().turn(str(tmp_path / "a.db")):
        pass
    assert not (tmp_path / "elsewhere").exists(), "a link is not followed"


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o644, 0o600), (0o660, 0o660), (0o666, 0o666)])
def test_only_who_may_write_to_the_database_may_lock_its_file(database, mode, expected):
    os.chmod(database, mode)
    with WriteQueue().turn(database):
        pass
    assert os.stat(database + SUFFIX).st_mode & 0o777 == expected


def test_ctrl_c_ends_the_waiting(sqlite_url):
    database = sqlite_url.removeprefix("sqlite:///")
    writer = [sys.executable, "-c", WRITER, sqlite_url, "w", "1"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with lock_held(database), cli_process.Popen(writer, **pipes) as waiting:
        assert waiting.stdout.readline() == b"ready\n"
        waiting.stdin.close()
        ready = f"/proc/{waiting.pid}/task"
        pause = threading.Event()
        assert any(len(os.listdir(ready)) > 1 or pause.wait(0.02) for _ in range(1000)), "its thread waits"
        waiting.send_signal(signal.SIGINT)
        waiting.wait(30)
        assert b"KeyboardInterrupt" in waiting.stderr.read()
    assert is_free(database)
