"""What became of one `send`, as a file for a machine (`--receipt`)."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alertctl.cli.output import warn
from alertctl.errors import AlertctlError

if TYPE_CHECKING:
    from alertctl.schemas import DeliveryItem, EventReceipt, PublishRequest

OUTCOMES = ("recorded", "repeated", "spooled", "lost", "refused")
"""`repeated`: recorded before, under the same key. `lost`: neither recorded nor spooled. `refused`: see `error`."""


class Receipt:
    """The receipt of one `send`; rewritten as more is known, so that a job that is killed leaves the latest."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._said: dict[str, Any] = {
            "outcome": "refused",
            "event_id": None,
            "event_type": None,
            "created": False,
            "spooled": False,
            "idempotency_key": None,
            "recorded_at": None,
            "deliveries": [],
            "warnings": [],
            "error": None,
        }

    def asked(self, request: PublishRequest) -> None:
        self._said.update(event_type=request.event_type, idempotency_key=request.idempotency_key)

    def recorded(self, receipt: EventReceipt, deliveries: Sequence[DeliveryItem], warnings: Sequence[str]) -> None:
        born = min((one.created_at for one in deliveries), default=None)
        self._write(
            outcome="recorded" if receipt.created else "repeated",
            event_id=receipt.event_id,
            created=receipt.created,
            recorded_at=born,
            deliveries=[_told(one) for one in deliveries],
            warnings=list(warnings),
        )

    def spooled(self, spool_id: str, cause: str) -> None:
        self._write(outcome="spooled", spooled=True, spool_id=spool_id, error=cause)

    def lost(self, cause: str) -> None:
        self._write(outcome="lost", error=cause)

    def refused(self, cause: str) -> None:
        self._write(outcome="refused", error=cause)

    def _write(self, **more: Any) -> None:
        from alertctl.schemas import as_json

        self._said.update(more)
        if self._file is None:
            return
        try:
            write_whole(Path(self._file), json.dumps(as_json(self._said), indent=2) + "\n")
        except (OSError, ValueError) as error:
            warn(f"--receipt {self._file}: {getattr(error, 'strerror', None) or error}")
            self._file = None


@contextmanager
def receipt_in(file: str | None) -> Iterator[Receipt]:
    """A receipt that also says so when the event is refused."""
    receipt = Receipt(file)
    try:
        yield receipt
    except Exception as error:
        # Also for what nobody expected: an earlier run's receipt must not stand for this one.
        receipt.refused(str(error) if isinstance(error, AlertctlError) else f"unexpected: {type(error).__name__}")
        raise


def _told(one: DeliveryItem) -> dict[str, Any]:
    """Who was told, when, and the provider's own id. `latency_ms`: from the event's record to its success."""
    return {
        "id": one.id,
        "channel": one.channel,
        "to": one.to,
        "status": one.status,
        "error": one.error,
        "attempts": one.attempts,
        "provider_id": one.provider_id,
        "when": one.updated_at,
        "latency_ms": one.latency_ms,
    }


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that nobody ever reads half of it; what is no file (a pipe) is written to. Raises OSError."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        path.write_text(text)
        return
    target = path.resolve()
    half = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        half.write_text(text)
        os.replace(half, target)
    except OSError:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise
