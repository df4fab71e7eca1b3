"""Turn exceptions into one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from alertctl.cli.output.streams import StdoutError, messages, print_error, wants_json
from alertctl.cli.registry import ENTRIES, Commands, with_wait_value
from alertctl.errors import AlertctlError, ConfigError

# All hooks into Typer are in this module: typer<0.29 (pyproject.toml),
# tests/test_library_contracts.py.
# 1. Typer doesn't export the base class of its usage mistakes, ClickException. It is click's, and since Typer 0.26 that
#    of a private copy of click (https://typer.tiangolo.com/release-notes/), so look it up by name.
UsageMistake: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Root(TyperGroup):
    """The root command. Every exception becomes a message and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # 2. Typer reads `commands` to run, complete and suggest commands, and knows no lazy ones. This mapping is lazy.
        self.commands: Any = Commands()

    def list_commands(self, _context: Any) -> list[str]:
        return list(ENTRIES)

    def format_commands(self, _context: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in ENTRIES.items()])

    def main(self, args: Sequence[str] | None = None, *more: Any, **kwargs: Any) -> Any:
        arguments = with_wait_value(sys.argv[1:] if args is None else args)
        kwargs["prog_name"], kwargs["standalone_mode"] = "alertctl", False
        messages.as_json = wants_json(arguments)
        for stream in (sys.stdout, sys.stderr):
            # Escape what the stream can't encode, such as arguments that are not UTF-8, instead of raising.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            result = super().main(arguments, *more, **kwargs)
        except UsageMistake as mistake:
            sys.exit(_explain(mistake))
        except typer.Abort:
            sys.exit(1)
        except OSError as error:
            # Before a command has begun: `alertctl --version > /dev/full`.
            sys.exit(_report_stdout_error(error, 0))
        sys.exit(_flush_stdout(result if isinstance(result, int) else 0))

    def invoke(self, ctx: Any) -> Any:
        try:
            super().invoke(ctx)
        except (UsageMistake, typer.Exit, typer.Abort):
            raise
        except AlertctlError as error:
            for line in error.problems if isinstance(error, ConfigError) else (_masked(str(error)),):
                print_error(line)
            _trace(ctx)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            # The reader of our output has closed it (`| head`): that is not an error.
            _close_quietly()
            raise typer.Exit(0) from None
        except StdoutError as error:
            # Without a buffer (PYTHONUNBUFFERED) nothing remains that _flush_stdout could write.
            raise typer.Exit(_report_stdout_error(error, 0)) from None
        except Exception as error:
            if isinstance(error, OSError) and (code := _flush_stdout(0)):
                # Writing to stdout failed, and _flush_stdout has printed that.
                raise typer.Exit(code) from None
            hint = "" if _trace(ctx) else "; alertctl --debug … shows the traceback"
            print_error(f"unexpected: {type(error).__name__}: {_masked(str(error))}{hint}")
            raise typer.Exit(1) from None


def _flush_stdout(code: int) -> int:
    """Flush stdout and return the exit code. At the interpreter's end an error would print a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return _report_stdout_error(error, code)
    return code


def _report_stdout_error(error: OSError, code: int) -> int:
    """Report a failed write to stdout and return the exit code. A closed pipe is not a failure."""
    _close_quietly()
    if isinstance(error, BrokenPipeError):
        return code
    print_error(f"stdout: {error.strerror or error}")
    return code or 1


def _explain(mistake: Any) -> int:
    """Print a usage mistake and return its exit code."""
    # The prefix comes from pydantic, with which newer versions of Typer check values.
    context, message = getattr(mistake, "ctx", None), str(mistake.format_message()).replace("Value error, ", "")
    if message.lstrip().startswith("Usage:"):
        # A group without a command: the message is its whole help.
        messages.print_block("error", message)
    else:
        hint = f" (see: {context.command_path} --help)" if context is not None else ""
        # The message quotes a database URL that was given for another option, with its password.
        print_error(f"{_masked(message)}{hint}")
    return int(mistake.exit_code)


def watch_threads() -> None:
    """Print an exception that ends a thread as one line, with its traceback after `--debug`."""

    def explain(failure: threading.ExceptHookArgs) -> None:
        name, kind = failure.thread and failure.thread.name, failure.exc_type.__name__
        print_error(f"unexpected in {name}: {kind}: {_masked(str(failure.exc_value))}")
        if "--debug" in sys.argv:
            _print_traceback(failure.exc_value)

    threading.excepthook = explain


def _masked(text: str) -> str:
    """Hide the password of a database URL in text from elsewhere."""
    from alertctl.config.database_url import masked

    return masked(text)


def _trace(ctx: Any) -> bool:
    if not ctx.params.get("debug"):
        return False
    _print_traceback(sys.exception())
    return True


def _print_traceback(error: BaseException | None) -> None:
    import traceback

    messages.print_block("debug", _masked("".join(traceback.format_exception(error))))


def _close_quietly() -> None:
    """Redirect stdout to the null device, so that the interpreter's last flush can't fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
