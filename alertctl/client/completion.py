"""Read the newest deliveries for shell completion, within a short timeout and without side effects."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from urllib.parse import quote

NEWEST = 50
"""Deliveries that are offered."""
TIMEOUT = 0.4
"""Longest wait in seconds after Tab is pressed."""
_QUERY = f"SELECT id, status, address, event_type FROM delivery ORDER BY id DESC LIMIT {NEWEST}"

Row = tuple[str, str, str, str]
"""Id, status, address and event type of a delivery."""


def recent(flags: Mapping[str, object]) -> list[Row]:
    """Return the newest deliveries of the server or database that the settings name, newest first.

    Returns an empty list if there is none, if there is no answer within TIMEOUT, or after any error. It never creates
    or migrates a database. `flags` are settings by NAME, as in `config.load`.
    """
    deliveries: list[Row] = []

    def collect() -> None:
        # Shell completion cannot show an error.
        with suppress(Exception):
            deliveries.extend(_read(flags))

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return list(deliveries)


def _read(flags: Mapping[str, object]) -> Sequence[Row]:
    from alertctl.config import read
    from alertctl.config.database_url import database_url, default_url
    from alertctl.config.folder_trust import refuse_addresses

    values = read(flags=flags)
    if "ALERTCTL_SERVER" in values and values["ALERTCTL_SERVER"].text.strip():
        return _from_server(flags)
    if "DATABASE_URL" in refuse_addresses(values, os.environ):
        return []
    setting = values.get("DATABASE_URL")
    url = database_url(setting.text if setting is not None and setting.text else default_url(os.environ))
    return _from_file(url) if url.startswith("sqlite") else _from_postgres(url)


def _from_server(flags: Mapping[str, object]) -> list[Row]:
    from alertctl.client import connect
    from alertctl.schemas import LogFilter

    with connect(flags) as client:
        items = client.log(LogFilter(), limit=NEWEST).items
    return [(item.id, item.status, item.to, item.event_type) for item in items]


def _from_file(url: str) -> Sequence[Row]:
    """Read with the driver alone: importing SQLAlchemy takes longer than the timeout."""
    import sqlite3

    path = quote(os.path.abspath(url.removeprefix("sqlite:///").partition("?")[0]))
    # Mode `ro`, because the default mode would create the file.
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=TIMEOUT / 2)) as connection:
        return connection.execute(_QUERY).fetchall()


def _from_postgres(url: str) -> Sequence[Row]:
    import psycopg

    dsn = url.replace("postgresql+psycopg://", "postgresql://", 1)
    options = f"-c default_transaction_read_only=on -c statement_timeout={int(TIMEOUT * 1000)}"
    with psycopg.connect(dsn, options=options, application_name="alertctl completion") as connection:
        return connection.execute(_QUERY).fetchall()
