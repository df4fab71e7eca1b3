"""Where an alert leaves: claims due deliveries, sends them with a few threads a channel, records how it went."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from alertctl.channels.base import Channel
from alertctl.dispatcher.lane import ChannelLane, Observe
from alertctl.dispatcher.pace import Pace
from alertctl.dispatcher.policy import Policy, Tally
from alertctl.outbox import Ended, Lane
from alertctl.schemas import EventReceipt
from alertctl.store import Connect

__all__ = ["Dispatcher", "Observe", "Policy", "Tally"]
log = logging.getLogger("alertctl.dispatcher")


def _nobody(_lane: Lane, _ended: Sequence[Ended], _unasked: int) -> None:
    pass


class Dispatcher:
    """One lane for each channel, so that one slow provider can't starve the other.

    `run_once` works through what is due and returns; `start` and `stop` are the daemon's.
    """

    def __init__(
        self,
        connect: Connect,
        channels: Mapping[str, Channel],
        policy: Policy,
        clock: Callable[[], datetime],
        observe: Observe = _nobody,
    ) -> None:
        self._connect, self._channels, self._policy = connect, channels, policy
        self._clock, self._observe = clock, observe
        self._paces = {name: Pace(policy.per_second, policy.burst) for name in channels if name == "slack"}
        self._lanes: list[ChannelLane] = []

    def run_once(self, event_id: str | None = None) -> Tally:
        """Send what is due, or one event's own deliveries (unpaced), until nothing is left. Raises Unreachable."""
        lanes = [self._lane(name, event_id) for name in self._channels]
        threads = [threading.Thread(target=lane.run_until_idle, name=f"alertctl-{lane.name}") for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for lane in lanes:
            if lane.trouble is not None:
                raise lane.trouble
        return sum((lane.tally for lane in lanes), Tally())

    def start(self) -> None:
        self._lanes = [self._lane(name, None) for name in self._channels]
        for lane in self._lanes:
            lane.start()

    def wake(self, receipt: EventReceipt | None = None) -> None:
        """Something may be due (of this event, if it is known): look now. Cheap, from any thread."""
        for lane in self._lanes:
            if receipt is None:
                lane.wake()
            elif any(one.channel == lane.name for one in receipt.deliveries):
                lane.wake(receipt.event_id)

    def stop(self, grace: float) -> None:
        """Finish what is in flight within `grace` seconds, give the rest back uncounted."""
        for lane in self._lanes:
            lane.stop()
        for lane in self._lanes:
            lane.join(grace)

    @property
    def alive(self) -> bool:
        """Whether every lane's thread still works."""
        return all(lane.alive for lane in self._lanes)

    def _lane(self, name: str, event_id: str | None) -> ChannelLane:
        channel = self._channels[name]
        pace = None if event_id else self._paces.get(name)
        where = Lane(name, channel.provider, event_id)
        return ChannelLane(where, channel, self._connect, self._policy, self._clock, pace, self._observe)
