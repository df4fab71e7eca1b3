"""Deliveries as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from alertctl.cli.output.table import Column, print_table
from alertctl.cli.output.times import clock, moment_in_full, now, until

if TYPE_CHECKING:
    from alertctl.schemas import DeliveryItem

ID_SHOWN = 8
"""An id's last characters: its first ones are the time, much alike. Any part that is unique will do."""

COLUMNS = (
    Column("ID", needed=True),
    Column("WHEN"),
    Column("STATUS", needed=True),
    Column("ERROR", least=17, needed=True),
    Column("NEXT"),
    Column("TO", least=12, needed=True),
    Column("EVENT", least=10),
    Column("TRIES", extra=True),
    Column("CHANNEL", extra=True),
)
"""In the order of what somebody on call needs first; the last ones leave first."""
WIDE = tuple(
    Column(name) for name in ("ID", "CREATED", "STATUS", "ERROR", "REASON", "NEXT", "CHANNEL", "TO", "EVENT", "TRIES")
) + tuple(Column(name) for name in ("LATENCY", "UPDATED", "PROVIDER ID", "EVENT ID"))
"""Everything that a row holds, uncut, however wide that is."""


def print_deliveries(items: Sequence[DeliveryItem], *, wide: bool = False) -> None:
    """A table of deliveries; nothing at all when there are none."""
    if items:
        moment = now()
        if wide:
            print_table(WIDE, [wide_cells(one) for one in items], whole=True)
        else:
            print_table(COLUMNS, [cells(one, moment) for one in items])


def cells(one: DeliveryItem, moment: datetime) -> tuple[str, ...]:
    """A delivery in COLUMNS."""
    return (
        short(one.id),
        clock(one.created_at, moment),
        one.status,
        one.error or "",
        until(one.next_attempt_at, moment) if one.status == "failed" else "",
        one.to,
        one.event_type,
        str(one.attempts),
        one.channel,
    )


def wide_cells(one: DeliveryItem) -> tuple[str, ...]:
    """A delivery in WIDE."""
    return (
        one.id,
        moment_in_full(one.created_at),
        one.status,
        one.error or "",
        one.reason or "",
        moment_in_full(one.next_attempt_at) if one.next_attempt_at else "",
        one.channel,
        one.to,
        one.event_type,
        str(one.attempts),
        f"{one.latency_ms} ms" if one.latency_ms is not None else "",
        moment_in_full(one.updated_at) if one.updated_at else "",
        one.provider_id or "",
        one.event_id,
    )


def short(id: str) -> str:  # noqa: A002
    return id[-ID_SHOWN:]
