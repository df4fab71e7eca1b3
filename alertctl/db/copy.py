"""Moving a delivery log with its users, preferences and tokens to another database.

The source is read as it was at one moment, so nobody's writing disturbs; the target is brought to the same state, table
after table, parents first. A copy that was interrupted, or that is done again later, compares what is there and writes
only the difference, so it ends with the source's rows, each once. Rows of which the target may be the only holder are
never touched: it has to be empty at first, or to hold nothing but an earlier copy of the same source.
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
from alertctl.db.copy_table import Difference, Row, Transfer
from alertctl.db.engine import Store, insert_new
from alertctl.errors import AlertctlError, ConfigError
from alertctl.models import Status

Advance = Callable[[str, int, int], None]
"""Is told of a table, how many of its rows are done, and how many it has."""

_ALL = SQLModel.metadata.tables
MODELS = (
    *(models.User, models.Token, models.Preference, models.EventPreference),
    *(models.Event, models.Delivery, models.Attempt, models.EventKey, models.Pause, models.Run),
)
TABLES = tuple(_ALL[str(model.__tablename__)] for model in MODELS)
"""What is copied, parents first."""
NOT_COPIED = {
    "tick": "the number of a database's own last change",
    "tally": "how many deliveries there are: triggers count what arrives",
    "breaker_report": "the open circuit breakers of the daemons that run on a database",
    "probe_request": "how often these daemons were asked to probe",
}
"""What each database keeps for itself, and why it stays."""

_users, _token, _preference, _event, _delivery, _run = (
    _ALL[str(model.__tablename__)]
    for model in (models.User, models.Token, models.Preference, models.Event, models.Delivery, models.Run)
)
MARK = "copy"
"""The job of the row in the target's `run` that says whose copy it is."""
_ONLY: dict[str, Sequence[Any]] = {"run": (_run.c.job != MARK,)}
_ITS_OWN = {"pause", "run"}
"""Tables in which a daemon leaves rows although it has nothing to lose yet."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a copy did. `moved`: the source has changed meanwhile; `used`: somebody sends from the target already.

    `sending`: deliveries that somebody had claimed in the source and whose lease still ran.
    """

    tables: tuple[Difference, ...]
    sending: int
    moved: bool
    used: bool

    @property
    def is_complete(self) -> bool:
        return not self.moved and not self.used and all(one.source == one.target for one in self.tables)


def copy(
    source: Store, target: Store, now: datetime, advance: Advance = lambda _table, _done, _all: None
) -> CopyResult:
    """Bring `target` to the state of `source`; both are migrated.

    Raises ConfigError (naming `--to`) when the target is the source or holds anything else than a copy of it,
    Unreachable, or AlertctlError with the name of a table whose rows the target refused.
    """
    with source.reading() as snapshot:
        _hold_still(snapshot)
        before = _pulse(snapshot)
        with target.reading() as there:
            _refuse_same(snapshot, there)
            _refuse_foreign(there, _whose(source, snapshot))
        target.write(lambda connection: _sign(connection, _whose(source, snapshot), now))
        tables = _transferred(snapshot, target, advance)
    with source.reading() as later, target.reading() as there:
        return CopyResult(tables, _sending(later, now), moved=_pulse(later) != before, used=_is_used(there))


def _transferred(snapshot: Connection, target: Store, advance: Advance) -> tuple[Difference, ...]:
    transfers = [
        Transfer(table, snapshot, target, _ONLY.get(table.name, ()), _REFUSE.get(table.name, _accept))
        for table in TABLES
    ]
    for one in transfers:
        _refuse_unknown(one)
    for one in transfers:
        with _named(one.done.table):
            _fill(one, advance)
    for one in reversed(transfers):
        # All that the source has is there now; so only a count that is too high means that there is more.
        if one.compare().target > one.done.source:
            one.remove()
    return tuple(one.compare() for one in transfers)


def _fill(one: Transfer, advance: Advance) -> None:
    done = 0

    def step(rows: int) -> None:
        nonlocal done
        done += rows
        advance(one.done.table, done, one.done.source)

    step(0)
    one.fill(step)


@contextmanager
def _named(table: str) -> Iterator[None]:
    """What the target refuses, as one line."""
    try:
        yield
    except (exc.DataError, exc.IntegrityError, exc.ProgrammingError) as error:
        said = (str(error.orig).splitlines() or [type(error).__name__])[0]
        raise AlertctlError(f"{table}: the target refuses a row: {said[:200]}") from error


# --- the source ---


def _hold_still(connection: Connection) -> None:
    """From here on the connection sees one moment. SQLite's transactions do by themselves."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def _pulse(connection: Connection) -> tuple[Any, ...]:
    """Differs when something has happened between two looks: an event, a delivery's new state, a user, a preference."""
    newest = (func.max(_event.c.id), func.max(_delivery.c.change), func.max(_preference.c.updated_at))
    counts = (select(func.count()).select_from(table) for table in (_users, _token))
    return tuple(connection.execute(query).scalar() for query in (*map(select, newest), *counts))


def _sending(connection: Connection, now: datetime) -> int:
    leased = (_delivery.c.status == Status.SENDING.value, _delivery.c.next_attempt_at > now)
    return int(connection.execute(select(func.count()).select_from(_delivery).where(*leased)).scalar_one())


def _whose(source: Store, snapshot: Connection) -> str:
    """The source's place as the mark in the target names it: 32 characters that give nothing away."""
    url = source.url
    place = _file(snapshot) if source.is_sqlite else f"{url.host or url.query.get('host')}:{url.port}/{url.database}"
    return sha256(place.encode()).hexdigest()[:32]


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
    # Two addresses may lead to one database; a lock that is taken in it can't be taken there once more.
    key = {"key": secrets.randbits(62)}
    source.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)
    return not target.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), key).scalar()


def _refuse_foreign(target: Connection, whose: str) -> None:
    marks = set(target.execute(select(_run.c.period).where(_run.c.job == MARK)).scalars())
    if marks - {whose}:
        raise _foreign("the copy of another database")
    if _is_used(target):
        raise _foreign("deliveries that are its own by now: somebody has sent from it")
    for table in () if marks else TABLES:
        if table.name not in _ITS_OWN and target.execute(select(table).limit(1)).first() is not None:
            raise _foreign(f"rows in {table.name} that no copy has brought")


def _is_used(target: Connection) -> bool:
    """A copied delivery has no change number; whatever works with it gives it one."""
    return target.execute(select(_delivery.c.id).where(_delivery.c.change > 0).limit(1)).first() is not None


def _refuse_unknown(one: Transfer) -> None:
    """A user or token that the source lacks may have been made in the target: a person decides."""
    if one.done.table in (_users.name, _token.name) and (found := next(one.unknown(), None)):
        what = f"a row in {one.done.table} that the database to be copied doesn't have (id {found[0][0]})"
        raise _foreign(what, "if that user was removed since, run alertctl user remove there, too; else ")


def _refuse_used(there: Row, here: Row) -> None:
    if there["updated_at"] > here["updated_at"]:
        raise _foreign("deliveries that are its own by now: somebody sends from it")


def _accept(_there: Row, _here: Row) -> None:
    """Any other table's rows: the source is right."""


_REFUSE = {_delivery.name: _refuse_used}


def _foreign(what: str, fix: str = "") -> ConfigError:
    return ConfigError([f"--to: holds {what}; {fix}name an empty database, or the one that this copy was begun in"])


def _sign(connection: Connection, whose: str, now: datetime) -> None:
    insert_new(connection, _run, [{"job": MARK, "period": whose, "started_at": now}])
