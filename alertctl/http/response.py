"""Replies: the head, which libcurl delivers line by line, and the body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

BLANK_LINES = (b"\r\n", b"\n")
_BLANK_LINE = re.compile(rb"\n\r?\n")


class Response(NamedTuple):
    """A reply. Header names are lower-case; `truncated`: the body exceeds the limit or is incomplete."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as UTF-8, which JSON always is. The declared charset is ignored."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object in the body; empty if the body is anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class Headers(Mapping[str, str]):
    """Headers by lower-case name, parsed on first access: parsing is a fifth of a request's CPU time."""

    def __init__(self, lines: bytes) -> None:
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
        for line in self._lines.decode("latin-1").split("\n"):
            name, _, value = line.partition(":")
            key, text = name.strip().lower(), value.strip()
            parsed[key] = f"{parsed[key]}, {text}" if key in parsed else text
        return parsed


def final_head(lines: list[bytes]) -> tuple[bytes, Headers] | None:
    """Return the last reply's status, not parsed, and its headers; None while they are incomplete.

    Interim replies and a proxy's answer to CONNECT precede it, trailers follow it.
    """
    heads = b"".join(lines)
    start = heads.rfind(b"\nHTTP/") + 1
    end = _BLANK_LINE.search(heads, start)
    if end is None or not heads.startswith(b"HTTP/", start):
        return None
    status_line, _, headers = heads[start : end.start()].partition(b"\n")
    return (*status_line.split(b" "), b"")[1].strip(), Headers(headers)
