"""What became of one `send`, as a file for a machine (`--receipt`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alertctl.cli.output.atomic_file import replaceable, writing
from alertctl.cli.output.streams import warn
from alertctl.errors import AlertctlError

if TYPE_CHECKING:
    from alertctl.schemas import DeliveryItem, EventReceipt, PublishRequest

OUTCOMES = ("recorded", "repeated", "spooled", "lost", "refused")
"""`repeated`: recorded before, under the same key. `lost`: neither recorded nor spooled. `refused`: see `error`."""


class Receipt:
    """The receipt of one `send`; rewritten as more is known, so that a job that is killed leaves the latest.

    What can't be rewritten (a pipe, `/dev/stdout`) gets the last one only.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._rewritten = file is not None and replaceable(file)
        self._due = False
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
        self._said.update(more)
        self._due = True
        if self._rewritten:
            self.put()

    def put(self) -> None:
        """Write what isn't written yet."""
        from alertctl.schemas import as_json

        if self._file is None or not self._due:
            return
        self._due = False
        try:
            with writing(self._file) as out:
                out.write(json.dumps(as_json(self._said), indent=2) + "\n")
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
    finally:
        receipt.put()


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
