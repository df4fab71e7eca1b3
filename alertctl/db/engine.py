"""The engine and its transactions. A driver's exceptions become `Unreachable` here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine, ExceptionContext, Table, create_engine, event, exc, text
from sqlalchemy.engine import URL, make_url

from alertctl.db.sqlite_write_queue import WriteQueue
from alertctl.errors import ConfigError, Unreachable, UnusableDatabase

T = TypeVar("T")
P = ParamSpec("P")
POOL_SECONDS = 5.0
"""Seconds that a thread waits for one of the pool's connections."""
INSTANCE_OPTION = "alertctl_instance_id"
"""The execution option that identifies the connections of one Store."""
DEADLOCK_TRIES = 5
"""How often a transaction is tried that collides with others."""
READ_ONLY = "25006"
"""Postgres's SQLSTATE for a write on a standby, or where default_transaction_read_only is on."""
COLLISIONS = ("40P01", "40001")
"""SQLSTATEs of a transaction that was ended in favour of another: deadlock, serialization failure."""
BROKEN_SETUP = ("42501", "42P01", "3F000")
"""SQLSTATEs of a role that lacks a right, and of a missing table or schema."""


class TransactionRunner(Protocol):
    """Runs a function inside one committed transaction, or only to read: a Store, or a daemon's Writer."""

    def read(self, work: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T: ...
    def write(self, work: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T: ...


class Store:
    """One database. Nothing is opened before it is used.

    `current_url` is called for each new connection to Postgres, which uses the user and the password of its result: a
    daemon's may be rotated.
    """

    def __init__(self, url: str, *, pool_size: int = 8, current_url: Callable[[], str] | None = None) -> None:
        try:
            self.url = make_url(url)
        except (exc.ArgumentError, ValueError):
            raise ConfigError(["DATABASE_URL: not a database address (sqlite:///FILE or postgresql://…)"]) from None
        self.instance_id = os.urandom(8).hex()
        self.engine = _engine(self.url, pool_size, current_url).execution_options(**{INSTANCE_OPTION: self.instance_id})
        self.disconnects = 0
        """How often all connections were given up so far. Connections made before that are not to be trusted."""
        self._write_queue = WriteQueue()
        event.listen(self.engine, "handle_error", self._notice_disconnect)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection whose transaction is rolled back at the end. Raises Unreachable."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except exc.SQLAlchemyError as error:
            if _was_interrupted(error):
                raise KeyboardInterrupt from None
            if not _is_unavailable(error):
                raise
            raise Unreachable(f"database {self.shown}: {_first_line(error)}") from error
        except self.engine.dialect.loaded_dbapi.Error as error:
            # From the driver's connection, used without SQLAlchemy.
            raise Unreachable(f"database {self.shown}: {_first_line(error)}") from error

    def read(self, work: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T:
        """Run `work` with these arguments on such a connection and return its result. Raises Unreachable."""
        with self.reading() as connection:
            return work(connection, *values, **options)

    @contextmanager
    def writing(self, *, foreign_keys: bool = True) -> Iterator[Connection]:
        """Open a transaction that is committed at the end. It takes SQLite's write lock at once. Raises Unreachable.

        Without `foreign_keys` SQLite doesn't enforce them; that connection is not reused.
        """
        with self.reading() as plain:
            connection = plain.execution_options(alertctl_writes=True)
            if self.is_sqlite and not foreign_keys:
                # SQLite ignores this after BEGIN.
                connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
                connection.detach()
            with self._turn(connection):
                transaction = connection.begin()
            with transaction:
                yield connection

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other processes' writers of an SQLite file waiting, while this thread writes. Raises Unreachable."""
        with self.reading() as connection:
            turn = self._turn(connection)
        with turn:
            yield

    def _turn(self, connection: Connection) -> AbstractContextManager[None]:
        # Postgres needs no queue.
        file = database_file(connection)
        return self._write_queue.turn(file) if file else nullcontext()

    def write(self, work: Callable[Concatenate[Connection, P], T], *values: P.args, **options: P.kwargs) -> T:
        """Run `work` in one transaction and return its result once that is committed. Raises Unreachable.

        `work` may run again: Postgres ends one of two transactions that wait for each other, and a connection may lead
        to a former primary, while a new one leads to the current primary.
        """
        for attempt in range(DEADLOCK_TRIES - 1):
            try:
                with self.writing() as connection:
                    return work(connection, *values, **options)
            except Unreachable as error:
                refused_here = attempt == 0 and _sqlstate(error.__cause__) == READ_ONLY
                if not refused_here and _sqlstate(error.__cause__) not in COLLISIONS:
                    raise
        with self.writing() as connection:
            return work(connection, *values, **options)

    def check_writes(self) -> None:
        """Prove that the database takes writes, by a write that changes nothing. Raises Unreachable."""
        self.write(write_nothing)

    def close(self) -> None:
        self.engine.dispose()

    def _notice_disconnect(self, context: ExceptionContext) -> None:
        """Give up all connections when one of them ended, or its server isn't the primary any more.

        The others lead to the same server. New ones ask the host's name anew.
        """
        if _is_disconnect(context.original_exception):
            context.is_disconnect = True
        self.disconnects += context.is_disconnect

    @property
    def shown(self) -> str:
        """The address for messages: a file's path, or a URL without its password."""
        if self.is_sqlite:
            return str(self.url.database)
        return self.url.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)


def database_file(connection: Connection) -> str:
    """Return the path of a connection's SQLite file; empty in memory and for a server's database."""
    return str(connection.connection.info.get("file", ("",))[0])


def write_nothing(connection: Connection) -> None:
    """Change a row and change it back, which a read-only server, a role without rights or a full disk refuse.

    Two statements, because SQLite doesn't write a row that stays the same.
    """
    connection.execute(_CHANGE, {"by": 1})
    connection.execute(_CHANGE, {"by": -1})


_CHANGE = text("UPDATE change_counter SET number = number + :by")


def insert_or(connection: Connection, table: Table, values: Any = None) -> Any:
    """Return an INSERT of the database's dialect, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    statement = insert_of(connection.dialect.name, table)
    return statement if values is None else statement.values(values)


def insert_of(dialect: str, table: Table) -> Any:
    """Return such an INSERT for a dialect by name, to be cached."""
    # Imported late: a process uses one of them.
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def upsert(connection: Connection, table: Table, row: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Insert a row, or make these changes to the row that has its primary key."""
    statement = insert_or(connection, table, row)
    connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes))


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> int:
    """Insert the rows that violate no unique constraint. Returns how many."""
    # Without the option SQLAlchemy forgets the count of an INSERT on Postgres (-1).
    statement = insert_or(connection, table, rows).on_conflict_do_nothing()
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _engine(url: URL, pool_size: int, current_url: Callable[[], str] | None) -> Engine:
    if url.get_backend_name() == "sqlite":
        from alertctl.db.sqlite import sqlite_engine

        return sqlite_engine(url, pool_size)
    try:
        from alertctl.db import postgres
    except ImportError:
        raise UnusableDatabase(
            ["DATABASE_URL: Postgres needs a driver; install it with: pip install 'alertctl[postgres]'"]
        ) from None
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=4,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        connect_args=postgres.parameters(url),
    )
    event.listen(engine, "do_connect", postgres.Connector(url, current_url))
    return engine


def _is_unavailable(error: exc.SQLAlchemyError) -> bool:
    """Return whether the database is at fault, not the statement."""
    if isinstance(error, exc.IntegrityError | exc.ProgrammingError | exc.DataError):
        return _sqlstate(error) in BROKEN_SETUP
    return isinstance(error, exc.DatabaseError | exc.InterfaceError | exc.TimeoutError)


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C caused this error: an interrupted connection can't be cleaned up."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_disconnect(error: BaseException) -> bool:
    """Return whether this Postgres server no longer takes writes, or ended the connection."""
    state = getattr(error, "sqlstate", None) or ""
    return state in (READ_ONLY, "57P01", "57P02", "57P03") or state.startswith("08")


def _sqlstate(error: BaseException | None) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _first_line(error: Exception) -> str:
    """Return the first line of the driver's message, without SQL and parameters, which may hold private text."""
    cause = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    line = (lines[0] if lines else type(cause).__name__)[:300]
    return f"{line}; check the server and DATABASE_URL" if line.startswith("connection failed") else line
