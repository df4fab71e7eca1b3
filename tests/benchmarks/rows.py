"""The benchmarks, by name, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.benchmarks.accept import accept
from tests.benchmarks.daemons import daemons
from tests.benchmarks.deliver import deliver
from tests.benchmarks.lines import Line
from tests.benchmarks.many import claim, log
from tests.benchmarks.memory import memory
from tests.benchmarks.prune import prune
from tests.benchmarks.recipients import recipients
from tests.benchmarks.routes import routes
from tests.benchmarks.sendgrid import sendgrid
from tests.benchmarks.setup import Setup
from tests.benchmarks.start import start
from tests.benchmarks.threads import threads
from tests.benchmarks.wake import wake

Row = Callable[[Setup], Iterator[Line]]
ROWS: Mapping[str, Row] = {
    "deliver": deliver,
    "accept": accept,
    "wake": wake,
    "recipients": recipients,
    "routes": routes,
    "sendgrid": sendgrid,
    "claim": claim,
    "log": log,
    "prune": prune,
    "daemons": daemons,
    "threads": threads,
    "start": start,
    "memory": memory,
}
