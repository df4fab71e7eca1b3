"""rich on stdout. A module of its own: rich is loaded only by those who print a table."""

from __future__ import annotations

import sys

from rich.console import Console


class Stdout(Console):
    """No colour unless it is a terminal, none with NO_COLOR."""

    def __init__(self) -> None:
        super().__init__(file=sys.stdout, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """rich would end the process with 1; whoever has read enough (`| head -1`) is no failure of ours.

        Called where the BrokenPipeError was caught.
        """
        raise
