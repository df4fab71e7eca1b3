"""README's examples: what is typed there, what it prints, and whether two printed answers say the same."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from tests.ops.checkout import text

_SHAPES = (
    ("ID", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ("TS", r"\b\d{10}\.\d{6}\b"),
    ("TIME", r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z| [A-Z]{3,4}\b)?"),
    ("CLOCK", r"\b\d\d:\d\d:\d\d\b"),
    ("DURATION", r"\b\d+ ms\b"),
    ("SHORT-ID", r"\b[0-9a-f]{8}\b"),
    ("CHANNEL-ID", r"\bC[0-9A-F]{10}\b"),
    ("PORT", r"(?<=http://127\.0\.0\.1:)\d+"),
    ("PID", r"(?<=process \[)\d+"),
)
"""What differs from run to run: ids, times, durations, ports."""
LEFT_OUT = "…"


@dataclass(frozen=True)
class Example:
    """One command of a `console` block, its lines joined, and what README says that it prints."""

    command: str
    printed: str

    def __str__(self) -> str:
        return self.command[:60]


def examples(section: str, readme: str = "") -> list[Example]:
    """The examples of a section, which ends at the next heading of its own level."""
    part = re.split(r"(?m)^## ", (readme or text("README.md")).split(f"\n## {section}\n")[1])[0]
    return [example for block in re.findall(r"(?ms)^```console\n(.*?)^```", part) for example in _of_block(block)]


def _of_block(block: str) -> Iterator[Example]:
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        command, _, printed = re.sub(r"\\\n\s*", " ", part).partition("\n")
        yield Example(command, printed.rstrip("\n"))


def shape(printed: str) -> str:
    """The same text with a word for everything that differs from run to run."""
    for word, pattern in _SHAPES:
        printed = re.sub(pattern, word, printed)
    return printed


def same(documented: Any, real: Any) -> bool:
    """Whether two JSON values have one shape. `…` stands for any value, and for further members of an object."""
    if documented == LEFT_OUT:
        return True
    if isinstance(documented, dict) and isinstance(real, dict):
        open_end = LEFT_OUT in documented
        names = set(documented) - {LEFT_OUT}
        known = names <= set(real) if open_end else names == set(real)
        return known and all(_same_member(name, documented[name], real[name]) for name in names)
    if isinstance(documented, list) and isinstance(real, list):
        if documented[-1:] == [LEFT_OUT]:
            return len(real) >= len(documented) and all(map(same, documented[:-1], real))
        return len(documented) == len(real) and all(map(same, documented, real))
    if isinstance(documented, str) and isinstance(real, str):
        return shape(documented) == shape(real)
    return type(documented) is type(real) and documented == real


def _same_member(name: str, documented: Any, real: Any) -> bool:
    return type(documented) is type(real) if name.endswith("_ms") else same(documented, real)


@dataclass(frozen=True)
class Request:
    """What a curl line asks for."""

    method: str
    url: str
    headers: dict[str, str]
    body: str | None

    def send(self) -> tuple[int, str]:
        """The status and the body of the answer."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(self.method, target, self.body.encode() if self.body else None, self.headers)
            answer = connection.getresponse()
            endless = answer.headers.get_content_type() == "text/event-stream"
            return answer.status, "".join(_until_silence(answer)) if endless else answer.read().decode()
        finally:
            connection.close()


def _until_silence(answer: HTTPResponse) -> Iterator[str]:
    """The lines of a stream without an end, up to where nobody hangs up but nothing more comes for a while."""
    answer.fp.raw._sock.settimeout(1)  # type: ignore[attr-defined]
    with suppress(TimeoutError):
        while True:
            yield answer.readline().decode()


def request_of(command: str, variables: dict[str, str]) -> Request:
    """A curl line as a request: no curl is needed to try it. Raises ValueError for an option that isn't known here."""
    for name, value in variables.items():
        command = command.replace(f"${name}", value)
    words = iter(shlex.split(command.partition(" | ")[0]))
    method, url, body = "", "", None
    headers: dict[str, str] = {}
    assert next(words) == "curl"
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        elif word in ("-s", "-sN"):
            continue
        elif word.startswith("-"):
            raise ValueError(f"{word} in {command}")
        else:
            url = word
    return Request(method or ("POST" if body else "GET"), url, headers, body)


def pretty(value: Any, indent: int = 0, width: int = 100) -> str:
    """JSON for readers: what fits in a line stays in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= width or not value or not isinstance(value, dict | list):
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(name)}: {pretty(each, indent + 2, width)}" for name, each in value.items()]
        opening, closing = "{", "}"
    else:
        parts = [f"{inner}{pretty(each, indent + 2, width)}" for each in value]
        opening, closing = "[", "]"
    return f"{opening}\n" + ",\n".join(parts) + f"\n{' ' * indent}{closing}"
