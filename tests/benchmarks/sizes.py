"""How much each benchmark does: in full, and with `--quick`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Sizes:
    """Each is an argument of the same name; the comment behind it is the argument's help."""

    rounds: int = 5  # rounds of each measurement; the table has their median
    alerts: int = 10_000  # alerts that wait when the daemon may begin
    senders: int = 64  # threads that send
    latency: float = 0.05  # seconds after which Slack answers
    requests: int = 10_000  # calls of POST /events in a round
    connections: int = 32  # connections that make them
    samples: int = 200  # single alerts to an idle daemon
    recipients: int = 10_000  # recipients of one event
    shared: int = 6_000  # alerts that 1, 2 and 3 daemons share
    waiting: int = 1_000_000  # rows due when a claim is made
    history: int = 10_000_000  # rows of the delivery log
    pruned: int = 1_000_000  # old rows that are pruned
    few: int = 10_000  # rows that those two are held against
    looks: int = 100  # claims, and reads of each kind of page, in all rounds together
    starts: int = 15  # processes started of each kind
    backlog: int = 100_000  # deliveries that wait while memory is read


QUICK = Sizes(
    rounds=2,
    alerts=1_000,
    requests=1_000,
    samples=20,
    recipients=2_000,
    shared=600,
    waiting=20_000,
    history=50_000,
    pruned=10_000,
    looks=20,
    starts=3,
    backlog=10_000,
)


def choose_sizes(quick: bool, arguments: dict[str, Any]) -> Sizes:
    """Return the sizes of a run: the defaults of its kind, overridden by the command line."""
    known = {field.name for field in fields(Sizes)}
    return replace(QUICK if quick else Sizes(), **{k: v for k, v in arguments.items() if k in known and v is not None})
