"""An event in words, independent of the channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Field:
    """A name and a value: plain text of any length, which a channel escapes and truncates.

    `phrase` are the words with which a summary states the value ("in production"); empty if no summary does.
    """

    name: str
    value: str
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """An event in words. All texts are plain, neither escaped nor truncated.

    `title` is a headline ("Safety rollback: checkout-v3"), `summary` one or more full sentences.
    `link` is an http(s) address or None. `notes` are small print (environment, actor, "this is a test").
    `subject` names the flag or experiment and its environment ("checkout-v3 in production"), empty without one;
    `subject_key` is equal for all events about it. `step` is the new state in a few words ("Rollout 10% → 25%"), and
    `state_mark` an emoji for it, empty for that of the severity.
    `event_json` are the event's fields, for templates. `warnings` tell what the message lacks, for the attempt's note.
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
    state_mark: str = ""
    event_json: str = "{}"
    warnings: tuple[str, ...] = ()

    @property
    def is_only_title(self) -> bool:
        """Whether the summary only repeats the title."""
        return self.summary.strip() in (self.title.strip(), f"{self.title.strip()}{full_stop(self.title)}")

    def fields_beyond(self, summary: str) -> tuple[Field, ...]:
        """Return the fields whose values this summary does not state."""
        return tuple(field for field in self.fields if not (field.phrase and has_words(summary, field.phrase)))

    def with_notes(self, *notes: str) -> Content:
        """Return a copy with further notes."""
        return replace(self, notes=(*self.notes, *notes))


def has_words(text: str, words: str) -> bool:
    """Return whether these words are in the text, neither as a part of other words nor of a longer number."""
    start = text.find(words)
    while start >= 0:
        before, after = text[max(start - 2, 0) : start], text[start + len(words) :][:2]
        if not (_continues(before[::-1]) or _continues(after)):
            return True
        start = text.find(words, start + 1)
    return False


def _continues(beyond: str) -> bool:
    """Return whether a word or number goes on with these two characters."""
    return beyond[:1].isalnum() or (beyond[:1] in (".", ",") and beyond[1:].isdigit())


def full_stop(text: str) -> str:
    """Return the full stop that the text lacks, "" if it ends a sentence already ("Really?", "再起動しました。")."""
    return "" if text.rstrip().endswith((".", "!", "?", "…", "。", "！", "？")) else "."


def format_value(value: Any) -> Any:
    """Return a value as messages show it: nothing for None, yes or no, 4 significant figures; unchanged otherwise."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format_number(value) if isinstance(value, float) else value


def format_number(value: float) -> str:
    """Return a number with 4 significant figures and no exponent: 0.07142857 -> 0.07143, 12000 -> 12000."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    # Decimal, because a large float has further digits: 1e23 is 99999999999999991611392.
    text = format(Decimal(f"{value:.4g}"), "f") if abs(value) >= 1e-16 else f"{value:.20f}"
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if short == "-0" else short
