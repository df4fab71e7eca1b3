"""Titles and summaries from the configuration: Jinja2 templates over an event's fields and labels.

If a template fails, the built-in text is used (`template_sandbox.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from alertctl.content import Content
from alertctl.suggestions import suggest
from alertctl.template_sandbox import TemplateError, compile_template, names_of_values, render_template, sandbox
from alertctl.text import cut

if TYPE_CHECKING:
    from jinja2 import Environment, Template

    from alertctl.events.base import EventFields

PARTS = ("title", "summary")
"""The texts of a message that have templates."""
TEMPLATE_LIMIT = 2000
"""Characters of a template."""
VALUE_LIMIT = 20_000
"""Characters of a field that a template sees: as many as the longest summary of a message."""
ITEMS_LIMIT = 100
"""Details and labels that a template sees."""
Messages = Mapping[str, Mapping[str, str]]
"""The sections `[messages.TYPE]`: templates by event type and part."""


@dataclass(frozen=True)
class Wording:
    """The configured templates of titles and summaries."""

    messages: tuple[tuple[str, str, str], ...] = ()
    """Event type, part and template."""

    @classmethod
    def of(cls, messages: Messages) -> Wording:
        return cls(tuple((kind, part, text) for kind, parts in messages.items() for part, text in parts.items()))

    def apply(self, content: Content, fields: EventFields) -> Content:
        """Return the content with the configured title and summary, and a warning for each template that failed."""
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
                warnings.append(f"[messages.{content.event_type}] {part}: {error}; the built-in text is used")
        if content.is_only_title and "title" in texts:
            # A summary that repeats the built-in title is left out of the message, beside the configured title too.
            texts.setdefault("summary", texts["title"])
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
    """Return the problem of a template, which is rendered with the example of its event type."""
    from datetime import UTC, datetime

    example = kind.model_validate(kind.example)
    content = example.content("00000000-0000-0000-0000-000000000000", datetime.now(UTC))
    values = template_values(replace(content, labels=(("team", "growth"),)), example)
    compiled = _compiled(text)
    if isinstance(compiled, TemplateError):
        return str(compiled)
    unknown = sorted(names_of_values(_environment().parse(text)) - set(values))
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
        # Never None, so that a template can loop over the details of an event without any.
        "details": values["details"] or {},
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
    """Return the text of a template. Raises TemplateError."""
    template = _compiled(text)
    if isinstance(template, TemplateError):
        raise template
    return render_template(template, values)


@lru_cache(maxsize=64)
def _compiled(text: str) -> Template | TemplateError:
    try:
        return compile_template(_environment(), text, TEMPLATE_LIMIT)
    except TemplateError as error:
        return error


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return sandbox(autoescape=False)
