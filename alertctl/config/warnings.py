"""Warnings about variables: a name close to a setting's, a secret whose channel is off, a token sent in clear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from alertctl.config.sources import IN_FILES, Value, gather, is_blank
from alertctl.config.urls import IN_CLEAR, sends_in_clear
from alertctl.config.validators import yes_or_no

_SHORT = 5
"""Length of a field name up to which a swapped letter makes another word (PORT, HOST)."""
_COMMON_WITH_SERVER = (
    *("CONFIG", "CA_BUNDLE", "HOST", "LOG_FORMAT", "LOG_LEVEL", "NO_DOTENV", "PORT", "PUBLIC_URL"),
    *("SERVER", "STRICT", "TIMEOUT", "TOKEN", "TOKEN_FILE"),
)
"""Settings of [alertctl] that are common beside ALERTCTL_SERVER: known without importing the settings."""
_CHANNEL_SECRETS = (
    ("SLACK_BOT_TOKEN", "SLACK_ENABLED"),
    ("SENDGRID_API_KEY", "EMAIL_ENABLED"),
    ("SMTP_HOST", "EMAIL_ENABLED"),
)


def warnings(
    environ: Mapping[str, str] | None = None, cwd: Path | None = None, flags: Mapping[str, object] | None = None
) -> list[tuple[str, str]]:
    """Return (NAME, message) for variables that are set and not read or not safe.

    Unreadable files and wrong values are ignored. A server has its own settings: beside ALERTCTL_SERVER only the names
    of [alertctl] are checked.
    """
    sources = gather(environ, cwd, flags)
    values = sources.values
    variables = [name for layer in sources.layers if layer.origin in ("environment", ".env") for name in layer.values]
    if _is_set(values, "ALERTCTL_SERVER"):
        known = {f"ALERTCTL_{field}" for field in _COMMON_WITH_SERVER}
        unknown = [name for name in variables if name.startswith("ALERTCTL_") and name not in known]
        server = values["ALERTCTL_SERVER"].text.strip()
        is_exposed = _is_set(values, "ALERTCTL_TOKEN") and sends_in_clear(server) == "private"
        return [*_close_names(unknown, values), *([("ALERTCTL_SERVER", IN_CLEAR)] if is_exposed else [])]
    unused = [
        (secret, f"is set but not used: {switch} is not true")
        for secret, switch in _CHANNEL_SECRETS
        if _is_set(values, secret) and not _is_on(values, switch)
    ]
    return [*_close_names(variables, values), *unused]


def _close_names(variables: Iterable[str], values: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    unknown = list(dict.fromkeys(variables))
    if not unknown:
        return
    from alertctl.config.settings import reference

    settings = [name for name, _, _ in reference()]
    settings += [f"{name}_FILE" for name in IN_FILES]
    for name in unknown:
        meant = None if name in settings else next((known for known in settings if _is_close(name, known)), None)
        # If the right name is set too, the other one belongs to another program.
        if meant and not _is_set(values, meant.removesuffix("_FILE")):
            yield name, f"is not a setting; did you mean {meant}?"


def _is_set(values: Mapping[str, Value], name: str) -> bool:
    return name in values and not is_blank(values[name].raw)


def _is_close(name: str, setting: str) -> bool:
    """Return whether two names of one section differ by a typo: up to two edits, one for a short name."""
    section, _, field = setting.partition("_")
    named_section, _, named_field = name.partition("_")
    if named_section != section:
        return False
    distance = edit_distance(named_field, field)
    if len(field) <= _SHORT:
        return distance == 1 and len(named_field) != len(field)
    return distance <= 2


def edit_distance(first: str, second: str) -> int:
    """Return how many letters to insert, delete, replace or swap with their neighbour to turn one into the other."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        last, before = before, row
        row = [i]
        for j, other in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _is_on(values: Mapping[str, Value], switch: str) -> bool:
    try:
        return _is_set(values, switch) and yes_or_no(values[switch].raw)
    except ValueError:
        # A wrong value is reported as an error elsewhere.
        return True
