"""A connection to Postgres: its parameters, and how long it waits for an answer."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import URL, Dialect, make_url

from alertctl.errors import ConfigError

log = logging.getLogger("alertctl.db")
RV = TypeVar("RV")
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30
"""Postgres ends a statement that takes longer: a stuck lock must not block a daemon."""
ANSWER_SECONDS = STATEMENT_SECONDS + 10.0
"""A server that is silent for longer is frozen or cut off: it would have ended the statement by then."""
DIRECT = "alertctl.direct"
"""A setting that only a direct connection has: a pooler leaves it out."""
OPTIONS = f"-c statement_timeout={STATEMENT_SECONDS}s -c timezone=UTC -c {DIRECT}=on"

_CREDENTIALS = ("user", "password")


class Connection(psycopg.Connection[Any]):
    """The driver's connection, which gives up and closes when the server is silent for `answer_timeout` seconds.

    Hook into psycopg 3.3 (https://www.psycopg.org/psycopg3/docs/api/connections.html): it has no limit for a silent
    server, and neither keepalives nor `tcp_user_timeout` notice one whose kernel still answers. `pyproject.toml`
    bounds the version, `tests/test_library_contracts.py` checks what `wait` relies on.
    """

    answer_timeout = ANSWER_SECONDS

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        return super().wait(self._with_timeout(gen), *args, **kwargs)

    def _with_timeout(self, steps: PQGen[RV]) -> PQGen[RV]:
        """Raise when nothing arrives in time. The driver takes a step at least every tenth of a second."""
        until = time.monotonic() + self.answer_timeout
        try:
            waiting_for = next(steps)
            while True:
                ready = yield waiting_for
                if not ready and time.monotonic() >= until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer in {self.answer_timeout:.0f} s")
                waiting_for = steps.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def parameters(url: URL) -> dict[str, Any]:
    """Return the parameters of a connection, except those in the URL. Raises ConfigError for an unknown parameter."""
    try:
        make_conninfo("", **dict.fromkeys(url.query, ""))
    except psycopg.ProgrammingError as error:
        raise ConfigError([f"DATABASE_URL: {str(error).strip()}"]) from None
    user_options = url.query.get("options") or os.environ.get("PGOPTIONS") or ""
    defaults = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "alertctl",
        # The server's own encoding may differ; it converts, and refuses what it can't convert.
        "client_encoding": "utf8",
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # Keepalives aren't sent while data is unacknowledged: without this a cut lasts as long as TCP retransmits.
        "tcp_user_timeout": 30_000,
    }
    hosts = url.query.get("host") or url.host or ""
    if not isinstance(hosts, str) or "," in hosts:
        # After a failover the first of them may be the standby.
        defaults["target_session_attrs"] = os.environ.get("PGTARGETSESSIONATTRS") or "read-write"
    return {
        **{name: value for name, value in defaults.items() if name not in url.query},
        "options": f"{user_options if isinstance(user_options, str) else ' '.join(user_options)} {OPTIONS}".strip(),
    }


class Connector:
    """Connects to `url` (SQLAlchemy's event `do_connect`), with the user and the password of `current_url`.

    If these fail, those of the last connection are used: the file with them may be half-written.
    """

    def __init__(self, url: URL, current_url: Callable[[], str] | None) -> None:
        self._url, self._current_url = url, current_url
        self._working: dict[str, Any] | None = None
        self._problem = ""

    def __call__(self, dialect: Dialect, _record: Any, arguments: Any, named: Mapping[str, Any]) -> Connection:
        raw = self._connect(dialect, arguments, {**named, "autocommit": True})
        setting = raw.execute(f"SELECT current_setting('{DIRECT}', true)").fetchone()
        if setting is None or setting[0] != "on":
            # A pooler may run each transaction on another connection, which doesn't know the prepared statements.
            raw.prepare_threshold = None
        raw.autocommit = False
        return raw

    def _connect(self, dialect: Dialect, arguments: Any, named: dict[str, Any]) -> Connection:
        if self._current_url is None:
            return Connection.connect(*arguments, **named)
        credentials: dict[str, Any] | None = None
        try:
            credentials = _credentials(self._url, make_url(self._current_url()), dialect)
            raw = Connection.connect(*arguments, **named | credentials)
        except psycopg.OperationalError as error:
            if self._working is None or self._working == credentials:
                raise
            raw = Connection.connect(*arguments, **named | self._working)
            if (problem := str(error).partition("\n")[0]) != self._problem:
                log.warning("%s; the last user and password stay in use", problem)
                self._problem = problem
            return raw
        self._working, self._problem = credentials, ""
        return raw


def _credentials(url: URL, current: URL, dialect: Dialect) -> dict[str, Any]:
    """Return the user and the password of `current`. Raises OperationalError when it names another database.

    The process's other connections lead to the database of `url`.
    """
    if _without_credentials(url) != _without_credentials(current):
        raise psycopg.OperationalError("DATABASE_URL_FILE names another database now; restart alertctl")
    named = dialect.create_connect_args(current)[1]
    return {name: named[name] for name in _CREDENTIALS if name in named}


def _without_credentials(url: URL) -> URL:
    return url.difference_update_query(_CREDENTIALS).set(username="", password="")
