"""README's reference tables, from the registries. `python -m tests.ops.reference` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import typer

from alertctl.cli.main import app
from alertctl.config import reference
from alertctl.error_codes import ERROR_CODES, fix, meaning
from alertctl.events import EVENT_TYPES, EventFields
from tests.ops.checkout import ROOT, text

SECTIONS = {
    "slack": "Slack",
    "email": "Email",
    "sendgrid": "SendGrid",
    "smtp": "SMTP",
    "notification": "Recipients",
    "database": "The delivery log",
    "retry": "Retries",
    "prune": "Retention of the delivery log",
    "jwt": "The platform's own tokens",
    "alertctl": "alertctl",
}
TOLD = {
    True: "Users are notified unless they set `notify_on_{}` to false.",
    False: "Users are notified only if they set `notify_on_{}` to true.",
    None: "There is no preference for it: it goes to the default targets, or to the targets that the caller names.",
}
COMMON_ERRORS = {
    "Slack": "not_authed invalid_auth token_revoked account_inactive missing_scope channel_not_found not_in_channel "
    "is_archived ratelimited invalid_blocks",
    "SendGrid": "unauthorized forbidden",
    "SMTP": "535 550 451",
    "any": "dns_failure dns_timeout unreachable connection_refused connect_timeout tls_untrusted tls_wrong_host "
    "tls_expired timeout no_reply",
    "alertctl": "interrupted",
}
COMMON_REASONS = {
    "550": ("bad_address", " at RCPT TO"),
    "connection_refused": ("unavailable", ""),
    "connect_timeout": ("unavailable", ""),
    "timeout": ("ambiguous", "; `unavailable` before the request was sent"),
    "no_reply": ("ambiguous", "; `unavailable` before the request was sent"),
}
"""The reasons of common errors that have several."""
_TYPES = {"string": "text", "number": "number", "integer": "whole number", "object": "object"}


def settings() -> Iterator[str]:
    """Every setting with its default and meaning, a table for each section."""
    begun = ""
    for name, default, description in reference():
        section = name.partition("_")[0].lower()
        if section != begun:
            yield from (f"**{SECTIONS[section]}**, `[{section}]` in TOML", "")
            yield from ("| setting | default | meaning |", "|---|---|---|")
        begun = section
        yield f"| `{name}` | {f'`{default}`' if default else ''} | {_cell(description)} |"
        if name == _last_of(section):
            yield ""


def _last_of(section: str) -> str:
    return [name for name, _, _ in reference() if name.startswith(f"{section}_".upper())][-1]


def events() -> Iterator[str]:
    """Every event type with its own fields, then the fields that all have."""
    for kind in EVENT_TYPES:
        own = [name for name in kind.model_fields if name not in EventFields.model_fields]
        description = f"{kind.description[0].upper()}{kind.description[1:]}."
        yield from (f"### `{kind.event_type}`", "")
        yield from (f"{description} {TOLD[kind.default_on].format(kind.event_type)}", "")
        yield from (*_fields(kind, own), "")
    yield from ("### Fields of every event", "", *_fields(EVENT_TYPES[0], list(EventFields.model_fields)))


def _fields(kind: type[EventFields], names: list[str]) -> Iterator[str]:
    whole = kind.model_json_schema()
    yield from ("| field | type | meaning |", "|---|---|---|")
    for name in names:
        schema = whole["properties"][name]
        more = "; **required**" if name in whole.get("required", ()) else ""
        if schema.get("default") is not None:
            more = f"; default `{schema['default']}`"
        yield f"| `{name}` | {_type(schema, whole)} | {_cell(schema['description'])}{more} |"


def _type(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _type(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return _type(next(each for each in schema["anyOf"] if each.get("type") != "null"), whole)
    return "time" if schema.get("format") == "date-time" else _TYPES[schema["type"]]


def commands() -> Iterator[str]:
    """Every command with its options, in the order of `alertctl --help`."""
    root: Any = typer.main.get_command(app)
    yield from ("Before a command's name:", "", *_options(root), "")
    yield from _commands(root, "alertctl")


def _commands(command: Any, path: str) -> Iterator[str]:
    for name, each in command.commands.items():
        if getattr(each, "hidden", False):
            continue
        named = f"{path} {name}"
        if not hasattr(each, "commands") or each.invoke_without_command:
            yield from _command(each, named)
        if hasattr(each, "commands"):
            yield from _commands(each, named)


def _command(command: Any, path: str) -> Iterator[str]:
    arguments = [each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"]
    yield from (f"### `{' '.join([path, *arguments])}`", "", _purpose(command), "")
    if any(each.param_type_name == "option" for each in command.params):
        yield from (*_options(command), "")


def _purpose(command: Any) -> str:
    """The first paragraph of a command's help after its examples."""
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    told = next((each for each in paragraphs if "\b" not in each and not each.lstrip().startswith("alertctl ")), "")
    return " ".join(told.split())


def _options(command: Any) -> Iterator[str]:
    yield from ("| option | meaning |", "|---|---|")
    for each in command.params:
        if each.param_type_name == "option" and not each.hidden:
            names = ", ".join(f"`{name}`" for name in sorted(each.opts, key=len, reverse=True))
            value = "" if each.is_flag else _cell(f" {each.metavar or _choices(each)}")
            yield f"| {names}{value} | {_cell(each.help or '')} |"


def _choices(option: Any) -> str:
    return str(option.display_type(None)).strip("<>")


def errors() -> Iterator[str]:
    """The most common error codes, from the table of all."""
    yield from ("| provider | error | reason | meaning | fix |", "|---|---|---|---|---|")
    for provider, codes in COMMON_ERRORS.items():
        for code in codes.split():
            reason, note = COMMON_REASONS.get(code, (ERROR_CODES[code].reason, ""))
            cells = (
                provider,
                f"`{code}`",
                f"`{reason}`{note}",
                meaning(code, reason),
                fix(code, reason, provider.lower()),
            )
            yield f"| {' | '.join(map(_cell, cells))} |"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "settings": settings,
    "errors": errors,
    "events": events,
    "commands": commands,
}


def brought_up_to_date(readme: str) -> str:
    """The same README with every generated part as the registries have it."""
    for name, lines in PARTS.items():
        begin, end = f"<!-- {name}: python -m tests.ops.reference -->", f"<!-- end of {name} -->"
        before, _, rest = readme.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"README.md has no {begin} … {end}")
        table = "\n".join(lines()).strip()
        readme = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return readme


if __name__ == "__main__":
    (ROOT / "README.md").write_text(brought_up_to_date(text("README.md")), "utf-8")
