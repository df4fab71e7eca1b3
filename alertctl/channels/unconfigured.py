"""A channel that is switched on but has nothing to send with: every delivery says what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from alertctl.channels.base import Parcel, Verdict
from alertctl.content import Content
from alertctl.errors import DeliveryError, Reason


class UnconfiguredEmail:
    """Email without a way out. `missing` names the settings that would give it one."""

    name = "email"
    provider = "smtp"
    batch_size = 1
    deadline = 1.0

    def __init__(self, missing: str) -> None:
        self._missing = missing

    def send(self, content: Content, parcels: Sequence[Parcel]) -> list[Verdict]:
        return [DeliveryError(Reason.CONFIG, "not_configured", detail=self._missing) for _ in parcels]

    def render(self, content: Content, parcel: Parcel) -> dict[str, Any]:
        """What would be sent, from nobody."""
        from alertctl.channels.email import Sender, headers, letter

        said = letter(content, parcel.plain)
        nobody = Sender("nobody@alertctl.invalid")
        shown = headers(content, parcel.delivery_id, parcel.address, nobody, datetime.now(UTC))
        return {"headers": shown, "text": said.text, "html": said.html}

    def close(self) -> None:
        """Nothing is kept."""
