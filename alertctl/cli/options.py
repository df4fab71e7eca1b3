"""Options that several commands share, with their checks and completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from alertctl.channels import CHANNEL_NAMES
from alertctl.suggestions import suggest

STATUSES = ("pending", "sending", "success", "failed", "suppressed")
"""The values of `models.Status`, which takes half a second to import."""
ROLES = ("viewer", "analyst", "developer", "admin")


def one_of(known: Sequence[str], expected: str) -> dict[str, Any]:
    """Return the parameters of an option that takes one of the known words: its check and its completion."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in known:
            raise typer.BadParameter(f"{value[:60]!r} is not {expected}{suggest(value, known)}")
        return value

    return {"callback": check, "autocompletion": completion(known)}


def completion(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a shell completion of these words."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


def non_empty(value: str | None) -> str | None:
    """Return the value. Raises BadParameter for an empty one: `--to "$UNSET"` does not mean the default address."""
    if value is not None and not value.strip():
        raise typer.BadParameter("should not be empty: leave it out instead")
    return value


def complete_event(incomplete: str) -> list[tuple[str, str]]:
    from alertctl.events import BY_NAME

    return [(name, kind.description) for name, kind in BY_NAME.items() if name.startswith(incomplete)]


def complete_set(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the fields of the event that `--event` names, and the values of those with a closed list."""
    from alertctl.events import BY_NAME, EVENT_TYPES

    named = BY_NAME.get(str(context.params.get("event") or ""))
    fields: dict[str, str] = {}
    for kind in (named,) if named else EVENT_TYPES:
        for field, info in kind.model_fields.items():
            values = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
            words = [f"{field}={value}" for value in values] or [f"{field}=" if field != "details" else "details."]
            fields.update(dict.fromkeys(words, info.description or ""))
    return [(word, description) for word, description in fields.items() if word.startswith(incomplete)]


def complete_delivery(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the ids of the newest deliveries: short as in the log, full once more than that was typed."""
    from alertctl.cli.output.deliveries import short
    from alertctl.client.completion import recent

    flags = context.find_root().params
    deliveries = recent({"ALERTCTL_CONFIG": flags.get("config_file"), "DATABASE_URL": flags.get("database")})
    chosen = set(context.params.get("ids") or ())
    offered: dict[str, str] = {}
    for delivery_id, status, address, event_type in deliveries:
        word = short(delivery_id) if short(delivery_id).startswith(incomplete) else delivery_id
        if word.startswith(incomplete) and word not in chosen:
            offered.setdefault(word, f"{status} {address} {event_type}")
    return list(offered.items())


EventOption = Annotated[
    str | None, typer.Option("--event", "-e", metavar="TYPE", help="Event type.", autocompletion=complete_event)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="FIELD=VALUE",
        help="Event field, or details.NAME=VALUE; repeatable. An empty value omits the field.",
        autocompletion=complete_set,
    ),
]
SeverityOption = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL", help="Short for --set severity=LEVEL (generic_alert: info, warning, error or critical)."
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="Label of the event, for routes and filters; repeatable."),
]
OwnUserOption = Annotated[
    str | None,
    typer.Option(
        "--user", "-u", metavar="USER", help="User's email address or id. Default with a server: the token's user."
    ),
]
ChannelOption = Annotated[
    str | None,
    typer.Option(metavar="|".join(CHANNEL_NAMES), help="Only this channel.", **one_of(CHANNEL_NAMES, "a channel")),
]
StatusOption = Annotated[
    str | None,
    typer.Option(
        metavar="STATUS",
        help="Status: pending, sending, success, failed or suppressed.",
        **one_of(STATUSES, "a status"),
    ),
]
UtcOption = Annotated[bool, typer.Option("--utc", help="Show times in UTC instead of the local zone.")]
RoleOption = Annotated[
    str,
    typer.Option(metavar="ROLE", help="Role: viewer, analyst, developer or admin.", **one_of(ROLES, "a role")),
]
RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", **one_of(ROLES, "a role"))]
