"""Print deliveries: as a table, JSON lines, CSV or ids."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import IO

from alertctl.cli.output.streams import LogOutput, compact
from alertctl.cli.output.table import Column, print_table, row_of
from alertctl.cli.output.times import clock, moment_in_full, now, until
from alertctl.schemas import DeliveryItem, as_json

ID_SHOWN = 8
"""An id's last characters: its first ones are the time and much alike."""

COLUMNS = (
    Column("ID", lambda delivery: short(delivery.id), needed=True, typical=ID_SHOWN),
    Column("WHEN", lambda delivery: clock(delivery.created_at, now()), typical=11),
    Column("STATUS", lambda delivery: delivery.status, needed=True, typical=10),
    Column("ERROR", lambda delivery: delivery.error or "", least=17, needed=True, typical=24),
    Column("NEXT", lambda delivery: _next_attempt(delivery), typical=6),
    Column("TO", lambda delivery: delivery.to, least=12, needed=True, typical=29),
    Column("EVENT", lambda delivery: delivery.event_type, least=10, typical=20),
    Column("TRIES", lambda delivery: str(delivery.attempts), extra=True, typical=2),
    Column("CHANNEL", lambda delivery: delivery.channel, extra=True, typical=5),
)
"""In order of importance: on a narrow terminal the last ones are dropped first."""
WIDE = (
    Column("ID", lambda delivery: delivery.id, typical=36),
    Column("CREATED", lambda delivery: moment_in_full(delivery.created_at), typical=24),
    Column("STATUS", lambda delivery: delivery.status, typical=10),
    Column("ERROR", lambda delivery: delivery.error or "", typical=17),
    Column("REASON", lambda delivery: delivery.reason or "", typical=12),
    Column("NEXT", lambda delivery: moment_in_full(delivery.next_attempt_at), typical=24),
    Column("CHANNEL", lambda delivery: delivery.channel, typical=5),
    Column("TO", lambda delivery: delivery.to, typical=29),
    Column("EVENT", lambda delivery: delivery.event_type, typical=20),
    Column("TRIES", lambda delivery: str(delivery.attempts), typical=2),
    Column("LATENCY", lambda delivery: "" if delivery.latency_ms is None else f"{delivery.latency_ms} ms", typical=7),
    Column("UPDATED", lambda delivery: moment_in_full(delivery.updated_at), typical=24),
    Column("PROVIDER ID", lambda delivery: delivery.provider_id or "", typical=17),
    Column("EVENT ID", lambda delivery: delivery.event_id, typical=36),
    Column("LABELS", lambda delivery: labels_text(delivery.labels), typical=20),
)
"""Every value of a row, uncut."""
FIELDS = tuple(field.name for field in fields(DeliveryItem))
"""The columns of CSV: the API's fields in its order."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that Excel and others take for a formula (OWASP, CSV injection)."""


def print_deliveries(items: Sequence[DeliveryItem], *, wide: bool = False) -> None:
    """Print a table of deliveries; nothing when there are none."""
    columns = WIDE if wide else COLUMNS
    if items:
        print_table(columns, [row_of(delivery, columns) for delivery in items], uncut=wide)


def line_printer(
    output: LogOutput, out: IO[str] | None = None, *, for_spreadsheet: bool = False
) -> Callable[[DeliveryItem], object]:
    """Return a function that prints a delivery on a line: as JSON, as CSV (after a header), or its id."""
    file = out or sys.stdout
    if output is LogOutput.ID:
        return lambda delivery: file.write(f"{delivery.id}\n")
    if output is not LogOutput.CSV:
        return lambda delivery: file.write(f"{compact(delivery)}\n")
    import csv

    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    if for_spreadsheet:
        return lambda delivery: writer.writerow({name: guard_cell(value) for name, value in _csv_row(delivery).items()})
    return lambda delivery: writer.writerow(_csv_row(delivery))


def _csv_row(delivery: DeliveryItem) -> dict[str, object]:
    """Return the cells of a delivery, with its labels as JSON."""
    row: dict[str, object] = as_json(delivery)
    return row | {"labels": compact(delivery.labels) if delivery.labels else ""}


def guard_cell(value: object) -> object:
    """Return a cell that a spreadsheet doesn't calculate: a quote precedes a text that begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _next_attempt(delivery: DeliveryItem) -> str:
    return until(delivery.next_attempt_at, now()) if delivery.status == "failed" else ""


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels for a person: `team=growth, environment=production`."""
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def option_texts(options: Mapping[str, object]) -> list[str]:
    """Return a message's options for a person: `style compact`, `mention ana@corp.example`."""
    return [f"{name} {_option(value)}" for name, value in options.items()]


def _option(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(value) if isinstance(value, list | tuple) else str(value)


def short(id: str) -> str:  # noqa: A002
    """Return the part of an id that tables show."""
    return id[-ID_SHOWN:]
