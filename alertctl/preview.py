"""Render messages without recording or sending anything: for an event's targets, or for an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from alertctl.addresses import masked
from alertctl.channels import CHANNEL_TYPES, build_all, channel_type
from alertctl.channels.base import MessageOptions, OutgoingMessage
from alertctl.config import Settings
from alertctl.config.validators import STYLES
from alertctl.content import Content
from alertctl.db import Store
from alertctl.errors import InvalidEvent
from alertctl.events import BY_NAME, compose, find, parse
from alertctl.events.wording import NO_WORDING, Wording
from alertctl.events.wording import problems as wording_problems
from alertctl.ids import new_id
from alertctl.labels import parse_labels
from alertctl.publish import Publication, decisions_of
from alertctl.routing import Target
from alertctl.schemas import PublishRequest, Rendered
from alertctl.suggestions import suggest

EXAMPLE_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def preview_messages(
    settings: Settings, request: PublishRequest, style: str | None, moment: datetime
) -> tuple[list[Rendered], list[str]]:
    """Return an event's message for each channel (or `request.channel`), and warnings. Uses no database.

    Without fields it is the event type's example, which also supplies missing required fields. The address is the first
    of the channel's default ones, the style that of the settings. Raises InvalidEvent and ConfigError.
    """
    if style is not None and style not in STYLES:
        raise InvalidEvent("style", f"{style[:80]!r} is not a style{suggest(style, STYLES)}")
    event_type = find(request.event_type)
    example = event_type.example
    required = {name: example[name] for name, field in event_type.model_fields.items() if field.is_required()}
    fields, warnings = parse(request.event_type, required | request.fields if request.fields else example)
    labels, label_warnings = parse_labels(request.labels)
    event_id = new_id(moment)
    occurred_at = fields.occurred_at or moment
    fields_json = fields.model_dump_json(exclude_unset=True)
    content = compose(fields, fields_json, event_id, occurred_at, labels, Wording.of(settings.messages))
    kinds = [channel_type(request.channel)] if request.channel else CHANNEL_TYPES
    channels = build_all(settings)
    rendered = []
    for kind in kinds:
        address = next(iter(kind.default_addresses(settings)), kind.address_example)
        reason = kind.default_routing_reason.name
        options = MessageOptions(style=style) if style else kind.message_options(settings)
        target = Target(kind.name, address, reason, options=options)
        rendered.append(_render(channels, content, target, moment))
    return rendered, [*warnings, *label_warnings, *content.warnings]


def _render(channels: Mapping[str, Any], content: Content, target: Target, moment: datetime) -> Rendered:
    outgoing = OutgoingMessage(
        new_id(moment),
        target.address,
        routing_reason=target.routing_reason,
        route=target.route,
        options=target.options,
        # Nobody is looked up: people are shown as text.
        mentions=target.options.mentions_at(content.severity),
    )
    return Rendered(
        channel=target.channel,
        to=target.address,
        routing_reason=target.routing_reason,
        suppressed_reason=target.suppressed_reason,
        message=channels[target.channel].render(content, outgoing),
        route=target.route,
    )


def appearance_problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the setting and the problem of each title, summary and email template that fails for an example event."""
    yield from wording_problems(settings.messages, BY_NAME)
    problems: dict[tuple[str, str], None] = {}
    for event_type in BY_NAME.values():
        fields = event_type.model_validate(event_type.example)
        content = compose(fields, fields.model_dump_json(exclude_unset=True), "", EXAMPLE_TIME, {}, NO_WORDING)
        for kind in CHANNEL_TYPES:
            problems.update(dict.fromkeys(kind.template_problems(settings, content)))
    yield from problems


def preview_event(
    store: Store, settings: Settings, publication: Publication, moment: datetime, *, mask_users: bool = False
) -> list[Rendered]:
    """Return each target's message, as if published now; `mask_users` hides users' addresses. Raises Unreachable."""
    fields = publication.fields
    labels = publication.request.labels
    wording = Wording.of(settings.messages)
    occurred_at = fields.occurred_at or moment
    content = compose(fields, publication.fields_json, new_id(moment), occurred_at, labels, wording)
    with store.reading() as connection:
        targets = [decision.target for decision in decisions_of(connection, publication)]
    if mask_users:
        targets = [replace(target, address=masked(target.address)) if target.user_id else target for target in targets]
    channels = build_all(settings)
    return [_render(channels, content, target, moment) for target in targets]
