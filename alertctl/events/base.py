"""The base of all event types: the types of fields, and the conversion to content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from alertctl.content import Content, Severity, format_number, format_value
from alertctl.content import Field as ContentField


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, not yes or no")
    return value


def _aware(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        # The calendar's first and last hours. pydantic only reports a ValueError as a validation error.
        raise ValueError("should be a time within the range of UTC") from None


Text: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True)]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_not_bool)]
Percentage: TypeAlias = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), BeforeValidator(_not_bool)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_not_bool)]
Moment: TypeAlias = Annotated[datetime, AfterValidator(_aware)]
Scalar: TypeAlias = str | bool | int | Annotated[float, Field(allow_inf_nan=False)] | None


class Fact(NamedTuple):
    """A label and a value, None if it is missing. `phrase` are the words with which `sentence` states the value."""

    label: str
    value: str | None
    phrase: str | None = None


class EventFields(BaseModel):
    """The typed fields of one event type; a subclass is one file in this folder.

    All are optional unless a subclass makes them required: an alert is never refused for a missing detail.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_max_length=1_000_000,
        # `lenient_input` moves unknown fields into `details`.
        json_schema_extra={"additionalProperties": True},
    )

    event_type: ClassVar[str]
    description: ClassVar[str]
    channels: ClassVar[tuple[str, ...] | None] = None
    """The channels of this type unless the caller names targets; None for all."""
    default_on: ClassVar[bool | None]
    """A new user's preference; None for a type without a preference."""
    example: ClassVar[Mapping[str, Any]]
    """The fields of an example, for the reference and for previews."""
    expected: ClassVar[tuple[str, ...]] = ()
    """Fields whose absence is worth a warning."""

    url: Text | None = Field(None, description="URL of a page about the event (http or https)")
    actor: Text | None = Field(None, description="person or system that caused the event")
    details: dict[str, Scalar] | None = Field(
        None, description="further values to show: an object of strings, numbers or booleans"
    )
    occurred_at: Moment | None = Field(None, description="time of the event (ISO 8601; without a zone: UTC)")
    dedup_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        None,
        description="deduplication key: a later event with the same key is not recorded; with a dedup window it is "
        "recorded, but not sent to the same target again",
    )

    @classmethod
    def has_shares(cls, values: Mapping[str, Any]) -> bool:
        """Return whether the numbers in these values are shares from 0 to 1, so that 7% is 0.07."""
        return False

    broadcast: ClassVar[bool] = False
    """Whether a message of this type in a thread is shown in the channel, too."""

    @property
    def level(self) -> Severity:
        return Severity.INFO

    @property
    def subject(self) -> tuple[str, str, str] | None:
        """The subject's kind (`flag`, `experiment`), name and environment ("" for none); None without a subject."""
        for kind, name in (("flag", "feature_flag"), ("experiment", "experiment")):
            if value := getattr(self, name, None):
                return kind, value, getattr(self, "environment", None) or ""
        return None

    @property
    def ends_subject(self) -> bool:
        """Whether nothing more is expected about the subject: the experiment stopped, the rollout is complete."""
        return False

    @property
    def state_mark(self) -> str:
        """Return an emoji for the subject's new state, empty for that of the severity."""
        return ""

    def step(self) -> str:
        """Return the subject's new state in a few words, for a list of steps."""
        return self.headline()

    def headline(self) -> str:
        raise NotImplementedError

    def sentence(self) -> str:
        """Return one or more full sentences; missing fields are left out."""
        raise NotImplementedError

    def facts(self) -> tuple[Fact, ...]:
        """Return what to show as fields, most important first."""
        return ()

    def content(self, event_id: str, occurred_at: datetime) -> Content:
        facts = [ContentField(fact.label, fact.value, fact.phrase or "") for fact in self.facts() if fact.value]
        more = [ContentField(name, str(format_value(value))) for name, value in (self.details or {}).items()]
        subject = self.subject
        return Content(
            subject=f"{subject[1]}{within(subject[2])}" if subject else "",
            subject_key=subject_key(subject) or "",
            step=self.step(),
            state_mark=self.state_mark,
            event_type=self.event_type,
            event_id=event_id,
            title=self.headline(),
            summary=self.sentence(),
            severity=self.level,
            fields=tuple(facts + more),
            occurred_at=occurred_at,
            link=self.url,
            notes=(f"by {self.actor}",) if self.actor else (),
        )


def subject_key(subject: tuple[str, str, str] | None) -> str | None:
    """Return a hash that is equal for events about the same subject, None without a subject."""
    return hashlib.sha256("\0".join(subject).encode()).hexdigest() if subject else None


def percent(value: float | None) -> str | None:
    """Return 7.1428 as `7.143%`; None stays None."""
    return None if value is None else f"{format_number(value)}%"


def span(start: float | None, end: float | None) -> str:
    """Return ' from 50% to 0%' with the known ends only; empty when neither is known."""
    begins = "" if start is None else f" from {percent(start)}"
    return begins + ("" if end is None else f" to {percent(end)}")


def transition(start: float | None, end: float | None) -> str | None:
    """Return '50% → 0%' for a field, None when neither end is known."""
    if start is None or end is None:
        return span(start, end)[1:] or None
    return f"{percent(start)} → {percent(end)}"


def within(environment: str | None) -> str:
    return f" in {environment}" if environment else ""
