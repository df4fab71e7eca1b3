"""Number the transactions that change deliveries, so that a follower of the delivery log misses none.

A follower reads what has a higher number than the last it saw. SQLite has one writer at a time, so a counter is enough.
On Postgres a transaction with a lower number may commit after one with a higher number. There the number is the
transaction's own id, and a follower stops before the oldest one that is still open (`delivery_log.follow`). A server
on which a dump is restored may have lower ids: the row in `change_counter` holds what is added to them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Connection, func, select, text, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from alertctl.models import ChangeCounter, table_of
from alertctl.outbox.tables import delivery

change_counter = table_of(ChangeCounter)


class this_change(FunctionElement[int]):  # noqa: N801
    """The number of the current transaction, for a statement that writes `delivery.change`."""

    type = BigInteger()
    inherit_cache = True
    name = "this_change"


@compiles(this_change, "sqlite")
def _on_sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return "(SELECT number FROM change_counter)"


@compiles(this_change, "postgresql")
def _on_postgres(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((SELECT number FROM change_counter) + CAST(CAST(pg_current_xact_id() AS text) AS bigint))"


_NEXT = update(change_counter).values(number=change_counter.c.number + 1)


def begin_change(connection: Connection) -> None:
    """Begin a new number. Call it before statements that use `this_change`."""
    if connection.dialect.name == "sqlite":
        connection.execute(_NEXT)


_NEXT_ID = text("SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)")


def resume_sequence_after_restore(connection: Connection) -> None:
    """Continue after the numbers in a restored dump, which this server would otherwise assign again."""
    if connection.dialect.name == "sqlite":
        return
    highest = connection.execute(select(func.max(delivery.c.change))).scalar() or 0
    ahead = (
        highest
        - connection.execute(_NEXT_ID).scalar_one()
        - connection.execute(select(change_counter.c.number)).scalar_one()
    )
    if ahead > 0:
        connection.execute(update(change_counter).values(number=change_counter.c.number + ahead))
