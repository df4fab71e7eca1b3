"""Where rows are kept: the engine, transactions, the one writer of a daemon, wake-ups, migrations."""

from alertctl.store.engine import Connect, Store, insert_new, insert_or
from alertctl.store.given import given, packed
from alertctl.store.migrate import HEAD, current_version, upgrade
from alertctl.store.wakeups import WakeUps, announce
from alertctl.store.writer import Writer

__all__ = [
    "HEAD",
    "Connect",
    "Store",
    "WakeUps",
    "Writer",
    "announce",
    "current_version",
    "given",
    "insert_new",
    "insert_or",
    "packed",
    "upgrade",
]
