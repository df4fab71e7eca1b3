"""Divide the process's file descriptors between connections of callers and everything else."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import time
from typing import Any

log = logging.getLogger("alertctl.daemon")
MAX_CONNECTIONS = 4096
"""Connections of callers that are open at most; fewer when the limit of open files is below twice this number."""
LOG_INTERVAL = 60.0
"""Seconds between two warnings about the same shortage."""


def raise_file_limit() -> None:
    """Raise the soft limit of open files as far as connections need it and the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * MAX_CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def max_connections() -> int:
    """Return how many callers may be connected: half of the descriptors stay free for sending and the database."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


class ShortageLog:
    """Log a shortage when it begins, and again only after LOG_INTERVAL seconds."""

    def __init__(self) -> None:
        self._logged_at = float("-inf")

    def warn(self, message: str, *values: object) -> None:
        if time.monotonic() - self._logged_at > LOG_INTERVAL:
            self._logged_at = time.monotonic()
            log.warning(message, *values)


class LoopErrorHandler:
    """Log one line when a connection can't be accepted. asyncio logs a traceback for each try."""

    def __init__(self) -> None:
        self._log = ShortageLog()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            self._log.warn("%s: new connections wait; raise the hard limit of open files", error.strerror)
        else:
            loop.default_exception_handler(context)
