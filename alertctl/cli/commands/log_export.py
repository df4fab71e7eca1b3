"""`alertctl log export`: write any number of deliveries as JSON lines or CSV."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated

import typer

from alertctl.cli.context import client_of
from alertctl.cli.filters import Pages, Where, filtered
from alertctl.cli.output.atomic_file import atomic_write
from alertctl.cli.output.progress import bar
from alertctl.cli.output.streams import compact, eprint
from alertctl.errors import InvalidEvent

if TYPE_CHECKING:
    from alertctl.schemas import DeliveryItem

FIELDS = (
    "id",
    "event_type",
    "channel",
    "to",
    "status",
    "error",
    "attempts",
    "next_attempt_at",
    "created_at",
    "event_id",
    "reason",
    "ambiguous",
    "provider_id",
    "updated_at",
    "latency_ms",
)
"""The columns of CSV: the API's fields in its order."""
ALL = 10**12
STEP = 1000
"""Deliveries between two updates of the progress bar."""


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


@filtered
def export(
    context: typer.Context,
    where: Where,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="File to write; default: stdout.")] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="Output format.")] = Format.JSONL,
) -> None:
    """
    \b
    alertctl log export > log.jsonl
    alertctl log export --since 30d --status failed -o csv failures.csv
    alertctl log export --event safety_rollback --until 90d old.jsonl

    Export all matching deliveries, newest first, a page at a time.
    """
    with client_of(context) as client, _opened(file) as out, bar() as advance:
        pages, written = Pages(client, where, ALL), 0

        def counted() -> Iterator[DeliveryItem]:
            nonlocal written
            for delivery in pages:
                yield delivery
                written += 1
                if written % STEP == 0:
                    advance("deliveries", written, pages.total)

        if output is Format.CSV:
            print_csv(counted(), out)
        else:
            for delivery in counted():
                out.write(f"{compact(delivery)}\n")
    if file is not None:
        eprint(f"{written} deliveries in {file}")


@contextmanager
def _opened(file: str | None) -> Iterator[IO[str]]:
    if file is None or file == "-":
        yield sys.stdout
        return
    try:
        with atomic_write(file) as out:
            yield out
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidEvent("FILE", f"{file[:200]}: {error.strerror or error}") from None


def print_csv(items: Iterable[DeliveryItem], out: IO[str] | None = None) -> int:
    """Print deliveries as CSV with a header and return their number."""
    count, show = 0, csv_printer(out or sys.stdout)
    for delivery in items:
        show(delivery)
        count += 1
    return count


def csv_printer(out: IO[str]) -> Callable[[DeliveryItem], None]:
    """Write the header and return a function that writes a delivery's line."""
    import csv

    from alertctl.schemas import as_json

    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)

    def show(delivery: DeliveryItem) -> None:
        row = as_json(delivery)
        writer.writerow([row[field] for field in FIELDS])

    return show
