"""The yardstick of CPU: claim, send, record with nothing but urllib3 and raw SQL, as lean as Python allows.

    python -m tests.benchmarks.children.bare DATABASE_URL API_URL CA_FILE SENDERS

One table, one update for a claim and one batch for results, a short message of f-strings, no retries, no log of
attempts, no metrics. Each line of stdin is a number of alerts: they are put in first, then sent, and one line of JSON
tells the `seconds` and CPU seconds (`cpu`) of the sending alone.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import urllib3

TABLE = "CREATE TABLE bare (id BIGINT PRIMARY KEY, flag TEXT, status TEXT, attempts INT, due DOUBLE PRECISION, ts TEXT)"
INDEX = "CREATE INDEX bare_due ON bare (due) WHERE due IS NOT NULL"
PUT = "INSERT INTO bare VALUES (?, ?, 'pending', 0, 0, NULL)"
CLAIM = """UPDATE bare SET status = 'sending', attempts = attempts + 1, due = ?
WHERE id IN (SELECT id FROM bare WHERE due <= ? ORDER BY due LIMIT ?) RETURNING id, flag"""
RECORD = "UPDATE bare SET status = 'success', due = NULL, ts = ? WHERE id = ?"
LEASE = 30.0
GATHER = 64
"""Results that are written together, as alertctl does."""


class Database:
    """SQLite with every commit on disk, or Postgres: the same few statements."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self.connection = self._sqlite(url) if self.is_sqlite else self._postgres(url)
        self.cursor = self.connection.cursor()
        for statement in (TABLE, INDEX):
            self.cursor.execute(statement)
        self.connection.commit()

    def _sqlite(self, url: str) -> Any:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _postgres(self, url: str) -> Any:
        import psycopg

        return psycopg.connect(url.replace("+psycopg", ""))

    def _to_dialect(self, sql: str) -> str:
        return sql if self.is_sqlite else sql.replace("?", "%s")

    def put(self, count: int) -> None:
        first = time.monotonic_ns()
        self.cursor.executemany(self._to_dialect(PUT), [(first + n, f"flag-{n}") for n in range(count)])
        self.connection.commit()

    def exchange(self, ended: Sequence[tuple[str, int]], room: int) -> list[Any]:
        """Record what has ended and claim as many, in one transaction."""
        if ended:
            self.cursor.executemany(self._to_dialect(RECORD), ended)
        now = time.time()
        self.cursor.execute(self._to_dialect(CLAIM), (now + LEASE, now, room))
        taken: list[Any] = self.cursor.fetchall()
        self.connection.commit()
        return taken


def message(flag: str) -> bytes:
    text = f"{flag} was rolled back for safety in production: error_rate was 7.14%, above the threshold of 5%."
    names = {"Feature flag": flag, "Environment": "production", "Metric": "error_rate", "Value": "7.14%"}
    fields = [{"type": "mrkdwn", "text": f"*{name}*\n{value}"} for name, value in names.items()]
    header = {"type": "header", "text": {"type": "plain_text", "text": f"Critical: Safety rollback: {flag}"}}
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    blocks = [header, section, {"type": "section", "fields": fields}]
    return json.dumps({"channel": "#ops", "text": text, "blocks": blocks}).encode()


class Sending:
    """Threads that post what they find in one queue and put the answer into another."""

    def __init__(self, url: str, ca_file: str, senders: int) -> None:
        self._url = f"{url}/api/chat.postMessage"
        self._pool = urllib3.PoolManager(maxsize=senders, ca_certs=ca_file)
        self.jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        for _ in range(senders):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        headers = {"Authorization": "Bearer xoxb-benchmark", "Content-Type": "application/json"}
        while True:
            number, flag = self.jobs.get()
            reply = self._pool.urlopen("POST", self._url, body=message(flag), headers=headers, retries=False)
            answer = json.loads(reply.data)
            assert reply.status == 200, reply.status
            assert answer["ok"], answer
            self.ended.put((answer["ts"], number))

    def gather(self) -> list[tuple[str, int]]:
        """The next results, up to GATHER; waits for the first, and a moment for more."""
        results = [self.ended.get()]
        until = time.monotonic() + 0.01
        while len(results) < GATHER and (remaining := until - time.monotonic()) > 0:
            try:
                results.append(self.ended.get(timeout=remaining))
            except queue.Empty:
                break
        return results


def run(database: Database, sending: Sending, count: int, senders: int) -> dict[str, float]:
    database.put(count)
    began, cpu, out, done = time.monotonic(), time.process_time(), 0, 0
    ended: list[tuple[str, int]] = []
    while done < count:
        for job in database.exchange(ended, 2 * senders - out):
            sending.jobs.put(job)
            out += 1
        ended = sending.gather()
        done, out = done + len(ended), out - len(ended)
    database.exchange(ended, 0)
    return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    url, api, ca_file, senders = sys.argv[1:]
    database, sending = Database(url), Sending(api, ca_file, int(senders))
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(database, sending, int(line), int(senders))), flush=True)
