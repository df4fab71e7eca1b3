"""Print data to stdout and everything else to stderr."""

from __future__ import annotations

import contextlib
import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


class LogOutput(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    ID = "id"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]
LogOutputOption = Annotated[LogOutput, typer.Option("--output", "-o", help="Output format.")]


def eprint(text: str) -> None:
    """Print one line on stderr. A closed stderr must not stop the command."""
    with contextlib.suppress(OSError, ValueError):
        typer.echo(plain(text, " "), err=True)


def warn(text: str) -> None:
    eprint(f"alertctl: warning: {text}")


def print_line(text: str) -> None:
    """Print one line of data on stdout."""
    typer.echo(text)


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print_line(f"{name:{width}}  {value}")


def print_json(data: Any) -> None:
    """Print JSON on stdout, in ASCII, so that no encoding can break it."""
    print_line(json.dumps(data, indent=2, default=_jsonable))


def print_items(items: Iterable[Any], **more: Any) -> None:
    """Print a list as every command does: `{"items": […]}`."""
    print_json({"items": list(items), **more})


def compact(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), default=_jsonable)


def _jsonable(value: Any) -> Any:
    from alertctl.schemas import as_json

    converted = as_json(value)
    return str(value) if converted is value else converted


def plain(text: str, line_break: str = "\n") -> str:
    """Return text without control characters: a title must not control the terminal."""
    if text.isprintable():
        return text
    return "".join(_without_control(character, line_break) for character in text)


def _without_control(character: str, line_break: str) -> str:
    if character in "\n\u2028\u2029":
        return line_break
    if character == "\t":
        return " "
    # Cf contains the marks that reverse the writing direction.
    return "" if unicodedata.category(character) in ("Cc", "Cf") and character != "\u200d" else character


def on_terminal() -> bool:
    return bool(sys.stdout) and sys.stdout.isatty()
