"""The newest deliveries for a shell's completion: at once or not at all, and without a trace."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple
from urllib.parse import quote

NEWEST = 50
"""Deliveries that are offered."""
PATIENCE = 0.4
"""Seconds that somebody who pressed Tab waits at most."""
_QUERY = f"SELECT id, status, address, event_type FROM delivery ORDER BY id DESC LIMIT {NEWEST}"


class Recent(NamedTuple):
    """A delivery as a completion tells of it."""

    id: str
    status: str
    to: str
    event_type: str


def recent(flags: Mapping[str, object]) -> list[Recent]:
    """The newest deliveries of the server or database that the settings name, the newest first.

    Nothing when there is none, when it doesn't answer within PATIENCE, or when anything is wrong: never an error. A
    database is only read: none is made, none is migrated. `flags` are settings by NAME, as `config.load` takes them.
    """
    found: list[Recent] = []
    asking = threading.Thread(target=_ask, args=(flags, found), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return list(found)


def _ask(flags: Mapping[str, object], found: list[Recent]) -> None:
    try:
        found += _read(flags)
    except Exception:
        # A shell that is completing a word has no place for an error.
        return


def _read(flags: Mapping[str, object]) -> list[Recent]:
    from alertctl.config import read
    from alertctl.config.database_url import database_url, default_url
    from alertctl.config.trust import refuse_addresses

    values = read(flags=flags)
    if "ALERTCTL_SERVER" in values and values["ALERTCTL_SERVER"].text.strip():
        return list(_from_server(flags))
    if "DATABASE_URL" in refuse_addresses(values, os.environ):
        return []
    named = values.get("DATABASE_URL")
    url = database_url(named.text if named is not None and named.text else default_url(os.environ))
    rows = _from_file(url) if url.startswith("sqlite") else _from_postgres(url)
    return [Recent(*row) for row in rows]


def _from_server(flags: Mapping[str, object]) -> Iterator[Recent]:
    from alertctl.client import connect
    from alertctl.schemas import LogFilter

    with connect(flags) as client:
        for one in client.log(LogFilter(), limit=NEWEST).items:
            yield Recent(one.id, one.status, one.to, one.event_type)


def _from_file(url: str) -> Sequence[tuple[str, str, str, str]]:
    """By the bare driver: SQLAlchemy alone would take longer to import than anybody waits."""
    import sqlite3

    path = quote(os.path.abspath(url.removeprefix("sqlite:///").partition("?")[0]))
    # A second connection mode than our own: `ro` makes no file, where the default would.
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE / 2)) as connection:
        return connection.execute(_QUERY).fetchall()


def _from_postgres(url: str) -> Sequence[tuple[str, str, str, str]]:
    import psycopg

    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    options = f"-c default_transaction_read_only=on -c statement_timeout={int(PATIENCE * 1000)}"
    with psycopg.connect(plain, options=options, application_name="alertctl completion") as connection:
        return connection.execute(_QUERY).fetchall()
