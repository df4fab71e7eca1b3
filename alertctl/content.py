"""An event in words, independent of the channel."""

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
    """A name and a value: plain text of any length, which a channel escapes and truncates."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Content:
    """An event in words. All texts are plain, neither escaped nor truncated.

    `title` is a headline ("Safety rollback: checkout-v3"), `summary` one or more full sentences.
    `link` is an http(s) address or None. `notes` are small print (environment, actor, "this is a test").
    `subject` names the flag or experiment and its environment ("checkout-v3 in production"), empty without one;
    `subject_key` is equal for all events about it. `step` is the new state in a few words ("Rollout 10% → 25%").
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
    labels: tuple[tuple[str, str], ...] = ()
    subject: str = ""
    subject_key: str = ""
    step: str = ""

    def with_notes(self, *notes: str) -> Content:
        """Return a copy with further notes."""
        return replace(self, notes=(*self.notes, *notes))


def full_stop(text: str) -> str:
    """Return the full stop that the text lacks, "" if it ends a sentence already ("Really?", "再起動しました。")."""
    return "" if text.rstrip().endswith((".", "!", "?", "…", "。", "！", "？")) else "."


def format_number(value: float) -> str:
    """Return a number with 4 significant figures and no exponent: 0.07142857 -> 0.07143, 12000 -> 12000."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    # Decimal, because a large float has further digits: 1e23 is 99999999999999991611392.
    text = format(Decimal(f"{value:.4g}"), "f") if abs(value) >= 1 else f"{value:.{_decimal_places(value)}f}"
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if short == "-0" else short


def _decimal_places(value: float) -> int:
    """Return the decimal places for 4 significant figures of a small number, at most 20."""
    exponent = int(f"{value:e}".split("e")[1])
    return min(20, 3 - exponent)
