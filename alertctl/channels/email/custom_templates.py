"""The operator's own templates of emails: `alert.html` and `alert.txt` in the folder ALERTCTL_TEMPLATES."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from alertctl.suggestions import suggest
from alertctl.template_sandbox import TemplateError, compile_template, names_of_values, render_template, sandbox

if TYPE_CHECKING:
    from jinja2 import Environment, Template

NAMES = ("alert.txt", "alert.html")
FILE_LIMIT = 100_000
"""Characters of a template file."""


def line_breaks(text: str) -> Markup:
    """Return escaped text with its line breaks as <br>."""
    return Markup("<br>").join(str(text).split("\n"))


class CustomTemplates:
    """The templates that a folder has, read once; one that can't be used is in `problems` by its name."""

    def __init__(self, folder: str) -> None:
        self.templates: dict[str, Template] = {}
        self.problems: dict[str, str] = {}
        for name in NAMES if folder else ():
            try:
                if (path := Path(folder) / name).exists():
                    self.templates[name] = _compile(name, path.read_text("utf-8"))
            except (OSError, ValueError, TemplateError) as error:
                self.problems[name] = str(error)

    def render(self, name: str, values: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return the text of a template, None without one that works; and the note about a failure."""
        problem = self.problems.get(name)
        if name in self.templates:
            try:
                return render_template(self.templates[name], values), None
            except TemplateError as error:
                problem = str(error)
        return None, problem and f"ALERTCTL_TEMPLATES: {name}: {problem}; the built-in template is used"


@lru_cache(maxsize=8)
def custom_templates(folder: str) -> CustomTemplates:
    """Return the templates of a folder, read once in a process."""
    return CustomTemplates(folder)


def _compile(name: str, text: str) -> Template:
    return compile_template(_environment(name), text, FILE_LIMIT)


def _environment(name: str) -> Environment:
    environment = sandbox(autoescape=name.endswith(".html"), trim_blocks=True, lstrip_blocks=True)
    environment.filters["line_breaks"] = line_breaks
    return environment


def template_problems(folder: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each template of a folder that can't be rendered with these values, or names an unknown one."""
    known = [*values, "reason"]
    templates = CustomTemplates(folder)
    for name in NAMES:
        problem = templates.render(name, values)[1]
        if problem:
            yield problem.partition(": ")[2].partition("; the built-in")[0]
        elif name in templates.templates:
            tree = _environment(name).parse((Path(folder) / name).read_text("utf-8"))
            for unknown in sorted(names_of_values(tree) - {*known}):
                yield f"{name}: {unknown!r} is not a value{suggest(unknown, known)}"
    if folder and not templates.templates and not templates.problems:
        yield f"the folder has neither {' nor '.join(NAMES)}"
