"""Deliveries as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alertctl.cli.table import Column, print_table
from alertctl.cli.times import clock, now, until

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


def print_deliveries(items: Sequence[DeliveryItem]) -> None:
    """A table of deliveries; nothing at all when there are none."""
    if items:
        moment = now()
        print_table(
            COLUMNS,
            [
                (
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
                for one in items
            ],
        )


def short(id: str) -> str:  # noqa: A002
    return id[-ID_SHOWN:]
