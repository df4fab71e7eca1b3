"""Print data to stdout and messages to stderr.

In JSON mode (`-o json` or `-o jsonl`) both hold only JSON: each message is an object on a line of its own.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

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

Level = Literal["debug", "info", "warning", "error"]


class Messages:
    """Prints messages on stderr, as text or JSON. A closed stderr must not stop the command."""

    as_json = False

    def print(self, level: Level, message: str, text: str | None = None) -> None:
        """Print one line; `text` is the message as text, with its prefix."""
        shown = plain(message if text is None else text, " ")
        self._write(compact({"level": level, "message": plain(message, " ")}) if self.as_json else shown)

    def print_block(self, level: Level, text: str) -> None:
        """Print several lines, which are one object as JSON."""
        self._write(compact({"level": level, "message": text}) if self.as_json else text.removesuffix("\n"))

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            typer.echo(line, err=True)


messages = Messages()
"""The messages of this process; the root command sets `as_json` from its arguments (`wants_json`)."""


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether the command's output is JSON. It is needed before the arguments are parsed, for their mistakes."""
    chosen = ""
    for index, argument in enumerate(arguments):
        match = _OUTPUT_OPTION.fullmatch(argument)
        if argument == "--":
            break
        if match:
            chosen = match[1] or match[2] or "".join(arguments[index + 1 : index + 2])
    return chosen in (LogOutput.JSON, LogOutput.JSONL)


_OUTPUT_OPTION = re.compile(r"--output(?:=(.*))?|-[a-zA-Z]*o(jsonl?)?", re.DOTALL)


def eprint(text: str) -> None:
    messages.print("info", text)


def warn(text: str) -> None:
    messages.print("warning", text, f"alertctl: warning: {text}")


def print_error(text: str) -> None:
    messages.print("error", text, f"alertctl: {text}")


class StdoutError(OSError):
    """Writing to stdout failed."""


@contextlib.contextmanager
def stdout_errors() -> Iterator[None]:
    """Raise StdoutError for a failed write to stdout, but BrokenPipeError when its reader has closed it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(error.errno, error.strerror) from None


def print_line(text: str) -> None:
    """Print one line of data on stdout. Raises StdoutError, or BrokenPipeError when its reader has closed it."""
    with stdout_errors():
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
