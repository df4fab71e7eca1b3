"""The options of `alertctl send`."""

from __future__ import annotations

from typing import Annotated

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.cli.options import complete_set, complete_target

WAIT = "20s"
"""How long `--wait` alone waits."""

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="FIELD=VALUE",
        help="A field of the event, or details.NAME=VALUE; repeatable. An empty value leaves the field out.",
        autocompletion=complete_set,
    ),
]
TitleOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Short for --set title=TEXT.")]
MessageOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Short for --set message=TEXT.")]
SeverityOption = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="Short for --set severity=LEVEL (info, warning, error, critical).")
]
UrlOption = Annotated[str | None, typer.Option(metavar="URL", help="Short for --set url=URL.")]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        help="An object of fields, from a file or stdin; may hold what POST /events takes beside them. Flags win.",
    ),
]
ToOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="|".join(f"{channel}:ADDRESS" for channel in CHANNEL_NAMES),
        help="Only these targets, instead of those who would be told; repeatable.",
        autocompletion=complete_target,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Whatever is sent again under the same key is not told again (in CI: the job's id)."
    ),
]
DedupKeyOption = Annotated[str | None, typer.Option(metavar="KEY", help="Short for --set dedup_key=KEY.")]
DedupWindowOption = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="With --dedup-key: suppress repeats to a target for 30m (2h, 1d) after one was sent."
    ),
]
ExpiresOption = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Not sent any more after 2h (30m, 1d): too old to help.")
]
WaitOption = Annotated[
    str | None,
    typer.Option(metavar="[DURATION]", help=f"Wait until every delivery is final, {WAIT} at most (--wait=2m: longer)."),
]
ReceiptOption = Annotated[
    str | None, typer.Option("--receipt", metavar="FILE", help="Write who was told, when and how, as JSON.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would go to whom; record and send nothing.")]
QueueOption = Annotated[bool, typer.Option("--queue", help="Record only; a daemon or `dispatch --once` sends it.")]
StrictOption = Annotated[
    bool | None,
    typer.Option(
        "--strict/--no-strict",
        help="End with 3 when a delivery did not succeed or nobody is to be told, with 5 when the event was spooled "
        "or lost (4: the server refused the token). Default: ALERTCTL_STRICT.",
        show_default=False,
    ),
]
