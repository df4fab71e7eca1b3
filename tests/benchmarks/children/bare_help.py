"""The yardstick of `--help`: a command of typer alone, with one option."""

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def send(event: str = "generic_alert") -> None:
    """Send an alert."""


app()
