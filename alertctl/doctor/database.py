"""The database: reachable, writable, current; and the state of deliveries and providers in the delivery log.

No row is changed: the write that proves that writes are possible changes nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, func, select, text

from alertctl.config import Settings
from alertctl.db import HEAD, Store, current_version, refuse_unusable
from alertctl.db.sqlite import file_of
from alertctl.delivery_log.queue_status import deliveries_wait, queue_status
from alertctl.delivery_log.tables import attempt, delivery
from alertctl.doctor.result import CheckEnded, CheckResult, failure, fix_for_pauses, ok, unknown, warning
from alertctl.doctor.runner import CheckRun
from alertctl.errors import ConfigError, Reason, Unreachable
from alertctl.models import Status
from alertctl.schemas import Paused

LATE_SECONDS = 300.0
"""How late a due delivery may be without a warning: a daemon claims a due one within seconds."""
_REACH_IT_ON_NETWORK = "Check DATABASE_URL, that its server runs, and that this machine may connect to it."
_SQLITE_PERMISSIONS = "the permissions of that file, of its -wal and -shm files if there are any, and of its folder."
_REACH_IT_ON_DISK = f"Check DATABASE_URL (alertctl config show), and {_SQLITE_PERMISSIONS}"
_WRITE_ON_NETWORK = (
    "If this server became a standby, point DATABASE_URL at the primary. Otherwise set "
    "default_transaction_read_only to off, and check the role's rights (GRANT) and the server's disk."
)
_WRITE_ON_DISK = f"Check the free disk space (df), and {_SQLITE_PERMISSIONS}"
_GRANT = (
    "As the owner, run alertctl db upgrade, then give this role its rights (GRANT; see Postgres in docs/operations.md)."
)
_NOT_REACHABLE = unknown("not checked: the database is not reachable")
_CREATE_IT = "Correct DATABASE_URL (alertctl config show), or the permissions of that folder."
_MADE_BY_USE = "Nothing to do if this is a new installation; else correct DATABASE_URL (alertctl config show)."


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """The opened database. `version` is None when it is empty. `missing` is the path of a missing SQLite file.

    `write_error` is why it takes no writes.
    """

    store: Store | None
    version: str | None = None
    write_error: str = ""
    missing: str = ""


def check_reachable(check_run: CheckRun) -> CheckResult:
    on_disk = file_of(check_run.settings.database.url) is not None
    try:
        log = check_run.cached(open_log)
    except Unreachable as error:
        return failure(str(error), _fix(str(error), _REACH_IT_ON_DISK if on_disk else _REACH_IT_ON_NETWORK))
    if log.store is None:
        if obstacle := _obstacle(log.missing):
            return failure(f"{log.missing} can't be created: {obstacle}", _CREATE_IT)
        return warning(f"{log.missing} does not exist yet; the first command creates it", _MADE_BY_USE)
    if log.write_error:
        fix = _fix(log.write_error, _WRITE_ON_DISK if on_disk else _WRITE_ON_NETWORK)
        return failure(f"is not writable: {log.write_error}", fix)
    return ok(log.store.shown)


def late_result(settings: Settings) -> CheckResult:
    """Return the result when the database doesn't answer in time: an SQLite file is then locked, or its disk hangs."""
    file = file_of(settings.database.url)
    unlock = (
        f"Find the program that locks the file: fuser -v {shlex.quote(str(file))}. If there is none, check the disk."
    )
    return failure("the database doesn't answer", unlock if file else _REACH_IT_ON_NETWORK)


def _fix(error: str, default: str) -> str:
    return _GRANT if "permission denied" in error else default


def _obstacle(file: str) -> str:
    """Return why a file can't be created where it is missing, empty if it can."""
    folder = next(str(parent) for parent in Path(file).absolute().parents if os.path.exists(parent))
    if not os.path.isdir(folder):
        return f"{folder} is not a folder"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} is not writable"


def check_migrations(check_run: CheckRun) -> CheckResult:
    try:
        log = check_run.cached(open_log)
    except (Unreachable, ConfigError):
        return _NOT_REACHABLE
    if log.version == HEAD:
        return ok(f"current (version {HEAD})")
    if log.store is None:
        return _NOT_REACHABLE if _obstacle(log.missing) else ok("the first command creates the tables")
    if log.version is None:
        try:
            with log.store.reading() as connection:
                refuse_unusable(log.store, connection, None)
        except ConfigError as error:
            return failure(str(error), "Create a database for alertctl alone, with the encoding UTF-8.")
        return warning("there are no tables yet; the first command creates them", _MADE_BY_USE)
    if log.version > HEAD:
        return failure(
            f"version {log.version} belongs to a newer alertctl; this one supports {HEAD}",
            "Upgrade alertctl on this machine.",
        )
    return warning(
        f"version {log.version}, this alertctl requires {HEAD}",
        "Restart alertctl serve; it migrates the database when it starts.",
    )


def check_oldest_due(check_run: CheckRun) -> CheckResult:
    with reading(check_run) as connection:
        status = queue_status(connection, check_run.now)
    return queue_result(sum(status.depth.values()), status.oldest_due_seconds)


def check_success(check_run: CheckRun, channel: str) -> CheckResult:
    """Check the newest delivery. Ids grow with time, so an index serves this at any size of the log."""
    newest = (
        select(delivery.c.status, delivery.c.error, delivery.c.next_attempt_at, delivery.c.updated_at)
        .where(delivery.c.channel == channel)
        .order_by(delivery.c.id.desc())
        .limit(1)
    )
    ended = (Status.SUCCESS.value, Status.FAILED.value)
    with reading(check_run) as connection:
        success = connection.execute(newest.where(delivery.c.status == Status.SUCCESS.value)).first()
        last = connection.execute(newest.where(delivery.c.status.in_(ended))).first()
    when = f"{_span((check_run.now - success.updated_at).total_seconds())} ago" if success else "never"
    if last is not None and last.status == Status.FAILED.value:
        again = "; alertctl serve retries it" if last.next_attempt_at else ""
        return warning(
            f"last success: {when}; the newest delivery failed: {last.error}{again}",
            f"See why: alertctl log --channel {channel} --status failed",
        )
    if success is None:
        return unknown("nothing was sent yet", f"alertctl test {channel} sends one message, marked as a test.")
    return ok(when)


def check_paused_providers(check_run: CheckRun) -> CheckResult:
    """Check for providers that aren't called now, and for deliveries that wait because we were refused."""
    with reading(check_run) as connection:
        paused = queue_status(connection, check_run.now).paused
        refused = _refused(connection)
    if breaker := breaker_result(paused, check_run.now):
        return breaker
    if refused:
        waiting = "; ".join(f"{deliveries_wait(row.count)} on {row.channel}: {row.error}" for row in refused)
        return warning(waiting, fix_for_pauses((row.error, row.channel, row.answer) for row in refused))
    return pause_result(paused, check_run.now) or ok("none")


def _refused(connection: Connection) -> Sequence[Any]:
    """Return the counts of deliveries that wait because a provider refused us, by channel and code, with an answer."""
    waits = (
        delivery.c.status == Status.FAILED.value,
        delivery.c.next_attempt_at.is_not(None),
        delivery.c.reason == Reason.CONFIG.value,
    )
    columns = (delivery.c.channel, delivery.c.error)
    counts = select(*columns, func.count().label("count"), func.max(attempt.c.answer).label("answer"))
    last_attempt = and_(attempt.c.delivery_id == delivery.c.id, attempt.c.number == delivery.c.attempts)
    return connection.execute(
        counts.outerjoin_from(delivery, attempt, last_attempt).where(*waits).group_by(*columns)
    ).all()


def _breaker(pause: Paused, now: datetime) -> str:
    since = _span((now - pause.since).total_seconds())
    probe = _span((pause.until - now).total_seconds())
    daemon = f"the daemon on {pause.host} (pid {pause.pid})"
    return f"{pause.provider} is paused in {daemon}: {pause.code} {since} ago; next probe in {probe}"


def open_log(check_run: CheckRun) -> OpenedLog:
    """Open the database without creating a file. Raises Unreachable or ConfigError (no driver)."""
    url = check_run.settings.database.url
    path = file_of(url)
    if path is not None and not path.exists():
        return OpenedLog(None, missing=str(path))
    store = Store(url)
    check_run.closing(store.close)
    version = current_version(store)
    return OpenedLog(store, version, _write_error(store, version))


def _write_error(store: Store, version: str | None) -> str:
    """Return why the database takes no writes, empty if it does."""
    try:
        if version == HEAD:
            store.check_writes()
        else:
            with store.writing() as connection:
                connection.execute(text("CREATE TABLE alertctl_write_check (id int)"))
                connection.rollback()
    except Unreachable as error:
        return str(error)
    return ""


@contextmanager
def reading(check_run: CheckRun) -> Iterator[Connection]:
    """Yield a connection to a current delivery log. Raises CheckEnded for any other state of the database."""
    try:
        log = check_run.cached(open_log)
        if log.store is None or log.version is None:
            raise CheckEnded(ok("the delivery log is empty"))
        if log.version != HEAD:
            raise CheckEnded(unknown("not checked: the migrations are not current"))
        with log.store.reading() as connection:
            yield connection
    except (Unreachable, ConfigError):
        raise CheckEnded(_NOT_REACHABLE) from None


def queue_result(depth: int, late: float) -> CheckResult:
    """Return the result for so many waiting deliveries, of which the oldest due one is `late` seconds late."""
    if late > LATE_SECONDS:
        return warning(
            f"{deliveries_wait(depth)}, the oldest is {_span(late)} late",
            "Start alertctl serve (if it runs, see its log), or send due deliveries with alertctl dispatch --once.",
        )
    return ok(f"{deliveries_wait(depth)}, none more than {_span(LATE_SECONDS)} late")


def breaker_result(paused: Sequence[Paused], now: datetime) -> CheckResult | None:
    """Return a failure if a circuit breaker is open, else None."""
    breakers = [pause for pause in paused if pause.breaker]
    if not breakers:
        return None
    fixes = fix_for_pauses((pause.code, pause.provider, None) for pause in breakers)
    return failure("; ".join(_breaker(pause, now) for pause in breakers), fixes)


def pause_result(paused: Sequence[Paused], now: datetime) -> CheckResult | None:
    """Return a warning if a provider asked us to wait, else None."""
    if not paused:
        return None
    waits = [(pause, _span((pause.until - now).total_seconds())) for pause in paused]
    what = "; ".join(f"{pause.provider}: {pause.code}, for another {span}" for pause, span in waits)
    return warning(what, "Nothing to do; sending resumes automatically.")


def _span(seconds: float) -> str:
    """Return a readable time span: 40 s, 12 min, 5 h, 3 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
