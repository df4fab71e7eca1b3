"""`alertctl preview`: the message of an event, in the terminal or in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from alertctl.cli.commands.send import JsonOption, MessageOption, TitleOption, UrlOption
from alertctl.cli.context import settings_of, warn_about_settings
from alertctl.cli.options import ChannelOption, EventOption, LabelOption, SetOption, SeverityOption
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_items, warn
from alertctl.cli.output.table import console
from alertctl.cli.output.times import now
from alertctl.cli.send_request import build_request
from alertctl.schemas import Rendered

StyleOption = Annotated[
    str | None, typer.Option(metavar="STYLE", help="Style of the message: full or compact. Default: as configured.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Show the messages in a browser, as their readers see them.")]


def preview(
    context: typer.Context,
    event: EventOption = None,
    assignments: SetOption = None,
    title: TitleOption = None,
    message: MessageOption = None,
    severity: SeverityOption = None,
    url: UrlOption = None,
    json_file: JsonOption = None,
    labels: LabelOption = None,
    channel: ChannelOption = None,
    style: StyleOption = None,
    open_browser: OpenOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """
    \b
    alertctl preview --event safety_rollback
    alertctl preview --event rollout_advance --channel slack --style compact
    alertctl preview --event generic_alert --title "Disk full" --open

    Show an event's message, with the configured wording and templates.

    Needs no database and sends nothing. Without fields, it shows the type's example.
    To see the recipients too, use alertctl send --dry-run.
    """
    from alertctl.preview import preview_messages

    warn_about_settings(context)
    moment = now()
    shortcuts = {"title": title, "message": message, "severity": severity, "url": url}
    request = build_request(event, shortcuts, assignments, json_file, moment, labels=labels, channel=channel)
    rendered, warnings = preview_messages(settings_of(context), request, style, moment)
    for warning in warnings:
        warn(warning)
    if output is Output.JSON:
        print_items(rendered)
    else:
        from alertctl.cli.output.message import rendered_panel

        for item in rendered:
            console().print(rendered_panel(item))
    if open_browser:
        _open(rendered)


def _open(rendered: Sequence[Rendered]) -> None:
    """Write a page with the messages to a private file and open it; print its path where there is no browser."""
    import tempfile
    import webbrowser
    from pathlib import Path

    from alertctl.preview_page import preview_page

    with tempfile.NamedTemporaryFile("w", suffix=".html", prefix="alertctl-preview-", delete=False) as file:
        file.write(preview_page(rendered))
    if not webbrowser.open(Path(file.name).as_uri()):
        eprint("No browser was found; open this page in one:")
    eprint(file.name)
