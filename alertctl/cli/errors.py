"""Where exceptions become one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from alertctl.cli.output.streams import eprint
from alertctl.cli.registry import ENTRIES, Commands, with_wait_value
from alertctl.errors import AlertctlError, ConfigError

# All hooks into Typer are in this module: typer<0.30 (pyproject.toml), tests/test_library_contracts.py.
# 1. Typer doesn't export the base class of its usage mistakes, ClickException. It is click's, and since Typer 0.26 that
#    of a private copy of click (https://typer.tiangolo.com/release-notes/), so look it up by name.
UsageMistake: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Root(TyperGroup):
    """The top of the command tree: nothing leaves it but an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # 2. Typer reads `commands` to run, complete and suggest commands, and knows no lazy ones. This mapping is lazy.
        self.commands: Any = Commands()

    def list_commands(self, _context: Any) -> list[str]:
        return list(ENTRIES)

    def format_commands(self, _context: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in ENTRIES.items()])

    def main(self, args: Sequence[str] | None = None, **kwargs: Any) -> Any:
        arguments = with_wait_value(sys.argv[1:] if args is None else args)
        kwargs["prog_name"], kwargs["standalone_mode"] = "alertctl", False
        _print_anything()
        try:
            result = super().main(arguments, **kwargs)
        except UsageMistake as mistake:
            sys.exit(_explain(mistake))
        except typer.Abort:
            sys.exit(1)
        except OSError as error:
            # Before a command has begun: `alertctl --version > /dev/full`.
            sys.exit(_unwritten(error, 0))
        sys.exit(_flushed(result if isinstance(result, int) else 0))

    def invoke(self, ctx: Any) -> Any:
        try:
            super().invoke(ctx)
        except (UsageMistake, typer.Exit, typer.Abort):
            raise
        except AlertctlError as error:
            for line in error.problems if isinstance(error, ConfigError) else (_masked(str(error)),):
                eprint(f"alertctl: {line}")
            _trace(ctx)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            # Whoever read our output has had enough: no reason to complain.
            _close_quietly()
            raise typer.Exit(0) from None
        except Exception as error:
            if isinstance(error, OSError) and (code := _flushed(0)):
                # It was stdout that took no more, and that is said.
                raise typer.Exit(code) from None
            hint = "" if _trace(ctx) else " (alertctl --debug … shows where)"
            eprint(f"alertctl: unexpected: {type(error).__name__}: {_masked(str(error))}{hint}")
            raise typer.Exit(1) from None


def _flushed(code: int) -> int:
    """What is still to be written is written here, not at the interpreter's end, where an error is a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return _unwritten(error, code)
    return code


def _unwritten(error: OSError, code: int) -> int:
    """The exit code when stdout didn't take everything: no trouble if nobody reads it any more."""
    _close_quietly()
    if isinstance(error, BrokenPipeError):
        return code
    eprint(f"alertctl: stdout: {error.strerror or error}")
    return code or 1


def _explain(mistake: Any) -> int:
    """Say what is wrong with how a command was called."""
    # The prefix is pydantic's, by which newer versions of Typer check values.
    context, message = getattr(mistake, "ctx", None), str(mistake.format_message()).replace("Value error, ", "")
    if message.lstrip().startswith("Usage:"):
        # A group without a command: the message is its whole help.
        typer.echo(message, err=True)
    else:
        asks = f" (see: {context.command_path} --help)" if context is not None else ""
        # A database's address in the wrong place is quoted in the message, and with it the password.
        eprint(f"alertctl: {_masked(message)}{asks}")
    return int(mistake.exit_code)


def watch_threads() -> None:
    """What a thread dies of is one line too, with the traceback after `--debug`."""

    def explain(died: threading.ExceptHookArgs) -> None:
        name, kind = died.thread and died.thread.name, died.exc_type.__name__
        eprint(f"alertctl: unexpected in {name}: {kind}: {_masked(str(died.exc_value))}")
        if "--debug" in sys.argv:
            _print_traceback(died.exc_value)

    threading.excepthook = explain


def _masked(text: str) -> str:
    """Hide the password of a database's address in a text that is not ours."""
    from alertctl.config.database_url import masked

    return masked(text)


def _trace(ctx: Any) -> bool:
    if not ctx.params.get("debug"):
        return False
    _print_traceback(sys.exception())
    return True


def _print_traceback(error: BaseException | None) -> None:
    import traceback

    with contextlib.suppress(OSError, ValueError):
        typer.echo(_masked("".join(traceback.format_exception(error))), err=True, nl=False)


def _print_anything() -> None:
    """An argument that is no UTF-8, or a terminal that isn't: shown escaped, never an exception."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _close_quietly() -> None:
    """Let the interpreter's last flush go nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
