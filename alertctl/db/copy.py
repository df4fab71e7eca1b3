"""Copy a delivery log with its users, preferences and tokens to another database.

The source is read in one snapshot, so concurrent writes don't matter. The target is brought to the same state, table
after table, parents first. A copy that was interrupted or is repeated compares both and writes only the difference, so
it ends with the source's rows, each once. Rows that may exist only in the target are never touched: it must be empty,
or hold nothing but an earlier copy of the same source.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, exc, func, select, text
from sqlmodel import SQLModel

from alertctl import models
from alertctl.db.copy_table import Difference, Row, TableCopy
from alertctl.db.engine import Store, insert_new
from alertctl.errors import AlertctlError, ConfigError
from alertctl.models import Status

Advance = Callable[[str, int, int], None]
"""Called with a table, the number of its rows that are done, and of all its rows."""

_ALL = SQLModel.metadata.tables
MODELS = (
    *(models.User, models.Token, models.Preference, models.EventPreference),
    *(models.Event, models.Delivery, models.Attempt, models.EventKey, models.Pause, models.Run),
)
TABLES = tuple(_ALL[str(model.__tablename__)] for model in MODELS)
"""The tables that are copied, parents first."""
NOT_COPIED = {
    "change_counter": "the number of a database's own last change",
    "delivery_count": "how many deliveries there are: triggers count what arrives",
    "breaker_report": "the open circuit breakers of the daemons that run on a database",
    "probe_request": "how often these daemons were asked to probe",
}
"""The tables that are not copied, and what they hold."""

_users, _token, _preference, _event, _delivery, _run = (
    _ALL[str(model.__tablename__)]
    for model in (models.User, models.Token, models.Preference, models.Event, models.Delivery, models.Run)
)
MARK = "copy"
"""The job of the row in the target's `run` that names the source of the copy."""
_ONLY: dict[str, Sequence[Any]] = {"run": (_run.c.job != MARK,)}
_MAY_HAVE_ROWS = {"pause", "run"}
"""Tables in which a daemon that has just started leaves rows: they may be overwritten."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """The result of a copy. `moved`: the source changed meanwhile. `used`: a process already sends from the target.

    `sending`: deliveries that were claimed in the source and whose lease had not ended.
    """

    tables: tuple[Difference, ...]
    sending: int
    moved: bool
    used: bool

    @property
    def is_complete(self) -> bool:
        return not self.moved and not self.used and all(table.source == table.target for table in self.tables)


def copy(
    source: Store, target: Store, now: datetime, advance: Advance = lambda _table, _done, _all: None
) -> CopyResult:
    """Bring `target` to the state of `source`; both are migrated.

    Raises ConfigError (naming `--to`) when the target is the source or holds anything else than a copy of it,
    Unreachable, or AlertctlError with the name of a table whose rows the target refused.
    """
    with source.reading() as snapshot:
        _freeze(snapshot)
        before = _fingerprint(snapshot)
        with target.reading() as there:
            _refuse_same(snapshot, there)
            _refuse_foreign(there, _source_id(source, snapshot))
        target.write(lambda connection: _write_mark(connection, _source_id(source, snapshot), now))
        tables = _copy_tables(snapshot, target, advance)
    with source.reading() as later, target.reading() as there:
        return CopyResult(tables, _count_sending(later, now), moved=_fingerprint(later) != before, used=_is_used(there))


def _copy_tables(snapshot: Connection, target: Store, advance: Advance) -> tuple[Difference, ...]:
    transfers = [
        TableCopy(table, snapshot, target, _ONLY.get(table.name, ()), _REFUSE.get(table.name, _allow))
        for table in TABLES
    ]
    for transfer in transfers:
        _refuse_unknown(transfer)
    for transfer in transfers:
        with _name_table(transfer.done.table):
            _fill(transfer, advance)
    for transfer in reversed(transfers):
        # The target has all of the source's rows now: a higher count means that it has others, too.
        if transfer.compare().target > transfer.done.source:
            transfer.remove()
    return tuple(transfer.compare() for transfer in transfers)


def _fill(transfer: TableCopy, advance: Advance) -> None:
    done = 0

    def step(rows: int) -> None:
        nonlocal done
        done += rows
        advance(transfer.done.table, done, transfer.done.source)

    step(0)
    transfer.fill(step)


@contextmanager
def _name_table(table: str) -> Iterator[None]:
    """Raise AlertctlError in one line, with the table's name, when the target refuses a row."""
    try:
        yield
    except (exc.DataError, exc.IntegrityError, exc.ProgrammingError) as error:
        message = (str(error.orig).splitlines() or [type(error).__name__])[0]
        raise AlertctlError(f"{table}: the target refuses a row: {message[:200]}") from error


# --- the source ---


def _freeze(connection: Connection) -> None:
    """Read one snapshot from here on. SQLite's transactions do so by themselves."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def _fingerprint(connection: Connection) -> tuple[Any, ...]:
    """Return a value that changes with each event, new state of a delivery, user, token or preference."""
    newest = (func.max(_event.c.id), func.max(_delivery.c.change), func.max(_preference.c.updated_at))
    counts = (select(func.count()).select_from(table) for table in (_users, _token))
    return tuple(connection.execute(query).scalar() for query in (*map(select, newest), *counts))


def _count_sending(connection: Connection, now: datetime) -> int:
    leased = (_delivery.c.status == Status.SENDING.value, _delivery.c.next_attempt_at > now)
    return int(connection.execute(select(func.count()).select_from(_delivery).where(*leased)).scalar_one())


def _source_id(source: Store, snapshot: Connection) -> str:
    """Return a hash of the source's address, by which the mark in the target names it."""
    url = source.url
    address = _file(snapshot) if source.is_sqlite else f"{url.host or url.query.get('host')}:{url.port}/{url.database}"
    return sha256(address.encode()).hexdigest()[:32]


def _file(connection: Connection) -> str:
    query = text("SELECT file FROM pragma_database_list WHERE name = 'main'")
    return os.path.realpath(str(connection.execute(query).scalar()))


# --- the target ---


def _refuse_same(source: Connection, target: Connection) -> None:
    if source.dialect.name == target.dialect.name and _is_same(source, target):
        raise ConfigError(["--to: is the database that is to be copied"])


def _is_same(source: Connection, target: Connection) -> bool:
    if source.dialect.name == "sqlite":
        with suppress(OSError):
            return os.path.samefile(_file(source), _file(target))
        return False
    # Two addresses may lead to one database: then a lock taken through one can't be taken through the other.
    key = {"key": secrets.randbits(62)}
    source.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)
    return not target.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), key).scalar()


def _refuse_foreign(target: Connection, source_id: str) -> None:
    marks = set(target.execute(select(_run.c.period).where(_run.c.job == MARK)).scalars())
    if marks - {source_id}:
        raise _not_a_copy("the copy of another database")
    if _is_used(target):
        raise _not_a_copy("deliveries that are its own by now: somebody has sent from it")
    for table in () if marks else TABLES:
        if table.name not in _MAY_HAVE_ROWS and target.execute(select(table).limit(1)).first() is not None:
            raise _not_a_copy(f"rows in {table.name} that no copy has brought")


def _is_used(target: Connection) -> bool:
    """Return whether a process has worked with the copy: it gives deliveries a change number, a copy does not."""
    return target.execute(select(_delivery.c.id).where(_delivery.c.change > 0).limit(1)).first() is not None


def _refuse_unknown(transfer: TableCopy) -> None:
    """Refuse a user or token that only the target has, which may have been made there: a person decides."""
    if transfer.done.table in (_users.name, _token.name) and (keys := next(transfer.unknown(), None)):
        what = f"a row in {transfer.done.table} that the database to be copied doesn't have (id {keys[0][0]})"
        raise _not_a_copy(what, "if that user was removed since, run alertctl user remove there, too; else ")


def _refuse_used(there: Row, here: Row) -> None:
    if there["updated_at"] > here["updated_at"]:
        raise _not_a_copy("deliveries that are its own by now: somebody sends from it")


def _allow(_there: Row, _here: Row) -> None:
    """Overwrite rows of all other tables: the source decides."""


_REFUSE = {_delivery.name: _refuse_used}


def _not_a_copy(what: str, fix: str = "") -> ConfigError:
    return ConfigError([f"--to: holds {what}; {fix}name an empty database, or the one that this copy was begun in"])


def _write_mark(connection: Connection, source_id: str, now: datetime) -> None:
    insert_new(connection, _run, [{"job": MARK, "period": source_id, "started_at": now}])
