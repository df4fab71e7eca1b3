"""Telling what waited in the spool, behind a command that got through to the database or the server."""

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
from alertctl.cli.output.streams import eprint, warn
from alertctl.errors import AlertctlError, Conflict, NotAllowed, NotFound, Unreachable

if TYPE_CHECKING:
    from alertctl.client import Client
    from alertctl.spool import Destination, Flushed, Spool, Spooled

BUDGET = 2.0
"""Seconds that a command spends on the spool after its own work; an attempt that has begun is brought to its end."""
FEW = 20
"""Deliveries of one event that are sent behind another command; more are only recorded: it would wait for minutes."""


def destination_of(context: typer.Context) -> Destination:
    """Where the commands of this call go. Raises ConfigError."""
    from alertctl.config import read
    from alertctl.spool import Destination

    return Destination.of(read(flags=flags_of(context)), os.environ)


def spool_here() -> Spool:
    from alertctl.spool import Spool

    return Spool.of(os.environ)


@contextmanager
def flush_spool_after(context: typer.Context, client: Client) -> Iterator[Client]:
    """A client for one command; what waited in the spool is told after the command has done its work."""
    with client:
        try:
            yield client
        except (typer.Exit, NotAllowed, NotFound, Conflict) as error:
            # It got through all the same, unless its token did not.
            if not isinstance(error, NotAllowed) or error.authenticated:
                _flush_spool(context, client)
            raise
        _flush_spool(context, client)


def _flush_spool(context: typer.Context, client: Client) -> None:
    """Never raises, never changes what the command did: only stderr hears of it."""
    from alertctl.config import state_folder

    try:
        if not os.path.isdir(state_folder(os.environ) / "spool"):
            return
        spool = spool_here()
        if not spool.waiting():
            return
        # Whoever reads what the command printed need not wait for this too.
        sys.stdout.flush()
        behind = _SpoolFlush(client, spool, destination_of(context))
        behind.start()
        behind.join(BUDGET)
        behind.leave()
    except Exception as error:
        warn(f"spool: {error}")


class _SpoolFlush(threading.Thread):
    """A flush that may be left alone while it publishes (a repeat is harmless), but not while it sends."""

    def __init__(self, client: Client, spool: Spool, where: Destination) -> None:
        super().__init__(name="alertctl-spool", daemon=True)
        self._client, self._spool, self._where = client, spool, where
        self._until = time.monotonic() + BUDGET
        self._sending = threading.Lock()
        self._left = False

    def run(self) -> None:
        mine = self._where.place
        flushed = self._spool.flush(lambda one: one.destination == mine, self._tell, until=self._until)
        if not self._left:
            report(flushed)

    def leave(self) -> None:
        with self._sending:
            self._left = True

    def _tell(self, one: Spooled) -> None:
        receipt = self._client.publish(one.request)
        if self._where.is_server:
            return
        with self._sending:
            if self._left:
                raise Unreachable("no time left to send it")
            if len(receipt.deliveries) > FEW:
                eprint(f"recorded {receipt.event_id} for {len(receipt.deliveries)} targets: dispatch --once sends it")
            else:
                send_now(self._client, receipt.event_id)


def send_now(client: Client, event_id: str) -> None:
    """A first try at an event that is recorded; whatever happens to it, the log has it."""
    try:
        client.deliver(event_id)
    except AlertctlError as error:
        warn(f"recorded {event_id}, but not sent now: {error}")


def report(flushed: Flushed) -> None:
    """What came of a flush, on stderr."""
    if flushed.told:
        eprint(f"alertctl: told {counted(flushed.told)} that waited in the spool")
    for name in flushed.damaged:
        warn(f"spool: {name}: set aside")
    for one in flushed.refused:
        warn(f"spool: {one.request.event_type} {one.id} was refused and set aside: {one.refused}")
    if flushed.left:
        warn(f"spool: {counted(flushed.left)} left: {flushed.trouble or 'the next command tells more of them'}")
    elif flushed.trouble:
        warn(f"spool: {flushed.trouble}")


def counted(number: int) -> str:
    return f"{number} event" if number == 1 else f"{number} events"
