"""The state of an alertctl and its daemons."""

from __future__ import annotations

from dataclasses import dataclass, field

from alertctl.serialization import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A provider, or one of its addresses (`to`), that is not called before `until`.

    `breaker`: the daemon on `host` with process id `pid` can't use the provider with its credentials and settings
    (`code`), and sends its next probe at `until`. Otherwise the provider asked us to wait.
    """

    provider: str
    to: str | None
    code: str
    breaker: bool
    since: Moment
    until: Moment
    host: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceItem:
    """A running daemon. `routes_hash` is equal for daemons with the same routes."""

    host: str
    pid: int
    routes_hash: str
    reported_at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """The state of an alertctl. `where` is its database or server, without secrets.

    `depth`: deliveries that wait, by channel; `oldest_due_seconds`: how late the oldest is. `last_success` by channel.
    `oldest_waiting_seconds`: how long the oldest delivery without a final state waits, 0 if there is none, None from an
    older server.
    `daemon`: whether this answer comes from a running daemon. `instances`: the running daemons on this database.
    `warnings`: problems that these have together.
    """

    where: str
    version: str
    schema_version: str
    daemon: bool
    depth: dict[str, int]
    oldest_due_seconds: float
    last_success: dict[str, Moment | None]
    paused: list[Paused]
    oldest_waiting_seconds: float | None = None
    instances: list[InstanceItem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
