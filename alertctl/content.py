"""What an event says, before any channel dresses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Field:
    """A name and a value, both plain text of any length; a channel escapes and cuts them."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Content:
    """One event in words, for people. Everything is plain text: nothing is escaped, nothing is cut.

    `title` is a headline ("Safety rollback: checkout-v3"), `summary` one or more full sentences.
    `link` is an http(s) address or None. `notes` are small print (environment, actor, "this is a test").
    """

    event_type: str
    event_id: str
    title: str
    summary: str
    severity: Severity
    fields: tuple[Field, ...]
    occurred_at: datetime
    link: str | None = None
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> Content:
        return replace(self, notes=(*self.notes, *notes))


def full_stop(text: str) -> str:
    """What ends this text as a sentence: nothing when it has an end of its own ("Really?", "再起動しました。")."""
    return "" if text.rstrip().endswith((".", "!", "?", "…", "。", "！", "？")) else "."


def format_number(value: float) -> str:
    """A number in 4 significant figures without an exponent: 0.07142857 -> 0.07143, 523.5 -> 523.5, 12000 -> 12000."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    # By way of Decimal: a large float's own digits go on with noise, 1e23 as 99999999999999991611392.
    text = format(Decimal(f"{value:.4g}"), "f") if abs(value) >= 1 else f"{value:.{_places(value)}f}"
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if short == "-0" else short


def _places(value: float) -> int:
    """Decimal places that keep 4 significant figures of a small number (at most 20)."""
    exponent = int(f"{value:e}".split("e")[1])
    return min(20, 3 - exponent)
