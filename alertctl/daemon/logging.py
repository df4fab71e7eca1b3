"""The daemon's log on stderr: one line for each record, as text or JSON, with every secret masked."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType

from alertctl.api.request_context import current_request
from alertctl.text import Redactor


class _Formatter(logging.Formatter):
    """Write a record as text or JSON, and mask known secrets, in tracebacks too."""

    def __init__(self, as_json: bool, secrets: Sequence[str]) -> None:
        super().__init__()
        self._as_json = as_json
        self._secrets = set(secrets)
        self._redactor = Redactor(secrets)

    def mask_also(self, secrets: Sequence[str]) -> None:
        self._secrets.update(secrets)
        self._redactor = Redactor(self._secrets)

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            # uvicorn names the logger of all its records uvicorn.error, which looks like an error.
            "logger": "uvicorn" if record.name == "uvicorn.error" else record.name,
            "message": record.getMessage(),
        }
        request = current_request.get()
        if request is not None:
            fields["request_id"] = request.id
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            return self._redactor.mask(json.dumps(fields, ensure_ascii=False))
        line = f"{fields['time']} {fields['level']:<7} {fields['logger']}: {fields['message']}"
        line += f" [request {fields['request_id']}]" if request is not None else ""
        return self._redactor.mask(f"{line}\n{fields['traceback']}" if record.exc_info else line)


def configure_logging(level: str, style: str, secrets: Sequence[str]) -> None:
    """Send every logger's records to stderr. `level` as in ALERTCTL_LOG_LEVEL, `style` is text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(style == "json", secrets))
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


def mask_also(secrets: Sequence[str]) -> None:
    """Mask further secrets in the log, beside those of `configure_logging`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Formatter):
            handler.formatter.mask_also(secrets)


def log_uncaught_exceptions() -> None:
    """Log exceptions that nothing catches, so that a JSON log has nothing but JSON."""
    log = logging.getLogger("alertctl")

    def write(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
        log.error("unexpected: %s", kind.__name__, exc_info=(kind, error or kind(), traceback))

    sys.excepthook = write
    sys.unraisablehook = lambda event: write(event.exc_type, event.exc_value, event.exc_traceback)
    threading.excepthook = lambda died: write(died.exc_type, died.exc_value, died.exc_traceback)
