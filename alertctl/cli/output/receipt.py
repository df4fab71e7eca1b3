"""The result of one `send` as a JSON file (`--receipt`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alertctl.cli.output.atomic_file import atomic_write, is_replaceable
from alertctl.cli.output.streams import warn
from alertctl.errors import AlertctlError
from alertctl.schemas import DeliveryItem, EventReceipt, PublishRequest, as_json


class ReceiptFile:
    """The receipt of one `send`; rewritten at every step, so that a killed job leaves the latest state.

    A file that can't be replaced (a pipe, `/dev/stdout`) gets the last state only. Outcomes: `recorded`, `repeated`
    (recorded before, under the same key), `spooled`, `lost` (neither recorded nor spooled), `refused` (see `error`).
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._rewritten = file is not None and is_replaceable(file)
        self._due = False
        self._content: dict[str, Any] = {
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

    def requested(self, request: PublishRequest) -> None:
        self._content.update(event_type=request.event_type, idempotency_key=request.idempotency_key)

    def recorded(self, receipt: EventReceipt, deliveries: Sequence[DeliveryItem], warnings: Sequence[str]) -> None:
        self.write(
            "recorded" if receipt.created else "repeated",
            event_id=receipt.event_id,
            created=receipt.created,
            recorded_at=min((delivery.created_at for delivery in deliveries), default=None),
            deliveries=[_delivery(delivery) for delivery in deliveries],
            warnings=list(warnings),
        )

    def write(self, outcome: str, **fields: Any) -> None:
        """Set the outcome and other fields, and write the file if it can be rewritten."""
        self._content.update(fields, outcome=outcome)
        self._due = True
        if self._rewritten:
            self.put()

    def put(self) -> None:
        """Write the receipt, if it changed since it was last written."""
        if self._file is None or not self._due:
            return
        self._due = False
        try:
            with atomic_write(self._file) as out:
                out.write(json.dumps(as_json(self._content), indent=2) + "\n")
        except (OSError, ValueError) as error:
            warn(f"--receipt {self._file}: {getattr(error, 'strerror', None) or error}")
            self._file = None


@contextmanager
def receipt_in(file: str | None) -> Iterator[ReceiptFile]:
    """Yield a receipt; an exception is recorded in it as a refusal."""
    receipt = ReceiptFile(file)
    try:
        yield receipt
    except Exception as error:
        # Also for unexpected errors: the receipt of an earlier run must not remain.
        cause = str(error) if isinstance(error, AlertctlError) else f"unexpected: {type(error).__name__}"
        receipt.write("refused", error=cause)
        raise
    finally:
        receipt.put()


def _delivery(delivery: DeliveryItem) -> dict[str, Any]:
    """Return a delivery for the receipt. `latency_ms` is the time from recording the event to success."""
    names = ("id", "channel", "to", "status", "error", "attempts", "provider_id")
    fields = {name: getattr(delivery, name) for name in names}
    return {**fields, "when": delivery.updated_at, "latency_ms": delivery.latency_ms}
