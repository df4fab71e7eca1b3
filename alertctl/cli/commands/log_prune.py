"""`alertctl log prune`: remove old deliveries from the log."""

from __future__ import annotations

from typing import Annotated

import typer

from alertctl.cli.confirmation import require_confirmation
from alertctl.cli.context import client_of
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_json
from alertctl.cli.output.times import duration_option
from alertctl.text import counted


def prune(
    context: typer.Context,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Minimum age: 30d, 12h. Default: PRUNE_SUCCESS_DAYS, PRUNE_FAILED_DAYS and PRUNE_SUPPRESSED_DAYS.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the deliveries.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl log prune --dry-run
    alertctl log prune --older-than 30d --yes

    Delete old final deliveries with their attempts, and events that have no delivery left.

    Unfinished deliveries stay. A daemon prunes once a day by the PRUNE_…_DAYS settings.
    """
    older = duration_option("--older-than", older_than)
    with client_of(context) as client:
        if not dry_run and not yes:
            these = counted(client.prune(older, dry_run=True).deliveries, "delivery")
            require_confirmation(f"Delete {these} from the log?", f"deletion of {these}")
        done = client.prune(older, dry_run=dry_run)
    if output is Output.JSON:
        print_json(done)
    else:
        verb = "would be" if done.dry_run else "was" if done.deliveries == 1 else "were"
        eprint(f"{counted(done.deliveries, 'delivery')} {verb} deleted")
