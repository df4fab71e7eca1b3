"""Parse faults from the command line: `slack=429:1:20%,smtp=451:10%,slack.#missing=slack:is_archived`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from alertctl.sandbox.faults import ALL, Fault, Faults, parse_fault

EXAMPLE = "slack=429:20%"
PART = re.compile(r"(?P<provider>\w+)(\.(?P<address>[^=]+))?=(?P<fault>.+?)(:(?P<percent>[0-9.]+)%)?", re.DOTALL)
BETWEEN_PARTS = re.compile(r",(?=\s*\w+[.=])")
"""The comma before another part; a comma inside a fault (an HTTP date, JSON) is none."""


@dataclass(frozen=True, slots=True)
class Chaos:
    """A fault of a provider, or of one address at it, with a chance from 0 to 1."""

    provider: str
    fault: Fault
    chance: float = 1.0
    address: str | None = None

    def apply(self, faults: Faults, seed: int | None = None) -> None:
        if self.address is not None:
            faults.at(self.address, self.fault, self.chance, seed)
        elif self.chance == 1:
            faults.always(self.fault)
        else:
            faults.sometimes(self.fault, self.chance, seed)


def parse_chaos(text: str) -> tuple[Chaos, ...]:
    """Return the parts of `text`, none for a blank one. Raises ValueError with the wrong part and the valid form."""
    return tuple(_parse_part(part.strip()) for part in BETWEEN_PARTS.split(text) if text.strip())


def _parse_part(text: str) -> Chaos:
    match = PART.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not PROVIDER[.ADDRESS]=FAULT[:PERCENT%], for example {EXAMPLE}")
    provider = match["provider"]
    if provider not in ALL:
        raise ValueError(f"{text!r}: there is no provider {provider!r}; there are {', '.join(ALL)}")
    try:
        fault = parse_fault(match["fault"], provider)
        if match["address"]:
            fault.check_address()
        return Chaos(provider, fault, _parse_chance(match["percent"]), match["address"])
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None


def _parse_chance(percent: str | None) -> float:
    if percent is None:
        return 1.0
    if not re.fullmatch(r"\d+(\.\d+)?", percent) or not 0 < float(percent) <= 100:
        raise ValueError(f"{percent}% is not a chance; above 0% and up to 100% would be right")
    return float(percent) / 100
