"""Replies: their head, as libcurl hands it over line by line, and their body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

STATUS_LINE = b"HTTP/"
BLANK_LINES = (b"\r\n", b"\n")


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are lower-case; `truncated`: the body is longer than the limit or was cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text, whatever its charset claims: JSON is UTF-8."""
        return self.body.decode("utf-8", "replace")


class Headers(Mapping[str, str]):
    """Headers by their lower-case name. Parsed when somebody asks: that is a fifth of a request's CPU."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __getitem__(self, name: str) -> str:
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed)

    def __len__(self) -> int:
        return len(self._parsed)

    @cached_property
    def _parsed(self) -> dict[str, str]:
        parsed: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.decode("latin-1").partition(":")
            key, text = name.strip().lower(), value.strip()
            parsed[key] = f"{parsed[key]}, {text}" if key in parsed else text
        return parsed


def final_head(lines: list[bytes]) -> tuple[bytes, Headers] | None:
    """Return the last reply's status, as it is written, and headers; None while they are incomplete.

    Interim replies, and a proxy's to CONNECT, come before it, trailers after it.
    """
    first = len(lines) - 1
    while first >= 0 and not lines[first].startswith(STATUS_LINE):
        first -= 1
    for position in range(first + 1, len(lines)):
        if first >= 0 and lines[position] in BLANK_LINES:
            return (*lines[first].split(b" "), b"")[1].strip(), Headers(lines[first + 1 : position])
    return None
