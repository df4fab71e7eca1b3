"""Publish spooled events after a command that reached the database or the server."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from alertctl.cli.context import flags_of
from alertctl.cli.output.streams import eprint, messages, warn
from alertctl.errors import AlertctlError, ConfigError, Conflict, NotAllowed, NotFound, Unreachable
from alertctl.text import counted

if TYPE_CHECKING:
    from alertctl.client import Client
    from alertctl.spool import Destination, Flushed, Spool, Spooled

BUDGET = 2.0
"""Seconds that a command spends on the spool after its own work. A send that has begun is finished."""
MAX_SENT = 20
"""Deliveries of one event that are sent after another command. More are only recorded: they would take minutes."""


def destination_of(context: typer.Context) -> Destination:
    """Return the database or server that this call's settings select. Raises ConfigError."""
    from alertctl.config import gather
    from alertctl.spool import Destination

    sources = gather(flags=flags_of(context))
    if sources.problems:
        raise ConfigError(sources.problems)
    return Destination.of(sources, os.environ)


def spool_here() -> Spool:
    from alertctl.spool import Spool

    return Spool.of(os.environ)


@contextmanager
def flush_spool_after(context: typer.Context, client: Client) -> Iterator[Client]:
    """Yield a client for one command, then publish the spooled events."""
    with client:
        try:
            yield client
        except (typer.Exit, NotAllowed, NotFound, Conflict) as error:
            # The server answered, so it can be reached; flush unless it rejected the token.
            if not isinstance(error, NotAllowed) or error.authenticated:
                _flush_spool(context, client)
            raise
        _flush_spool(context, client)


def _flush_spool(context: typer.Context, client: Client) -> None:
    """Publish spooled events; failures are warnings and never change the command's result."""
    from alertctl.config import state_folder

    try:
        if not os.path.isdir(state_folder(os.environ) / "spool"):
            return
        spool = spool_here()
        if not spool.waiting():
            return
        # A reader of the command's output need not wait for the flush.
        sys.stdout.flush()
        thread = _SpoolFlush(client, spool, destination_of(context))
        thread.start()
        thread.join(BUDGET)
        thread.abandon()
    except Exception as error:
        warn(f"spool: {error}")


class _SpoolFlush(threading.Thread):
    """A flush that can be abandoned while it publishes, as a repeat is harmless, but not while it sends."""

    def __init__(self, client: Client, spool: Spool, where: Destination) -> None:
        super().__init__(name="alertctl-spool", daemon=True)
        self._client = client
        self._spool = spool
        self._where = where
        self._until = time.monotonic() + BUDGET
        self._sending = threading.Lock()
        self._abandoned = False

    def run(self) -> None:
        flushed = self._spool.flush(
            lambda entry: self._where.accepts(entry.destination), self._publish, until=self._until
        )
        if not self._abandoned:
            report(flushed)

    def abandon(self) -> None:
        with self._sending:
            self._abandoned = True

    def _publish(self, event: Spooled) -> None:
        receipt = self._client.publish(event.request)
        if self._where.is_server:
            return
        with self._sending:
            if self._abandoned:
                raise Unreachable("no time left to send it")
            if len(receipt.deliveries) > MAX_SENT:
                eprint(f"recorded {receipt.event_id} for {len(receipt.deliveries)} targets: dispatch --once sends it")
            else:
                send_now(self._client, receipt.event_id)


def send_now(client: Client, event_id: str) -> None:
    """Send a recorded event's deliveries. A failure is a warning: they stay in the log."""
    try:
        client.deliver(event_id)
    except AlertctlError as error:
        warn(f"recorded {event_id}, but not sent now: {error}")


def report(flushed: Flushed) -> None:
    """Print the result of a flush on stderr."""
    if flushed.published:
        note = f"published {counted(flushed.published, 'event')} from the spool"
        messages.print("info", note, f"alertctl: {note}")
    for name in flushed.damaged:
        warn(f"spool: {name}: set aside")
    for event in flushed.refused:
        warn(f"spool: {event.request.event_type} {event.id} was refused and set aside: {event.refused}")
    if flushed.remaining:
        trouble = flushed.trouble or "the next command publishes more"
        warn(f"spool: {counted(flushed.remaining, 'event')} remaining: {trouble}")
    elif flushed.trouble:
        warn(f"spool: {flushed.trouble}")
