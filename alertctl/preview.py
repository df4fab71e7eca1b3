"""Preview an event: the message for each target, without recording or sending anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from alertctl.addresses import masked
from alertctl.channels import build_all
from alertctl.channels.base import OutgoingMessage
from alertctl.config import Settings
from alertctl.db import Store
from alertctl.ids import new_id
from alertctl.publish import Publication, targets_of
from alertctl.routing import Target
from alertctl.schemas import Rendered


def outgoing_message(delivery_id: str, target: Target) -> OutgoingMessage:
    """Return the message that a delivery to this target would send."""
    return OutgoingMessage(
        delivery_id,
        target.address,
        routing_reason=target.routing_reason,
        route=target.route,
        options=target.options,
    )


def preview_event(
    store: Store, settings: Settings, publication: Publication, moment: datetime, *, mask_users: bool = False
) -> list[Rendered]:
    """Return the message for each target if this were published now, with `mask_users` without users' addresses.

    Raises Unreachable.
    """
    content = publication.fields.content(new_id(moment), publication.fields.occurred_at or moment)
    with store.reading() as connection:
        targets = list(targets_of(connection, publication))
    if mask_users:
        targets = [
            replace(target, address=masked(target.channel, target.address)) if target.user_id else target
            for target in targets
        ]
    channels: dict[str, Any] = build_all(settings)
    return [
        Rendered(
            channel=target.channel,
            to=target.address,
            routing_reason=target.routing_reason,
            suppressed_reason=target.suppressed_reason,
            message=channels[target.channel].render(content, outgoing_message(new_id(moment), target)),
        )
        for target in targets
    ]
