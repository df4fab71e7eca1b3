"""Watch alertctl itself: report this daemon, and alert the admins, once, when a problem keeps alerts from arriving."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection, delete, update

from alertctl import delivery_log, outbox
from alertctl.daemon.scheduler import first_of_period, log_failure, run
from alertctl.db import TransactionRunner
from alertctl.delivery_log import ChannelProblem
from alertctl.errors import AlertctlError
from alertctl.preferences import targets_of_role
from alertctl.publish import prepare, publish
from alertctl.routing import RoutingRules
from alertctl.schemas import PublishRequest
from alertctl.users import Role

log = logging.getLogger("alertctl.daemon")
WATCH_SECONDS = 30
JOB = "self_alert"
OVER_AFTER = timedelta(hours=1)
"""Time without a problem after which its next occurrence is alerted again: a flapping provider must not flood."""


class AdminAlertJob:
    """Record the daemon's heartbeat, and alert the admins of new problems through another channel.

    With several daemons on one database, one of them alerts: the first to insert the problem's row in `run`.
    """

    def __init__(
        self,
        transactions: TransactionRunner,
        rules: RoutingRules,
        providers: Mapping[str, str],
        wake: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        """`providers` maps each provider in use to its channel."""
        self._instance = outbox.Instance.current()
        self._transactions = transactions
        self._rules = rules
        self._providers = providers
        self._wake, self._clock = wake, clock

    def __call__(self) -> None:
        try:
            alerted = self._transactions.write(self._watch)
        except AlertctlError as error:
            log_failure("watch", error)
            return
        for problem, count in alerted:
            nobody = f"alerted nobody, because no admin has an address on a channel other than {problem.channel}"
            log.warning("%s; %s", problem.title, f"admin addresses alerted: {count}" if count else nobody)
        if alerted:
            self._wake()

    def stop(self) -> None:
        """Take this daemon off the list of those that run."""
        try:
            self._transactions.write(outbox.remove_instance, self._instance)
        except AlertctlError as error:
            log.warning("stopping: %s", error)

    def _watch(self, connection: Connection) -> list[tuple[ChannelProblem, int]]:
        """Return the problems that are new, with the number of targets that are alerted."""
        now = self._clock()
        outbox.beat(connection, now)
        outbox.save_instance(connection, self._instance, self._rules.routes.hash, now)
        connection.execute(delete(run).where(run.c.job == JOB, run.c.started_at < now - OVER_AFTER))
        problems = delivery_log.find_problems(connection, self._providers, self._rules.targets, now)
        channels = {problem.channel for problem in problems}
        return [
            (problem, self._alert(connection, problem, channels, now))
            for problem in problems
            if _is_new(connection, problem, now)
        ]

    def _alert(self, connection: Connection, problem: ChannelProblem, broken: set[str], now: datetime) -> int:
        """Publish an alert about a problem to the admins on other channels. Returns the number of targets."""
        known = [*self._rules.targets, *targets_of_role(connection, Role.ADMIN.value)]
        usable = [target for target in known if target.channel in self._rules.enabled - {problem.channel}]
        # A channel with a problem of its own is better than none.
        targets = [target for target in usable if target.channel not in broken] or usable
        if not targets:
            return 0
        fields = {"title": problem.title, "message": problem.message, "severity": "error", "source": "alertctl"}
        publication = prepare(PublishRequest(event_type="generic_alert", fields=fields), self._rules, "alertctl")
        to = tuple(replace(target, routing_reason=JOB) for target in targets)
        return len(publish(connection, replace(publication, to=to), now).deliveries)


def _is_new(connection: Connection, problem: ChannelProblem, now: datetime) -> bool:
    """Return whether nobody was alerted of this problem yet, and note that it lasts."""
    period = sha256(problem.key.encode()).hexdigest()[:32]
    if first_of_period(connection, JOB, period, now):
        return True
    connection.execute(update(run).where(run.c.job == JOB, run.c.period == period).values(started_at=now))
    return False
