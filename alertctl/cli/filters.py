"""The filters that `log` and `log retry` share: look with the one, act with the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from alertctl.cli.times import now, parse_moment

if TYPE_CHECKING:
    from datetime import datetime

    from alertctl.client import Client
    from alertctl.schemas import DeliveryItem, LogFilter, Page

PAGE = 100
"""Rows that are asked for at once; what the API gives at most."""

ToOption = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Only to this channel or address.")]
SinceOption = Annotated[str | None, typer.Option(metavar="TIME", help="From then on: 2h, 7d (ago), 2026-11-01, ISO.")]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")]
ErrorOption = Annotated[
    str | None, typer.Option("--error", metavar="CODE", help="Only with this error: channel_not_found, …")
]
EventIdOption = Annotated[str | None, typer.Option("--event-id", metavar="ID", help="Only of this event (whole id).")]


def filter_of(
    status: str | None,
    event: str | None,
    channel: str | None,
    to: str | None,
    since: str | None,
    until: str | None,
    error: str | None,
    event_id: str | None,
) -> LogFilter:
    from alertctl.events import find
    from alertctl.schemas import LogFilter

    if event is not None:
        find(event)
    return LogFilter(
        status=status,
        event_type=event,
        channel=channel,
        # As `send --to` writes it, or the bare address.
        to=to.removeprefix("slack:").removeprefix("email:") if to is not None else None,
        since=_moment("--since", since),
        until=_moment("--until", until),
        error=error,
        event_id=event_id,
    )


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_moment(text, now())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


class Pages:
    """`limit` deliveries of the log, read a page at a time as they are taken. `total` is how many there are in all."""

    def __init__(self, client: Client, where: LogFilter, limit: int) -> None:
        self._client, self._where, self._limit = client, where, limit
        self.total = 0

    def __iter__(self) -> Iterator[DeliveryItem]:
        left, cursor = self._limit, None
        while left > 0:
            page: Page = self._client.log(self._where, limit=min(left, PAGE), cursor=cursor)
            self.total = self.total if cursor else page.total
            yield from page.items
            left, cursor = left - len(page.items), page.next_cursor
            if cursor is None:
                return
