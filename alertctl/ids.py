"""UUIDv7: ids that begin with their time, so that they sort in the order of creation."""

from __future__ import annotations

import random
import threading
from datetime import datetime


class _Clock:
    """The last millisecond and counter of an id, so that the ids of a process only grow."""

    lock = threading.Lock()
    stamp = 0


def new_id(now: datetime) -> str:
    """Return a UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 bits of counter, 62 random bits."""
    with _Clock.lock:
        stamp = max(int(now.timestamp() * 1000) << 12, _Clock.stamp + 1)
        _Clock.stamp = stamp
    noise = random.getrandbits(62)
    number = (stamp >> 12 & (1 << 48) - 1) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | noise
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def first_id(moment: datetime) -> str:
    """Return the smallest id of that time."""
    digits = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
