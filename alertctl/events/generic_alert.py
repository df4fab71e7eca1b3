"""A custom alert of any service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from alertctl.content import Severity, full_stop
from alertctl.events.base import EventFields, Fact, Text


class GenericAlert(EventFields):
    event_type: ClassVar[str] = "generic_alert"
    description: ClassVar[str] = "a custom alert from any service"
    default_on: ClassVar[bool | None] = None
    example: ClassVar[Mapping[str, Any]] = {
        "title": "Disk almost full",
        "message": "91 % of /var is used.",
        "severity": "warning",
        "source": "db-7",
        "details": {"host": "db-7.corp.example", "free": "18 GB"},
    }

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="headline of the alert"
    )
    message: Text | None = Field(None, description="text of the alert")
    severity: Severity = Field(Severity.INFO, description="info, warning, error or critical")
    source: Text | None = Field(None, description="service that raised the alert")

    @property
    def level(self) -> Severity:
        return self.severity

    def headline(self) -> str:
        return self.title

    def sentence(self) -> str:
        return self.message or f"{self.title}{full_stop(self.title)}"

    def facts(self) -> tuple[Fact, ...]:
        return (Fact("Source", self.source),)
