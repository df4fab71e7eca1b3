"""Warnings of `send` about deliveries that did not arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alertctl.schemas import DeliveryItem, PublishRequest

if TYPE_CHECKING:
    from alertctl.schemas import Rendered

MAX_NAMED = 10
"""Maximum number of failed deliveries in the warnings; the log has all of them."""


def lacks_recipient(items: Sequence[DeliveryItem | Rendered]) -> bool:
    """Return whether there is no target, or each is on a channel that is off. Duplicates are suppressed on purpose."""
    return all(map(is_off, items))


def explain_no_recipient(
    request: PublishRequest, items: Sequence[DeliveryItem | Rendered], warnings: Sequence[str]
) -> list[str]:
    """Return the warning for an event that nobody gets, unless it is one of `warnings`.

    A repeated call and an older server don't warn of an event without targets.
    """
    from alertctl.channels import CHANNEL_TYPES

    if any(warning.startswith("no recipients") for warning in warnings):
        return []
    if items:
        off = [kind.enabled_setting for kind in CHANNEL_TYPES if kind.name in {item.channel for item in items}]
        return [f"no message is sent: set {' or '.join(off)} to true for later events"] if off else []
    # Imported late: it takes long, and is hardly ever needed.
    from alertctl.publish import explain_no_targets

    return [explain_no_targets(request)]


def delivery_warnings(
    request: PublishRequest, deliveries: list[DeliveryItem], known: Sequence[str], *, queue: bool, remote: bool
) -> list[str]:
    """Return the warnings about deliveries that are suppressed or did not arrive, besides the `known` ones.

    `queue`: nothing was sent yet, as far as the deliveries show.
    """
    suppressed = Counter(delivery.error for delivery in deliveries if delivery.status == "suppressed")
    warnings = [f"{cause}: {count} suppressed" for cause, count in suppressed.items()]
    if lacks_recipient(deliveries):
        return [*warnings, *explain_no_recipient(request, deliveries, known)]
    missed = [delivery for delivery in deliveries if not queue and delivery.status not in ("success", "suppressed")]
    more = [f"and {len(missed) - MAX_NAMED} more did not arrive"] if len(missed) > MAX_NAMED else []
    return [*warnings, *(_undelivered(delivery, remote) for delivery in missed[:MAX_NAMED]), *more]


def is_off(item: DeliveryItem | Rendered) -> bool:
    """Return whether the delivery is suppressed because its channel is off."""
    cause = item.error if isinstance(item, DeliveryItem) else item.suppressed_reason
    return cause == f"{item.channel}_disabled"


def _undelivered(delivery: DeliveryItem, remote: bool) -> str:
    target = f"{delivery.channel} {delivery.to}"
    if delivery.status != "failed":
        return f"{target}: {delivery.status}, not sent yet"
    if delivery.next_attempt_at is None:
        again = "it will not be retried"
    else:
        again = "it will be retried" if remote else "alertctl serve or dispatch --once retries it"
    hint = "delivery" if remote else "alertctl log show"
    return f"{target}: {delivery.error}; {again} ({hint} {delivery.id[-8:]})"
