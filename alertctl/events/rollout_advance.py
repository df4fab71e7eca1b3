"""A rollout moved to its next stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from alertctl.events.base import Count, EventFields, Fact, Moment, Percentage, Text, span, transition, within


class RolloutAdvance(EventFields):
    event_type: ClassVar[str] = "rollout_advance"
    description: ClassVar[str] = "a rollout moved to its next stage; by default its alert goes to Slack only"
    channels: ClassVar[tuple[str, ...] | None] = ("slack",)
    default_on: ClassVar[bool | None] = False
    example: ClassVar[Mapping[str, Any]] = {
        "feature_flag": "dark-mode",
        "from_percentage": 25,
        "to_percentage": 50,
        "stage": 2,
        "stages": 4,
        "environment": "production",
    }
    expected: ClassVar[tuple[str, ...]] = ("feature_flag", "to_percentage")

    feature_flag: Text | None = Field(None, description="key of the flag")
    from_percentage: Percentage | None = Field(None, description="previous rollout percentage, 0 to 100")
    to_percentage: Percentage | None = Field(None, description="new rollout percentage, 0 to 100")
    stage: Count | None = Field(None, description="current stage, counted from 1")
    stages: Count | None = Field(None, description="number of stages")
    environment: Text | None = Field(None, description="environment of the flag")
    next_at: Moment | None = Field(None, description="planned time of the next stage (ISO 8601; without a zone: UTC)")

    @property
    def ends_subject(self) -> bool:
        return self.to_percentage == 100

    @property
    def state_mark(self) -> str:
        return "✅" if self.to_percentage == 100 else "⏩"

    def step(self) -> str:
        return f"Rollout {transition(self.from_percentage, self.to_percentage) or self._stage() or 'advanced'}"

    def headline(self) -> str:
        return f"Rollout advanced: {self.feature_flag}" if self.feature_flag else "Rollout advanced"

    def sentence(self) -> str:
        what = f"The rollout of {self.feature_flag}" if self.feature_flag else "A rollout"
        stage = f" ({self._stage()})" if self._stage() else ""
        return f"{what} advanced{span(self.from_percentage, self.to_percentage)}{within(self.environment)}{stage}."

    def _stage(self) -> str | None:
        if self.stage is None:
            return None
        return f"stage {self.stage} of {self.stages}" if self.stages is not None else f"stage {self.stage}"

    def facts(self) -> tuple[Fact, ...]:
        percentages = self.from_percentage, self.to_percentage
        return (
            Fact("Feature flag", self.feature_flag, self.feature_flag),
            Fact("Environment", self.environment, within(self.environment).strip()),
            Fact("Rollout", transition(*percentages), span(*percentages).strip()),
            Fact("Stage", self._stage(), self._stage()),
            Fact("Next stage", self.next_at.strftime("%Y-%m-%d %H:%M UTC") if self.next_at else None),
        )
