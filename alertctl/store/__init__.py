"""Where rows are kept: the engine, transactions, the one writer of a daemon, migrations."""

from alertctl.store.engine import Connect, Store, insert_new, insert_or
from alertctl.store.migrate import HEAD, current_version, upgrade
from alertctl.store.writer import Writer

__all__ = ["HEAD", "Connect", "Store", "Writer", "current_version", "insert_new", "insert_or", "upgrade"]
