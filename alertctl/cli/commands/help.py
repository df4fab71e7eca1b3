"""`alertctl help`: help on a command or a topic."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from alertctl.cli.output.streams import print_line
from alertctl.suggestions import did_you_mean

CODES = (
    (0, "success (send: recorded, even if a provider failed)"),
    (1, "unexpected error (db copy: incomplete; db backup: not written)"),
    (2, "usage error or invalid input"),
    (3, "a delivery did not succeed, or there was no recipient (send --strict, log retry --strict, test)"),
    (4, "not allowed: token missing or invalid, or role too low (send: only with --strict; spooled)"),
    (5, "database or server unreachable (send: only with --strict; spooled or lost)"),
    (10, "doctor found a failure; log --fail-if-any or status --fail-if-waiting found a delivery"),
    (130, "Ctrl-C"),
)
"""The exit codes of all commands."""
EXIT_CODES = f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in CODES)}."

STATUSES = """\
pending     waiting for its first attempt
sending     being sent now
success     the provider accepted it and returned an id
failed      not delivered; retried at the time under NEXT, final without one
suppressed  not sent on purpose; the error in the log gives the reason

alertctl log --status failed          show failed deliveries and their errors
alertctl log show ID                  show one delivery with all its attempts\
"""
TIMES = """\
2h, 30m, 7d                   this long ago (for a duration: this long)
2026-11-01                    start of that day, local time
2026-11-01T14:30              local time
2026-11-01T14:30:00+01:00     ISO 8601, with a zone

alertctl log --since 2h --until 30m\
"""
TOPICS = {
    "exit-codes": "\n".join(f"{code:>3}  {meaning}" for code, meaning in CODES),
    "statuses": STATUSES,
    "times": TIMES,
}
"""Help that concerns more than one command."""


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    command: Any = context.find_root().command
    words = context.params.get("words") or []
    for word in words:
        command = getattr(command, "commands", {}).get(word)
    offered = [*getattr(command, "commands", {}), *(TOPICS if not words else ())]
    return [word for word in offered if word.startswith(incomplete)]


WordsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="TOPIC|COMMAND", autocompletion=_complete, show_default=False)
]


def show_help(context: typer.Context, words: WordsArgument = None) -> None:
    """
    \b
    alertctl help exit-codes
    alertctl help log retry

    Show the help of a command or a topic: exit-codes, statuses, times.
    """
    if words and len(words) == 1 and words[0] in TOPICS:
        print_line(TOPICS[words[0]])
    else:
        print_line(_help_context(context.find_root(), words or []).get_help())


def _help_context(root: Any, words: list[str]) -> Any:
    """Return the context of the command that the words name. Raises BadParameter."""
    context = root
    for word in words:
        commands = getattr(context.command, "commands", {})
        if word not in commands:
            known = [*commands, *(TOPICS if context is root else ())]
            raise typer.BadParameter(f"there is no help on {' '.join(words)[:60]!r}{did_you_mean(word, known)}")
        context = type(root)(commands[word], info_name=word, parent=context)
    return context
