"""Warnings of `send` about deliveries that did not arrive."""

from __future__ import annotations

from collections import Counter

from alertctl.channels import CHANNEL_TYPES
from alertctl.schemas import DeliveryItem, Rendered

NOBODY = (
    f"no recipients: enable a channel ({', '.join(kind.enabled_setting for kind in CHANNEL_TYPES)}), "
    "or name a target with --to"
)
MAX_NAMED = 10
"""Maximum of failed deliveries that are named; the log has them all."""


def is_off(delivery: DeliveryItem | Rendered) -> bool:
    """Return whether the delivery is suppressed because its channel is off. Other causes (duplicate) are intended."""
    cause = delivery.suppressed_reason if isinstance(delivery, Rendered) else delivery.error
    return cause == f"{delivery.channel}_disabled"


def delivery_warnings(deliveries: list[DeliveryItem], queue: bool) -> list[str]:
    """Return the warnings about deliveries that are suppressed or did not arrive. `queue`: nothing was sent yet."""
    suppressed = Counter(delivery.error for delivery in deliveries if delivery.status == "suppressed")
    warnings = [f"{cause}: {count} suppressed" for cause, count in suppressed.items()]
    if all(map(is_off, deliveries)):
        return [*warnings, NOBODY]
    missed = [delivery for delivery in deliveries if not queue and delivery.status not in ("success", "suppressed")]
    more = [f"and {len(missed) - MAX_NAMED} more did not arrive"] if len(missed) > MAX_NAMED else []
    return [*warnings, *map(_undelivered, missed[:MAX_NAMED]), *more]


def _undelivered(delivery: DeliveryItem) -> str:
    target = f"{delivery.channel} {delivery.to}"
    if delivery.status != "failed":
        return f"{target}: {delivery.status}, not sent yet"
    again = "it will be retried" if delivery.next_attempt_at else "it will not be retried"
    return f"{target}: {delivery.error}; {again} (alertctl log show {delivery.id[-8:]})"
