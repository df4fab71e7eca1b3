"""What the shell offers for a delivery's id."""

from __future__ import annotations

import typer


def complete_delivery(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest deliveries' ids, short as the log shows them, whole once a whole one was begun."""
    from alertctl.cli.output.deliveries import short
    from alertctl.client.completion import recent

    flags = context.find_root().params
    found = recent({"ALERTCTL_CONFIG": flags.get("config_file"), "DATABASE_URL": flags.get("database")})
    chosen = set(context.params.get("ids") or ())
    offered: dict[str, str] = {}
    for one in found:
        word = short(one.id) if short(one.id).startswith(incomplete) else one.id
        if word.startswith(incomplete) and word not in chosen:
            offered.setdefault(word, f"{one.status} {one.to} {one.event_type}")
    return list(offered.items())
