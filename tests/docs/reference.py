"""The generated parts of docs/: settings, commands, events, error codes and endpoints, from what alertctl itself has.

`scripts/docs` writes them; `scripts/docs --check` only compares and ends with 1 if a page is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import typer

from alertctl.api.app import create_app
from alertctl.channels.email.smtp_errors import SmtpStep, smtp_reason
from alertctl.channels.http_errors import status_reason
from alertctl.cli.filters import FILTERS
from alertctl.cli.main import app
from alertctl.config import Settings, reference
from alertctl.error_codes import ERROR_CODES, SLACK_CODES, ErrorCode, failure_reason, fix, meaning
from alertctl.errors import Reason
from alertctl.events import EVENT_TYPES, EventFields
from tests.ops.checkout import ROOT, text

SECTIONS = {
    "slack": "Slack",
    "email": "Email",
    "sendgrid": "SendGrid",
    "smtp": "SMTP",
    "notification": "Recipients",
    "database": "Delivery log",
    "retry": "Retries",
    "prune": "Retention of the delivery log",
    "jwt": "JWTs of your identity provider",
    "alertctl": "alertctl",
}
PREFERENCES = {
    True: "Users are notified unless they set `notify_on_{}` to false.",
    False: "Users are notified only if they set `notify_on_{}` to true.",
    None: "Users cannot subscribe to it: routes (or the default targets), labels and `--to` select its recipients.",
}
_TYPES = {"string": "text", "number": "number", "integer": "whole number", "object": "object"}
SUPPRESSED = ("email_disabled", "recipient_not_allowed", "slack_disabled")
LOGIN_CODES = ("530", "534", "535", "538", "authentication_required")
"""Refusals that open the circuit breaker, unless the server accepts other recipients."""
ACCEPTS_OTHERS = "at RCPT TO, if the server accepts other recipients"
STEPS = {
    "at RCPT TO": (SmtpStep.RCPT,),
    "before MAIL FROM": (SmtpStep.GREETING, SmtpStep.HELLO, SmtpStep.STARTTLS, SmtpStep.AUTH),
    "at MAIL FROM": (SmtpStep.MAIL,),
    "at DATA": (SmtpStep.DATA,),
    "after the message": (SmtpStep.END,),
}
"""The steps at which a mail server's refusal has the same reason. The first is the usual one."""
POLICY_CODES = ("helo_refused", "relaying_denied", "sender_refused", "refused_by_policy")
"""A mail server's refusals at RCPT TO by its policy."""
ALWAYS_AMBIGUOUS = ("closing", "unexpected")
BEFORE_SENDING = ("bad_request", "connect_timeout", "connection_refused")
FILTER_ANCHOR = "log-filters"
DESCRIPTION_ENDPOINTS = (
    ("`GET /openapi.json`", "none", "Return the OpenAPI description."),
    ("`GET /docs`", "none", "Show the OpenAPI description as a page."),
)
"""The endpoints that the OpenAPI description does not contain."""


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    names = list(header)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def settings() -> Iterator[str]:
    """Yield every setting with its default and meaning, a table for each section."""
    rows = reference()
    for section, title in SECTIONS.items():
        own = [row for row in rows if row[0].startswith(f"{section}_".upper())]
        exception = ", except `ALERTCTL_CONFIG` and `ALERTCTL_NO_DOTENV`" if section == "alertctl" else ""
        yield from (f"### {title}", "", f"`[{section}]` in TOML{exception}.", "")
        cells = ((f"`{name}`", f"`{default}`" if default else "", meaning) for name, default, meaning in own)
        yield from (*table(("setting", "default", "meaning"), cells), "")


def events() -> Iterator[str]:
    """Yield every event type with its own fields, then the fields that all have."""
    for kind in EVENT_TYPES:
        own = [name for name in kind.model_fields if name not in EventFields.model_fields]
        description = f"{kind.description[0].upper()}{kind.description[1:]}."
        yield from (f"### `{kind.event_type}`", "")
        yield from (f"{description} {PREFERENCES[kind.default_on].format(kind.event_type)}", "")
        yield from (*_fields(kind, own), "")
    yield from ("### Fields of every event", "", *_fields(EVENT_TYPES[0], list(EventFields.model_fields)))


def _fields(kind: type[EventFields], names: list[str]) -> Iterator[str]:
    schema = kind.model_json_schema()
    return table(("field", "type", "meaning"), (_field(name, schema) for name in names))


def _field(name: str, schema: dict[str, Any]) -> Iterator[str]:
    field = schema["properties"][name]
    addition = "; **required**" if name in schema.get("required", ()) else ""
    if field.get("default") is not None:
        addition = f"; default `{field['default']}`"
    return iter((f"`{name}`", _type(field, schema), f"{field['description']}{addition}"))


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in field:
        return _type(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    if "enum" in field:
        return " ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return _type(next(option for option in field["anyOf"] if option.get("type") != "null"), schema)
    return "time" if field.get("format") == "date-time" else _TYPES[field["type"]]


def commands() -> Iterator[str]:
    """Yield every command with its options, in the order of `alertctl --help`; the filters of the log once."""
    root: Any = typer.main.get_command(app)
    yield from (
        "### Options of every command",
        "",
        "Give them before or after the command's name, the last three only without a command.",
        "",
    )
    yield from (*_options(root.params), "")
    log = root.commands["log"].params
    yield from (
        "### Log filters",
        "",
        "Options that choose deliveries, for `alertctl log`, `log retry`, `log export` and `log stats`.",
        "",
    )
    yield from (*_options(parameter for parameter in log if _is_filter(parameter)), "")
    yield from _commands(root, "alertctl")


def _is_filter(parameter: Any) -> bool:
    return parameter.name in FILTERS


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if getattr(command, "hidden", False):
            continue
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield from _command(command, f"{path} {name}")
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    yield from (f"### `{' '.join([path, *arguments])}`", "", _summary(command), "")
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    filters = [option for option in options if _is_filter(option)]
    if len(filters) == len(FILTERS):
        yield from (f"Takes the [log filters](#{FILTER_ANCHOR}).", "")
        options = [option for option in options if option not in filters]
    if options:
        yield from (*_options(options), "")


def _argument(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).strip("{}[].")
    return f"{name if argument.required else f'[{name}]'}{'...' if argument.nargs == -1 else ''}"


def _summary(command: Any) -> str:
    """Return the first paragraph of a command's help after its examples."""
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    texts = (part for part in paragraphs if "\b" not in part and not part.lstrip().startswith("alertctl "))
    return " ".join(next(texts, "").split())


def _options(options: Iterable[Any]) -> Iterator[str]:
    shown = (option for option in options if option.param_type_name == "option" and not option.hidden)
    return table(("option", "meaning"), map(_option, shown))


def _option(option: Any) -> tuple[str, str]:
    longest_first = sorted(option.opts, key=len, reverse=True)
    names = ", ".join(f"`{name}`" for name in [*longest_first, *option.secondary_opts])
    value = "" if option.is_flag else f" {option.metavar or _choices(option)}"
    return f"{names}{value}", f"{option.help or ''}{_default(option)}"


def _default(option: Any) -> str:
    """Return the default as `--help` shows it. `--output` has none here: its default is always the first value."""
    is_shown = option.show_default and option.default not in (None, "") and not option.is_flag
    return f" Default: {option.default}." if is_shown and option.name != "output" else ""


def _choices(option: Any) -> str:
    choices = getattr(option.type, "choices", None)
    return "|".join(choices) if choices else str(option.type.name)


def errors() -> Iterator[str]:
    """Yield every error code, Slack's apart from the others."""
    slack = {entry.code for entry in SLACK_CODES}
    parts = {
        "Slack": [entry for entry in ERROR_CODES.values() if entry.code in slack],
        "Email, HTTP, network and alertctl": [entry for entry in ERROR_CODES.values() if entry.code not in slack],
    }
    for title, entries in parts.items():
        rows = map(_error, sorted(entries, key=lambda entry: entry.code))
        yield from (f"### {title}", "", *table(("code", "reason", "meaning", "fix"), rows), "")


def _error(entry: ErrorCode) -> tuple[str, ...]:
    reasons = error_reasons(entry)
    names = "; ".join(f"`{reason}` {when}".strip() for reason, when in reasons.items())
    return f"`{entry.code}`", names, meaning(entry.code, None), _fix(entry.code, list(reasons))


def _fix(code: str, reasons: list[Reason]) -> str:
    """Return the fix of a code, for the last of its reasons; of an SMTP code, for a refused recipient."""
    last = fix(code, reasons[0 if code.isdecimal() else -1] if reasons else None)
    if len(reasons) > 1 and reasons[-1] is Reason.AMBIGUOUS and (first := fix(code, reasons[0])) != last:
        return f"{first} With reason `ambiguous`, the message may arrive twice."
    return last


def error_reasons(entry: ErrorCode) -> dict[Reason, str]:
    """Return the reasons that an attempt with this code can have, each with when it has it."""
    code = entry.code
    if code in LOGIN_CODES:
        return {Reason.CONFIG: "", Reason.LOCAL: ACCEPTS_OTHERS}
    if entry.reason is not None:
        return {entry.reason: ""}
    if code in SUPPRESSED:
        return {}
    if code in ALWAYS_AMBIGUOUS:
        return {Reason.AMBIGUOUS: ""}
    if code.startswith("http_"):
        return {status_reason(int(code.removeprefix("http_"))): ""}
    if code.isdecimal():
        reasons: dict[Reason, list[str]] = {}
        for when, steps in STEPS.items():
            reasons.setdefault(smtp_reason(steps[0], int(code)), []).append(when)
        return {reason: " or ".join(parts) for reason, parts in reasons.items()}
    if code in POLICY_CODES:
        return {Reason.LOCAL: ""}
    before = failure_reason(code, sent=False)
    return {before: ""} if code in BEFORE_SENDING else {before: "", Reason.AMBIGUOUS: "if the request was sent"}


def endpoints() -> Iterator[str]:
    """Yield every endpoint with its role and purpose, from the OpenAPI description."""
    return table(("endpoint", "role", "purpose"), (*_endpoints(), *DESCRIPTION_ENDPOINTS))


def _endpoints() -> Iterator[tuple[str, str, str]]:
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            summary = operation["description"].partition("\n\n")[0]
            role = re.search(r"Role: (\w+)", operation["description"])
            yield f"`{method.upper()} {path}`", role[1] if role else "none", " ".join(summary.split())


def openapi() -> dict[str, Any]:
    """Return the API's description of itself, without a daemon or a database."""
    services: Any = SimpleNamespace(settings=Settings(), jwt_settings=Settings)
    return create_app(services).openapi()


PARTS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings": ("docs/configuration.md", settings),
    "commands": ("docs/commands.md", commands),
    "events": ("docs/events.md", events),
    "errors": ("docs/errors.md", errors),
    "endpoints": ("docs/http-api.md", endpoints),
}


def updated(page: str) -> str:
    """Return a page with its generated parts as alertctl has them now."""
    markdown = text(page)
    for name, (at, lines) in PARTS.items():
        if at == page:
            begin, end = f"<!-- {name}: scripts/docs -->", f"<!-- end of {name} -->"
            before, _, rest = markdown.partition(begin)
            _, separator, after = rest.partition(end)
            if not separator:
                raise ValueError(f"{page} has no {begin} … {end}")
            generated = "\n".join(lines()).strip()
            markdown = f"{before}{begin}\n\n{generated}\n\n{end}{after}"
    return markdown


def main() -> int:
    outdated = [page for page, _ in PARTS.values() if updated(page) != text(page)]
    for page in outdated:
        print(f"{page} is out of date" if "--check" in sys.argv else page)
        if "--check" not in sys.argv:
            (ROOT / page).write_text(updated(page), "utf-8")
    return 1 if outdated and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
