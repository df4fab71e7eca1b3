"""The database: engine, transactions, a daemon's writer, notifications between processes, migrations."""

from alertctl.db.bulk import bulk_parameter, bulk_rows
from alertctl.db.engine import Store, TransactionRunner, insert_new, insert_of, upsert
from alertctl.db.migrate import HEAD, current_version, refuse_unusable, upgrade
from alertctl.db.notifications import WakeUps, announce
from alertctl.db.writer import Writer

__all__ = [
    "HEAD",
    "Store",
    "TransactionRunner",
    "WakeUps",
    "Writer",
    "announce",
    "bulk_parameter",
    "bulk_rows",
    "current_version",
    "insert_new",
    "insert_of",
    "refuse_unusable",
    "upgrade",
    "upsert",
]
