"""`alertctl help`: help on a command or a topic."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertctl.cli.output.streams import print_line
from alertctl.suggestions import did_you_mean

CHECK_FAILED = 10
"""Exit code of a check: doctor, log --fail-if-any, status --fail-if-waiting, routes test --expect."""
CODES = (
    (0, "success"),
    (1, "unexpected error, a port in use, an incomplete db copy or db backup, or a confirmation that was refused"),
    (2, "usage error, invalid input or settings, or no such id"),
    (3, "a delivery did not succeed (test, --strict); send --strict: no recipient, or a key used for other content"),
    (4, "the token is missing or invalid, its role is too low, or a proxy in front of the server answered 401 or 403"),
    (5, "the database or the server is unreachable; send without --dry-run: also if a setting that it needs is wrong"),
    (10, "a check failed: doctor, log --fail-if-any, status --fail-if-waiting or routes test --expect"),
    (130, "Ctrl-C (serve and sandbox: 0)"),
)
STRICT = (
    "Without --strict, send exits with 0 instead of 3, 4 and 5 (with --dry-run: instead of 3), and prints the cause."
)
EXIT_CODES = f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in CODES)}. {STRICT}"

TOPICS = {
    "exit-codes": ([(str(code), meaning) for code, meaning in CODES], STRICT),
    "statuses": (
        [
            ("pending", "waiting for its first attempt, or its first since a resend"),
            ("sending", "being sent now"),
            ("success", "the provider accepted it"),
            ("failed", "not delivered; retried at the time under NEXT, or final if there is none"),
            ("suppressed", "deliberately not sent; the column ERROR has the cause"),
        ],
        """\
\b
alertctl log --status failed    show failed deliveries and their errors
alertctl log show ID            show one delivery with all its attempts""",
    ),
    "times": (
        [
            ("2h, 30m, 7d", "as a time: that long ago; as a duration: that long"),
            ("2026-11-01", "start of that day, local time"),
            ("2026-11-01T14:30", "local time"),
            ("2026-11-01T14:30:00+01:00", "ISO 8601, with a zone"),
        ],
        """\
\b
alertctl log --since 2h --until 30m

These are the times of options. In an event's own times, such as occurred_at, a time without a zone is UTC.""",
    ),
}


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    command: Any = context.find_root().command
    words = context.params.get("words") or []
    for word in words:
        command = getattr(command, "commands", {}).get(word)
    offered = [*getattr(command, "commands", {}), *(TOPICS if not words else ())]
    return [word for word in offered if word.startswith(incomplete)]


WordsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TOPIC|COMMAND]...", autocompletion=_complete, show_default=False)
]


def show_help(context: typer.Context, words: WordsArgument = None) -> None:
    """
    \b
    alertctl help exit-codes
    alertctl help log retry

    Show the help of a command or a topic: exit-codes, statuses, times.
    """
    if words and len(words) == 1 and words[0] in TOPICS:
        print_line(_topic(context, words[0]))
    else:
        print_line(_help_context(context.find_root(), words or []).get_help())


def _topic(context: typer.Context, name: str) -> str:
    """Return a topic's list and the text below it, wrapped as the help of commands is."""
    rows, text = TOPICS[name]
    formatter = context.make_formatter()
    formatter.write_dl(rows)
    formatter.write_paragraph()
    formatter.write_text(text)
    return formatter.getvalue().rstrip("\n")


def _help_context(root: Any, words: list[str]) -> Any:
    """Return the context of the command that the words name. Raises BadParameter."""
    context = root
    for word in words:
        commands = getattr(context.command, "commands", {})
        if word not in commands:
            known = [*commands, *(TOPICS if context is root else ())]
            raise typer.BadParameter(f"{' '.join(words)[:60]!r} is not a command or topic{did_you_mean(word, known)}")
        context = type(root)(commands[word], info_name=word, parent=context)
    return context
