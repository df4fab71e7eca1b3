"""The daemon's log on stderr: one line for each record, as text or JSON, with every secret masked."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from alertctl.text import Redactor


class _Redacting(logging.Formatter):
    """Mask known secrets in the records of every logger, tracebacks included."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._redactor = Redactor(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.mask(self.line(record))

    def line(self, record: logging.LogRecord) -> str:
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{_when(record)} {record.levelname.lower():<7} {record.name}: {record.getMessage()}{trace}"


class _Json(_Redacting):
    def line(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def configure_logging(level: str, style: str, secrets: Sequence[str]) -> None:
    """Send every logger's records to stderr. `level` as in ALERTCTL_LOG_LEVEL, `style` is text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(secrets) if style == "json" else _Redacting(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # The command line's own handler would repeat each record.
    logging.getLogger("alertctl").handlers.clear()
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # These loggers' records about their own work are for debugging only. The pool's errors are tracebacks of
    # connections that a restarted database has cut: the daemon logs that in one line.
    for name, minimum in (("apscheduler", logging.WARNING), ("alembic", logging.WARNING), ("sqlalchemy.pool", 60)):
        logging.getLogger(name).setLevel(logging.DEBUG if root.level <= logging.DEBUG else minimum)
