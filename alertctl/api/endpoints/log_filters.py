"""The delivery log's filters as query parameters; an empty one is none."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from alertctl.channels import CHANNEL_NAMES
from alertctl.events import BY_NAME
from alertctl.models import Status
from alertctl.schemas import LogFilter
from alertctl.suggestions import did_you_mean

PLAIN = r"[^\x00-\x1f\x7f]*"


def _one_of(*names: str) -> Any:
    """One of the names; an empty text is no filter, as in `?status=&page=2`."""

    def check(text: str) -> str | None:
        if text and text not in names:
            raise ValueError(f"should be one of {', '.join(names)}{did_you_mean(text, names)}")
        return text or None

    schema = {"type": "string", "enum": ["", *names]}
    return Annotated[str | None, BeforeValidator(check), WithJsonSchema(schema)]


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        # A plus sign that nobody encoded arrives as a space.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+").upper())
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("should be a time like 2026-03-02T14:32:00Z (without a zone: UTC)") from None


def _plain(text: str) -> str | None:
    if not re.fullmatch(PLAIN, text):
        raise ValueError("should have no control characters")
    return text or None


Word = Annotated[str | None, BeforeValidator(_plain), WithJsonSchema({"type": "string", "pattern": f"^{PLAIN}$"})]
Moment = Annotated[
    datetime | None,
    BeforeValidator(_moment),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]}),
]


class Filters(BaseModel):
    """Which deliveries; all conditions must hold."""

    model_config = ConfigDict(extra="forbid")

    event_type: _one_of(*BY_NAME) = None  # type: ignore[valid-type]
    status: _one_of(*Status) = None  # type: ignore[valid-type]
    channel: _one_of(*CHANNEL_NAMES) = None  # type: ignore[valid-type]
    to: Word = Field(None, description="the address, in any case")
    error: Word = Field(None, description="the provider's own code")
    event_id: Word = Field(None, description="the whole id of an event")
    since: Moment = Field(None, description="from this time on")
    until: Moment = Field(None, description="before this time")
    user: Word = Field(None, description="an id or email: whose preference chose the target")
    flag: Word = Field(None, description="the event's feature flag")
    experiment: Word = Field(None, description="the event's experiment")
    grep: Word = Field(None, description="a text in the event, the address, the error or an answer; reads them all")
    retrying: bool = Field(False, description="failed, and will be tried again")
    final: bool = Field(False, description="nothing more will happen by itself")

    def where(self) -> LogFilter:
        return LogFilter(**{name: getattr(self, name) for name in Filters.model_fields})
