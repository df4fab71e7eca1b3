"""The numbers by which somebody follows the delivery log: each transaction that gives deliveries a new state has one.

A follower reads what has a higher number than the last it saw. On SQLite writers come one after the other, so a
counter does. On Postgres a transaction with a lower number may commit after one with a higher: there the number is the
transaction's own id, and the follower stops before the oldest one that is still open (`deliveries.changes`). A server
on which a dump is restored has ids of its own, perhaps lower ones: `tick` holds what they are raised by.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Connection, func, select, text, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel

from alertctl.models import ChangeCounter
from alertctl.outbox.tables import delivery

tick = SQLModel.metadata.tables[str(ChangeCounter.__tablename__)]


class this_change(FunctionElement[int]):  # noqa: N801
    """The present transaction's number, in a statement that writes `delivery.change`."""

    type = BigInteger()
    inherit_cache = True
    name = "this_change"


@compiles(this_change, "sqlite")
def _on_sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return "(SELECT number FROM tick)"


@compiles(this_change, "postgresql")
def _on_postgres(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((SELECT number FROM tick) + CAST(CAST(pg_current_xact_id() AS text) AS bigint))"


_NEXT = update(tick).values(number=tick.c.number + 1)


def begin_change(connection: Connection) -> None:
    """To be called before the statements that use `this_change`: what is written from here on is new to a follower."""
    if connection.dialect.name == "sqlite":
        connection.execute(_NEXT)


_NEXT_ID = text("SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)")


def resume_sequence_after_restore(connection: Connection) -> None:
    """Go on behind the numbers of the server that a restored dump came from: they would come once more."""
    if connection.dialect.name == "sqlite":
        return
    highest = connection.execute(select(func.max(delivery.c.change))).scalar() or 0
    ahead = highest - connection.execute(_NEXT_ID).scalar_one() - connection.execute(select(tick.c.number)).scalar_one()
    if ahead > 0:
        connection.execute(update(tick).values(number=tick.c.number + ahead))
