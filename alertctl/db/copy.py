"""Copy a delivery log with its users, preferences and tokens to another database.

The source is read in one snapshot, so concurrent writes don't matter. The target is brought to the same state, table
after table, parents first. A copy that was interrupted or is repeated compares both and writes only the difference, so
it ends with the source's rows, each once. Rows that may exist only in the target are never touched: it must be empty,
or hold nothing but an earlier copy of the same source.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, exc, func, select, text

from alertctl import models
from alertctl.db.copy_table import MARK, Advance, Difference, TableCopy, not_a_copy
from alertctl.db.engine import Store, database_file, insert_new
from alertctl.errors import AlertctlError, ConfigError
from alertctl.models import Status

MODELS = (
    *(models.User, models.Token, models.Preference, models.EventPreference),
    *(models.Event, models.EventLabel, models.Delivery, models.Attempt, models.EventKey),
    *(models.Thread, models.Pause, models.Run),
)
TABLES = tuple(models.table_of(model) for model in MODELS)
"""The tables that are copied, parents first."""
NOT_COPIED = {
    "change_counter": "the number of a database's own last change",
    "delivery_count": "how many deliveries there are: triggers count what arrives",
    "breaker_report": "the open circuit breakers of the daemons that run on a database",
    "probe_request": "how often these daemons were asked to probe",
    "instance": "these daemons and the hash of their routes",
    "person": "people's ids at a provider, which are looked up again",
}
"""The tables that are not copied, and what they hold."""

_users, _token, _preference, _event, _delivery, _run = (
    models.table_of(model)
    for model in (models.User, models.Token, models.Preference, models.Event, models.Delivery, models.Run)
)
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
        if not source.is_sqlite:
            # Read one snapshot from here on, as SQLite's transactions do by default.
            snapshot.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        before, source_id = _fingerprint(snapshot), _source_id(source, snapshot)
        with target.reading() as connection:
            if source.is_sqlite == target.is_sqlite and _is_same(snapshot, connection):
                raise ConfigError(["--to: is the source database itself; name another one"])
            _refuse_foreign(connection, source_id)
        mark = {"job": MARK, "period": source_id, "started_at": now}
        target.write(insert_new, _run, [mark])
        tables = _copy_tables(snapshot, target, advance)
    with source.reading() as later, target.reading() as copied:
        leased = (_delivery.c.status == Status.SENDING.value, _delivery.c.next_attempt_at > now)
        sending = later.execute(select(func.count()).select_from(_delivery).where(*leased)).scalar_one()
        return CopyResult(tables, sending, moved=_fingerprint(later) != before, used=_is_used(copied))


def _copy_tables(snapshot: Connection, target: Store, advance: Advance) -> tuple[Difference, ...]:
    transfers = [TableCopy(table, snapshot, target) for table in TABLES]
    for table, transfer in zip(TABLES, transfers, strict=True):
        # A user or token that only the target has may have been made there: a person decides.
        if table in (_users, _token) and (keys := next(transfer.unknown(), None)):
            what = f"contains a row in {table.name} that the source doesn't have (id {keys[0][0]})"
            raise not_a_copy(what, "if that user was removed since, run alertctl user remove there too; otherwise ")
    for transfer in transfers:
        try:
            transfer.fill(advance)
        except (exc.DataError, exc.IntegrityError, exc.ProgrammingError) as error:
            message = (str(error.orig).splitlines() or [type(error).__name__])[0]
            raise AlertctlError(f"{transfer.done.table}: the target refuses a row: {message[:200]}") from error
    for transfer in reversed(transfers):
        # The target has all of the source's rows now: a higher count means that it has others, too.
        if transfer.compare().target > transfer.done.source:
            transfer.remove()
    return tuple(transfer.compare() for transfer in transfers)


def _fingerprint(connection: Connection) -> tuple[Any, ...]:
    """Return a value that changes with each event, new state of a delivery, user, token or preference."""
    newest = (func.max(_event.c.id), func.max(_delivery.c.change), func.max(_preference.c.updated_at))
    counts = (select(func.count()).select_from(table) for table in (_users, _token))
    return tuple(connection.execute(query).scalar() for query in (*map(select, newest), *counts))


def _source_id(source: Store, snapshot: Connection) -> str:
    """Return a hash of the source's address, by which the mark in the target names it."""
    url = source.url
    server = f"{url.host or url.query.get('host')}:{url.port}/{url.database}"
    address = os.path.realpath(database_file(snapshot)) if source.is_sqlite else server
    return sha256(address.encode()).hexdigest()[:32]


def _is_same(source: Connection, target: Connection) -> bool:
    """Return whether two connections of one kind lead to the same database."""
    if source.dialect.name == "sqlite":
        with suppress(OSError):
            return os.path.samefile(database_file(source), database_file(target))
        return False
    # Two addresses may lead to one database: then a lock taken through one can't be taken through the other.
    key = {"key": secrets.randbits(62)}
    source.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)
    return not target.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), key).scalar()


def _refuse_foreign(target: Connection, source_id: str) -> None:
    marks = set(target.execute(select(_run.c.period).where(_run.c.job == MARK)).scalars())
    if marks - {source_id}:
        raise not_a_copy("contains a copy of another database")
    if _is_used(target):
        raise not_a_copy("is already in use: alertctl has sent deliveries from it")
    for table in () if marks else TABLES:
        if table.name not in _MAY_HAVE_ROWS and target.execute(select(table).limit(1)).first() is not None:
            raise not_a_copy(f"contains rows in {table.name} that are not from a copy")


def _is_used(target: Connection) -> bool:
    """Return whether a process has worked with the copy: it gives deliveries a change number, a copy does not."""
    return target.execute(select(_delivery.c.id).where(_delivery.c.change > 0).limit(1)).first() is not None
