"""Compare the output that a page shows with the real one. `…` stands for any value or for further lines."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

_SHAPES = (
    ("ID", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ("ID", r"\b[0-9a-f]{8}-[0-9a-f]{1,4}(-[0-9a-f]*)*(?=…)"),
    ("actl_TOKEN", r"\bactl_[\w-]{20,}"),
    ("TS", r"\b\d{10}\.\d{6}\b"),
    ("TIME", r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z| [A-Z]{3,4}\b)?"),
    ("CLOCK", r"\b\d\d:\d\d:\d\d\b"),
    ("DURATION", r"\b\d+(\.\d+)? (ms|s)\b"),
    ("SIZE", r"\b\d+(\.\d+)? [kMG]?B\b"),
    ("SHORT-ID", r"\b[0-9a-f]{8}\b"),
    ("CHANNEL-ID", r"\bC[0-9A-F]{10}\b"),
    ("PORT", r"(?<=127\.0\.0\.1:)\d+|(?<=_PORT=)\d+"),
    ("PID", r"(?<=process \[)\d+|(?<=\bpid )\d+"),
)
"""Values that differ from run to run: ids (also cut ones), times, durations, sizes, ports."""
ANY = "…"


def shape(output: str) -> str:
    """Return the text with a word for each value that differs from run to run."""
    for word, pattern in _SHAPES:
        output = re.sub(pattern, word, output)
    return output


def same_output(shown: str, real: str, *, beginning: bool = False) -> bool:
    """Return whether a command printed what the page shows; with `beginning`, more may follow.

    JSON is compared as JSON, so that a page may break and abbreviate it.
    """
    shown_json, real_json = _json(shown), _json(real)
    if shown_json is not None and real_json is not None:
        return same_json(shown_json, real_json)
    pattern = "".join(r"(?:.*\n)*?" if line == ANY else f"{_pattern(line)}\n" for line in _lines(shown))
    text = "".join(f"{line}\n" for line in _lines(real.replace(socket.gethostname(), "HOST")))
    return bool((re.match if beginning else re.fullmatch)(pattern, text))


def _json(output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return None


def _lines(output: str) -> list[str]:
    """Return the lines as shapes, without trailing blanks. Columns may move: their gaps become two blanks."""
    return [re.sub(r"(?<=\S) {2,}", "  ", shape(line.rstrip())) for line in output.strip("\n").splitlines()]


def _pattern(line: str) -> str:
    return ".*".join(map(re.escape, line.split(ANY)))


def same_json(shown: Any, real: Any) -> bool:
    """Return whether two JSON values have one shape. `…` stands for any value and for further members."""
    if shown == ANY:
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        names = set(shown) - {ANY}
        known = names <= set(real) if ANY in shown else names == set(real)
        return known and all(_same_member(name, shown[name], real[name]) for name in names)
    if isinstance(shown, list) and isinstance(real, list):
        if shown[-1:] == [ANY]:
            return len(real) >= len(shown) and all(map(same_json, shown[:-1], real))
        return len(shown) == len(real) and all(map(same_json, shown, real))
    if isinstance(shown, str) and isinstance(real, str):
        return bool(re.fullmatch(_pattern(shape(shown)), shape(real), re.DOTALL))
    return type(shown) is type(real) and shown == real


def _same_member(name: str, shown: Any, real: Any) -> bool:
    if name.endswith("_ms"):
        return type(shown) is type(real)
    return same_json(shown, real)
