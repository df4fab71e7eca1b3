"""A feature flag was rolled back because a metric crossed its threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from alertctl.content import Severity, format_number
from alertctl.events.base import EventFields, Fact, Number, Percentage, Text, percent, span, transition, within

_RELATION = {"greater_than": "above", "less_than": "below", "equal_to": "equal to"}
_SIGN = {"greater_than": ">", "less_than": "<", "equal_to": "="}


class SafetyRollback(EventFields):
    event_type: ClassVar[str] = "safety_rollback"
    description: ClassVar[str] = "a feature flag was rolled back for safety"
    default_on: ClassVar[bool | None] = True
    example: ClassVar[Mapping[str, Any]] = {
        "feature_flag": "checkout-v3",
        "environment": "production",
        "metric": "error_rate",
        "value": 0.0714,
        "threshold": 0.05,
        "from_percentage": 50,
        "to_percentage": 0,
        "url": "https://flags.corp.example/checkout-v3",
        "actor": "guardrails",
    }
    expected: ClassVar[tuple[str, ...]] = ("feature_flag", "environment", "metric", "value", "threshold")

    feature_flag: Text | None = Field(None, description="key of the flag")
    environment: Text | None = Field(None, description="environment of the flag")
    reason: Text | None = Field(None, description="reason for the rollback, in words")
    metric: Text | None = Field(
        None, description="name of the metric: error_rate (0 to 1), latency, p95_latency, … (ms), or any other"
    )
    value: Number | None = Field(None, description="value of the metric")
    threshold: Number | None = Field(None, description="threshold of the metric")
    comparison: Literal["greater_than", "less_than", "equal_to"] = Field(
        "greater_than", description="relation of value to threshold that triggered the rollback"
    )
    from_percentage: Percentage | None = Field(None, description="previous rollout percentage, 0 to 100")
    to_percentage: Percentage | None = Field(None, description="new rollout percentage, 0 to 100")

    @model_validator(mode="after")
    def _error_rate_is_a_share(self) -> SafetyRollback:
        for name in ("value", "threshold"):
            number = getattr(self, name)
            if self.metric == "error_rate" and number is not None and not 0 <= number <= 1:
                raise ValueError(
                    f"{name}: an error_rate is a share from 0 to 1 (5 % is 0.05), got {format_number(number)}"
                )
        return self

    @classmethod
    def has_shares(cls, values: Mapping[str, Any]) -> bool:
        return values.get("metric") == "error_rate"

    @property
    def level(self) -> Severity:
        return Severity.CRITICAL

    broadcast: ClassVar[bool] = True

    @property
    def ends_subject(self) -> bool:
        return True

    def step(self) -> str:
        return f"Rolled back{span(self.from_percentage, self.to_percentage)}{self._cause()}"

    def headline(self) -> str:
        return f"Safety rollback: {self.feature_flag}" if self.feature_flag else "Safety rollback"

    def sentence(self) -> str:
        what = self.feature_flag or "A feature flag"
        went = span(self.from_percentage, self.to_percentage)
        text = f"{what} was rolled back for safety{went}{within(self.environment)}{self._cause()}."
        return f"{text} Reason: {self.reason}" if self.reason else text

    def _cause(self) -> str:
        """Return ': error_rate was 7.143%, above the threshold of 5%', as far as it is known."""
        value, threshold = self._measured(self.value), self._measured(self.threshold)
        name, relation = self.metric or "the metric", _RELATION[self.comparison]
        if value and threshold:
            return f": {name} was {value}, {relation} the threshold of {threshold}"
        if value:
            return f": {name} was {value}"
        if threshold:
            return f": {name} was {relation} the threshold of {threshold}"
        return f" because of {self.metric}" if self.metric else ""

    def _measured(self, number: float | None) -> str | None:
        """Return a value in its metric's unit."""
        if number is None:
            return None
        if self.metric == "error_rate":
            return percent(number * 100)
        return f"{format_number(number)} ms" if "latency" in (self.metric or "").lower() else format_number(number)

    def facts(self) -> tuple[Fact, ...]:
        value, threshold = self._measured(self.value), self._measured(self.threshold)
        percentages = self.from_percentage, self.to_percentage
        sign = _SIGN[self.comparison]
        return (
            Fact("Feature flag", self.feature_flag, self.feature_flag),
            Fact("Environment", self.environment, within(self.environment).strip()),
            Fact("Metric", self.metric, self.metric),
            Fact("Value", value, value),
            Fact("Threshold", f"{sign} {threshold}" if threshold else None, f"threshold of {threshold}"),
            Fact("Rollout", transition(*percentages), span(*percentages).strip()),
            Fact("Reason", self.reason, self.reason),
        )
