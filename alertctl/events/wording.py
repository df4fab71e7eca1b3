"""Titles and summaries in the operator's own words: Jinja2 templates over an event's fields and labels.

A template holds values, conditions and one level of loops. Everything by which a short template could take long or
fill the memory is refused when it is compiled. A template that fails leaves the built-in text in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from alertctl.content import Content, format_number
from alertctl.suggestions import suggest
from alertctl.text import cut

if TYPE_CHECKING:
    from jinja2 import Environment, Template, nodes

    from alertctl.events.base import EventFields

PARTS = ("title", "summary")
"""The texts of a message that have templates."""
TEMPLATE_LIMIT = 2000
"""Characters of a template."""
VALUE_LIMIT = 20_000
"""Characters of a field that a template sees: as many as the longest summary of a message."""
ITEMS_LIMIT = 100
"""Details and labels that a template sees."""
OUTPUT_LIMIT = 1_000_000
"""Characters of a template's result."""
FILTERS = (
    *("capitalize", "default", "d", "dictsort", "first", "float", "int", "last", "length"),
    *("lower", "round", "title", "trim", "truncate", "upper"),
)
"""Filters whose result is not much longer than their input."""
Messages = Mapping[str, Mapping[str, str]]
"""The sections `[messages.TYPE]`: templates by event type and part."""


class TemplateError(Exception):
    """A template is wrong or failed. The message is one line."""


@dataclass(frozen=True)
class Wording:
    """The configured templates of titles and summaries."""

    messages: tuple[tuple[str, str, str], ...] = ()
    """Event type, part and template."""

    @classmethod
    def of(cls, messages: Messages) -> Wording:
        return cls(tuple((kind, part, text) for kind, parts in messages.items() for part, text in parts.items()))

    def apply(self, content: Content, fields: EventFields) -> Content:
        """Return the content in the configured words, with a warning for each template that failed."""
        templates = [(part, text) for kind, part, text in self.messages if kind == content.event_type and part in PARTS]
        if not templates:
            return content
        values = template_values(content, fields)
        texts: dict[str, str] = {}
        warnings: list[str] = []
        for part, text in templates:
            try:
                texts[part] = _render(text, values)
            except TemplateError as error:
                warnings.append(f"[messages.{content.event_type}] {part}: {error}; the built-in text was sent")
        return replace(content, **texts, warnings=(*content.warnings, *warnings))  # type: ignore[arg-type]


NO_WORDING = Wording()


def problems(messages: Messages, types: Mapping[str, type[EventFields]]) -> Iterator[tuple[str, str]]:
    """Yield the name and the problem of each section, key or template that can't be used with its event type."""
    for kind, parts in messages.items():
        section = f"[messages.{kind}]"
        if kind not in types:
            yield section, f"there is no event type {kind[:80]!r}{suggest(kind, types)}"
            continue
        for part, text in parts.items():
            if part not in PARTS:
                yield section, f"has no {part[:80]!r}{suggest(part, PARTS)}"
            elif problem := _problem(text, types[kind]):
                yield section, f"{part}: {problem}"


def _problem(text: str, kind: type[EventFields]) -> str | None:
    """Return what is wrong with a template, found by rendering it with the example of its event type."""
    from datetime import UTC, datetime

    from jinja2 import meta

    example = kind.model_validate(kind.example)
    content = example.content("00000000-0000-0000-0000-000000000000", datetime.now(UTC))
    values = template_values(replace(content, labels=(("team", "growth"),)), example)
    compiled = _compiled(text)
    if isinstance(compiled, TemplateError):
        return str(compiled)
    unknown = sorted(meta.find_undeclared_variables(_environment().parse(text)) - set(values))
    if unknown:
        return f"{unknown[0]!r} is not a field of {kind.event_type}{suggest(unknown[0], values)}"
    try:
        _render(text, values)
    except TemplateError as error:
        return str(error)
    return None


def template_values(content: Content, fields: EventFields) -> dict[str, Any]:
    """Return the values that a template sees: the event's fields, its labels, and the built-in texts."""
    values = {name: _bounded(value) for name, value in fields.model_dump(mode="json").items()}
    return values | {
        "title": _bounded(content.title),
        "summary": _bounded(content.summary),
        "severity": content.severity.value,
        "event_type": content.event_type,
        "occurred_at": content.occurred_at.isoformat(),
        "labels": _bounded(dict(content.labels)),
    }


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return cut(value, VALUE_LIMIT)
    if isinstance(value, dict):
        return {name: _bounded(item) for name, item in list(value.items())[:ITEMS_LIMIT]}
    return value


def _render(text: str, values: Mapping[str, Any]) -> str:
    """Return the text of a template. Raises TemplateError, also for a result without any text."""
    template = _compiled(text)
    if isinstance(template, TemplateError):
        raise template
    try:
        rendered = render_bounded(template, values)
    except Exception as error:
        raise TemplateError(_line(error)) from None
    if not rendered.strip():
        raise TemplateError("the result is empty")
    return rendered


def render_bounded(template: Template, values: Mapping[str, Any]) -> str:
    """Return a template's text. Raises TemplateError when it is longer than 1 MB."""
    parts, length = [], 0
    for part in template.generate(values):
        length += len(part)
        if length > OUTPUT_LIMIT:
            raise TemplateError(f"the result is longer than {OUTPUT_LIMIT} characters")
        parts.append(part)
    return "".join(parts)


@lru_cache(maxsize=64)
def _compiled(text: str) -> Template | TemplateError:
    if len(text) > TEMPLATE_LIMIT:
        return TemplateError(f"is longer than {TEMPLATE_LIMIT} characters")
    try:
        environment = _environment()
        check_syntax_tree(environment.parse(text))
        return environment.from_string(text)
    except TemplateError as error:
        return error
    except Exception as error:
        return TemplateError(_line(error))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return sandbox(autoescape=False)


def sandbox(**options: Any) -> Environment:
    """Return an environment whose templates can neither reach Python nor grow a text by calculation."""
    # Imported here: most installations have no templates of their own, and a send to Slack needs no Jinja2.
    from jinja2 import ChainableUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class BoundedSandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "*", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if not all(isinstance(value, int | float) for value in (left, right)):
                raise TemplateError(f"{operator} needs two numbers; join texts with ~")
            return super().call_binop(context, operator, left, right)

    environment = BoundedSandbox(undefined=ChainableUndefined, finalize=_as_text, **options)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    return environment


def _as_text(value: Any) -> Any:
    """Return a value as messages show it: nothing for None, yes or no, 4 significant figures."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format_number(value) if isinstance(value, float) else value


def check_syntax_tree(tree: nodes.Template) -> None:
    """Raise TemplateError for what could take long or grow a text: assignments, macros, nested loops, calls."""
    from jinja2 import nodes

    refused = {
        nodes.Assign: "{% set %}",
        nodes.AssignBlock: "{% set %}",
        nodes.With: "{% with %}",
        nodes.Macro: "{% macro %}",
        nodes.CallBlock: "{% call %}",
        nodes.Include: "{% include %}",
        nodes.Import: "{% import %}",
        nodes.FromImport: "{% from %}",
        nodes.Extends: "{% extends %}",
        nodes.Pow: "**",
    }
    for kind, name in refused.items():
        if (node := tree.find(kind)) is not None:
            raise TemplateError(f"line {node.lineno}: {name} is not available in these templates")
    for loop in tree.find_all(nodes.For):
        if loop.recursive or any(True for _ in loop.find_all(nodes.For)):
            raise TemplateError(f"line {loop.lineno}: a loop in a loop is not available in these templates")
    for call in tree.find_all(nodes.Call):
        if not (isinstance(call.node, nodes.Getattr) and call.node.attr == "items" and not call.args):
            raise TemplateError(f"line {call.lineno}: calls are not available in these templates, except .items()")


def _line(error: Exception) -> str:
    """Return an error of Jinja2 as one line, with the line number of a syntax error."""
    if isinstance(error, TemplateError):
        return str(error)
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    number = getattr(error, "lineno", None)
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return f"line {number}: {text}" if number else text
