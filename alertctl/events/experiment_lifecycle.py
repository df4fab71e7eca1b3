"""An experiment started, paused, resumed, stopped or completed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from alertctl.events.base import EventFields, Fact, Text, within

STATE_MARKS = {"started": "▶️", "paused": "⏸️", "resumed": "▶️", "stopped": "⏹️", "completed": "✅"}


class ExperimentLifecycle(EventFields):
    event_type: ClassVar[str] = "experiment_lifecycle"
    description: ClassVar[str] = "an experiment started, paused, resumed, stopped or completed"
    default_on: ClassVar[bool | None] = True
    example: ClassVar[Mapping[str, Any]] = {
        "experiment": "new-cta",
        "action": "completed",
        "winner": "variant-b",
        "result": "Sign-ups rose by 4.2 %.",
        "environment": "production",
        "owner": "growth",
    }
    expected: ClassVar[tuple[str, ...]] = ("experiment",)

    experiment: Text | None = Field(None, description="name or key of the experiment")
    action: Literal["started", "paused", "resumed", "stopped", "completed"] = Field(
        description="new state of the experiment"
    )
    owner: Text | None = Field(None, description="owner of the experiment")
    hypothesis: Text | None = Field(None, description="hypothesis of the experiment")
    winner: Text | None = Field(None, description="winning variant")
    result: Text | None = Field(None, description="outcome, in words")
    environment: Text | None = Field(None, description="environment of the experiment")

    broadcast: ClassVar[bool] = True

    @property
    def ends_subject(self) -> bool:
        return self.action in ("stopped", "completed")

    @property
    def state_mark(self) -> str:
        return STATE_MARKS[self.action]

    def step(self) -> str:
        text = self.action.capitalize()
        return f"{text}: {self.winner} wins" if self.winner else text

    def headline(self) -> str:
        return f"Experiment {self.action}: {self.experiment}" if self.experiment else f"Experiment {self.action}"

    def sentence(self) -> str:
        verb = self.action if self.action in ("started", "completed") else f"was {self.action}"
        text = f"{self.experiment or 'An experiment'} {verb}{within(self.environment)}."
        if self.winner:
            text += f" The winner is {self.winner}."
        return f"{text} {self.result}" if self.result else text

    def facts(self) -> tuple[Fact, ...]:
        return (
            Fact("Experiment", self.experiment, self.experiment),
            Fact("Environment", self.environment, within(self.environment).strip()),
            Fact("Owner", self.owner),
            Fact("Winner", self.winner, self.winner),
            Fact("Result", self.result, self.result),
            Fact("Hypothesis", self.hypothesis),
        )
