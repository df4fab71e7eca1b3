"""`alertctl events`: the event types and their fields, from the registry."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from alertctl.cli.context import client_of
from alertctl.cli.options import complete_event
from alertctl.cli.output.streams import Output, OutputOption, eprint, print_json, print_line
from alertctl.cli.output.table import Column, print_list, print_table
from alertctl.schemas import EventTypeInfo

DEFAULTS = {True: "on", False: "off", None: "no preference"}
COLUMNS = (
    Column("TYPE", lambda kind: kind.event_type, needed=True),
    Column("GOES TO", lambda kind: ", ".join(kind.channels)),
    Column("BY DEFAULT", lambda kind: DEFAULTS[kind.default_on]),
    Column("WHAT", lambda kind: kind.description, least=20, wraps=True),
)
TypeArgument = Annotated[
    str | None, typer.Argument(metavar="TYPE", help="Event type whose fields to show.", autocompletion=complete_event)
]


def events(context: typer.Context, kind: TypeArgument = None, output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl events
    alertctl events safety_rollback
    alertctl events safety_rollback -o json      with its JSON Schema

    List the event types, or one type's fields.
    """
    with client_of(context) as client:
        known = client.event_types()
    if kind is None:
        print_list(known, COLUMNS, output)
        if output is not Output.JSON:
            eprint("alertctl events TYPE shows a type's fields")
        return
    event_type = _named(kind, known)
    if output is Output.JSON:
        print_json(event_type)
        return
    print_line(f"{event_type.event_type}: {event_type.description}\n")
    required = event_type.json_schema.get("required", [])
    rows = []
    for name, schema in event_type.json_schema["properties"].items():
        before = "required: " if name in required else ""
        choice = f" ({', '.join(map(str, schema['enum']))})" if "enum" in schema else ""
        rows.append((name, type_of(schema), f"{before}{schema.get('description', '')}{choice}"))
    print_table((Column("FIELD", needed=True), Column("TYPE"), Column("WHAT", least=16, wraps=True)), rows)
    print_line(f"\nExample:\n  {example(event_type)}")


def _named(name: str, known: list[EventTypeInfo]) -> EventTypeInfo:
    for event_type in known:
        if event_type.event_type == name:
            return event_type
    # Raise the registry's error with its suggestion.
    from alertctl.events import find

    find(name)
    raise AssertionError(f"{name} is registered, but the client doesn't list it")


def type_of(schema: dict[str, Any]) -> str:
    if "enum" in schema or "$ref" in schema:
        return "word"
    if "anyOf" in schema:
        return " or ".join(type_of(option) for option in schema["anyOf"] if option.get("type") != "null")
    if schema.get("format") == "date-time":
        return "time"
    return {"string": "text", "object": "names and values", "integer": "number"}.get(schema.get("type", ""), "number")


def example(event_type: EventTypeInfo) -> str:
    fields = event_type.example or dict.fromkeys(event_type.json_schema.get("required", []), "…")
    flat = {
        f"{field}.{name}" if isinstance(value, dict) else field: item
        for field, value in fields.items()
        for name, item in (value.items() if isinstance(value, dict) else [("", value)])
    }
    settings = " ".join(f"--set {shlex.quote(f'{name}={value}')}" for name, value in flat.items())
    return f"alertctl send --event {event_type.event_type} {settings}".rstrip()
