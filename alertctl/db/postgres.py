"""A connection to Postgres: what it asks the server for, and how long it waits for an answer."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import URL

from alertctl.errors import ConfigError

RV = TypeVar("RV")
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30
"""Postgres ends a statement of ours that lasts longer: a wedged lock must not wedge a daemon."""
ANSWER_SECONDS = STATEMENT_SECONDS + 10.0
"""A server that is silent for longer is frozen, or the network is cut: it would have ended the statement by then."""
DIRECT = "alertctl.direct"
"""A setting of our own that only the server's own connection has: a pooler leaves it out."""
OURS = f"-c statement_timeout={STATEMENT_SECONDS}s -c timezone=UTC -c {DIRECT}=on"


class Connection(psycopg.Connection[Any]):
    """The driver's connection, which gives up and closes when the server is silent for `patience` seconds.

    Hook into psycopg 3.3 (https://www.psycopg.org/psycopg3/docs/api/connections.html): it has no limit for a silent
    server, and neither keepalives nor `tcp_user_timeout` notice one whose kernel still answers. `pyproject.toml`
    bounds the version, `tests/test_library_contracts.py` checks what `wait` relies on.
    """

    patience = ANSWER_SECONDS

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        return super().wait(self._patient(gen), *args, **kwargs)

    def _patient(self, steps: PQGen[RV]) -> PQGen[RV]:
        """The driver takes a step at least every tenth of a second, also when nothing has come."""
        until = time.monotonic() + self.patience
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() >= until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer in {self.patience:.0f} s")
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def parameters(url: URL) -> dict[str, Any]:
    """What a connection is made with beside the URL, which wins. Raises ConfigError for a parameter that is none."""
    try:
        make_conninfo("", **dict.fromkeys(url.query, ""))
    except psycopg.ProgrammingError as error:
        raise ConfigError([f"DATABASE_URL: {str(error).strip()}"]) from None
    theirs = url.query.get("options") or os.environ.get("PGOPTIONS") or ""
    ours = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "alertctl",
        # The server's own encoding may be another; it translates, and refuses what it can't.
        "client_encoding": "utf8",
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # Keepalives aren't sent while something is on its way: without this a cut lasts as long as TCP's own tries.
        "tcp_user_timeout": 30_000,
    }
    if _has_several_hosts(url):
        # After a failover the first of them may be the standby.
        ours["target_session_attrs"] = os.environ.get("PGTARGETSESSIONATTRS") or "read-write"
    return {
        **{name: value for name, value in ours.items() if name not in url.query},
        "options": f"{theirs if isinstance(theirs, str) else ' '.join(theirs)} {OURS}".strip(),
    }


def _has_several_hosts(url: URL) -> bool:
    hosts = url.query.get("host") or url.host or ""
    return not isinstance(hosts, str) or "," in hosts


def connect(_dialect: Any, _record: Any, arguments: Any, named: Mapping[str, Any]) -> Connection:
    """For SQLAlchemy's event `do_connect`."""
    raw = Connection.connect(*arguments, **{**named, "autocommit": True})
    found = raw.execute(f"SELECT current_setting('{DIRECT}', true)").fetchone()
    if found is None or found[0] != "on":
        # A pooler may hand each transaction to another of its connections, which doesn't know what was prepared.
        raw.prepare_threshold = None
    raw.autocommit = False
    return raw
