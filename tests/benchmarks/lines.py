"""One line of the table: what was measured, beside its yardstick, and whether it reaches its bar."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """The limit for a line: its `score` (see `Line`) must be `at_least` or `at_most` so much."""

    at_least: float | None = None
    at_most: float | None = None
    unit: str = "x"

    def met(self, score: float) -> bool:
        low = self.at_least is None or score >= self.at_least
        return low and (self.at_most is None or score <= self.at_most)

    def __str__(self) -> str:
        sign, limit = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return f"{sign} {limit:g} {self.unit}".rstrip().replace(" x", "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`score` is value / yardstick, the difference of the two (`by="more"`), or the value itself without a yardstick.

    `value` None: it could not be measured, and `note` says why. `judged` False: this machine is too small to judge it.
    """

    row: str
    what: str
    database: str
    value: float | None
    unit: str
    yardstick: float | None = None
    against: str = ""
    bar: Bar | None = None
    by: str = "times"
    rounds: int = 1
    judged: bool = True
    note: str = ""
    values: Sequence[float] = ()
    yardsticks: Sequence[float] = ()

    @property
    def score(self) -> float | None:
        if self.value is None or self.yardstick is None:
            return self.value
        if self.by == "more":
            return self.value - self.yardstick
        return self.value / self.yardstick if self.yardstick else None

    @property
    def result(self) -> str:
        if self.value is None or self.score is None:
            return "not measured"
        if self.bar is None:
            return ""
        if not self.judged:
            return "not judged"
        return "met" if self.bar.met(self.score) else "missed"

    def as_json(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in self.__slots__ if name != "bar"}
        return named | {"bar": str(self.bar) if self.bar else None, "score": self.score, "verdict": self.result}


def compared(
    row: str,
    what: str,
    database: str,
    unit: str,
    measured: Iterable[tuple[float, float]],
    against: str,
    bar: Bar | None,
    **more: Any,
) -> Line:
    """Return a line with the medians of rounds of (value, yardstick) that were measured side by side."""
    values, yardsticks = zip(*measured, strict=True)
    return Line(
        row=row,
        what=what,
        database=database,
        unit=unit,
        value=statistics.median(values),
        yardstick=statistics.median(yardsticks),
        against=against,
        bar=bar,
        rounds=len(values),
        values=values,
        yardsticks=yardsticks,
        **more,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of the values don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
