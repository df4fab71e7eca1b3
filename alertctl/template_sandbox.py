"""Compile and render operators' Jinja2 templates in a sandbox.

A template may use values, conditions and one level of loops. Constructs with which a short template could run for long
or fill the memory are refused when it is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alertctl.content import format_value

if TYPE_CHECKING:
    from jinja2 import Environment, Template, nodes

OUTPUT_LIMIT = 1_000_000
"""Characters of a template's result."""
FILTERS = (
    *("capitalize", "default", "d", "dictsort", "first", "float", "int", "last", "length"),
    *("lower", "round", "title", "trim", "truncate", "upper"),
)
"""Filters whose result is not much longer than their input."""

_LOOP_ITEMS = "loop items"
"""The filter that `_check_loops_at_run_time` adds. A template can't name it, because of the space."""


class TemplateError(Exception):
    """A template has a mistake, or failed. The message is one line."""


def compile_template(environment: Environment, text: str, limit: int) -> Template:
    """Return a template of at most `limit` characters. Raises TemplateError."""
    if len(text) > limit:
        raise TemplateError(f"is longer than {limit} characters")
    try:
        tree = environment.parse(text)
        _check_syntax_tree(tree)
        _check_loops_at_run_time(tree)
        return environment.from_string(tree)
    except Exception as error:
        raise _as_template_error(error) from None


def render_template(template: Template, values: Mapping[str, Any]) -> str:
    """Render a template. Raises TemplateError, also if the result is empty or longer than OUTPUT_LIMIT."""
    parts, length = [], 0
    try:
        for part in template.generate(values):
            length += len(part)
            if length > OUTPUT_LIMIT:
                raise TemplateError(f"the result is longer than {OUTPUT_LIMIT} characters")
            parts.append(part)
    except Exception as error:
        raise _as_template_error(error) from None
    text = "".join(parts)
    if not text.strip():
        raise TemplateError("the result is empty")
    return text


def names_of_values(tree: nodes.Template) -> set[str]:
    """Return the names that a template reads, without the variables of its loops."""
    from jinja2 import nodes

    # Jinja2's own `find_undeclared_variables` runs the optimizer.
    of_loops: set[int] = set()
    for loop in tree.find_all(nodes.For):
        variables = {"loop", *(name.name for name in _names(loop.target))}
        inside = (name for part in loop.iter_child_nodes(only=("body", "test")) for name in _names(part))
        of_loops.update(id(name) for name in inside if name.name in variables)
    read = (name for name in tree.find_all(nodes.Name) if name.ctx == "load" and id(name) not in of_loops)
    return {name.name for name in read} - {"self"}


def _names(node: nodes.Node) -> Iterator[nodes.Name]:
    """Yield the names in a part of a template, the part itself included."""
    from jinja2 import nodes

    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def sandbox(**options: Any) -> Environment:
    """Return an environment whose templates can't reach Python or multiply text."""
    # Imported here: most installations have no templates of their own, and a send to Slack needs no Jinja2.
    from jinja2 import ChainableUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class BoundedSandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "*", "%"})

        def call_binop(self, context: Any, operator: str, first: Any, second: Any) -> Any:
            if not all(isinstance(value, int | float) for value in (first, second)):
                raise TemplateError(
                    f"{operator} needs two numbers, and a field may be missing ({{% if %}}); join texts with ~"
                )
            return super().call_binop(context, operator, first, second)

    # The optimizer takes seconds for a chain of 200 filters or attributes.
    environment = BoundedSandbox(undefined=ChainableUndefined, finalize=format_value, optimized=False, **options)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS} | {_LOOP_ITEMS: _loop_items}
    return environment


def _check_syntax_tree(tree: nodes.Template) -> None:
    """Raise TemplateError for assignments, macros, includes, nested loops and calls, which could run for long."""
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
        # It would collect the text of a loop before render_template can count it.
        nodes.FilterBlock: "{% filter %}",
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


def _check_loops_at_run_time(tree: nodes.Template) -> None:
    """Let each loop refuse a text: its 20,000 characters would repeat the loop's body as often."""
    from jinja2 import nodes

    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, _LOOP_ITEMS, [], [], None, None, lineno=loop.lineno)


def _loop_items(value: Any) -> Any:
    """Return the value of a loop. Raises TemplateError for a text."""
    if isinstance(value, str):
        raise TemplateError("a loop over the characters of a text is not available in these templates")
    return value


def _as_template_error(error: Exception) -> TemplateError:
    """Return an error of Jinja2 as one line, with the line number of a syntax error."""
    if isinstance(error, TemplateError):
        return error
    if isinstance(error, RecursionError):
        return TemplateError("is nested too deeply")
    number = getattr(error, "lineno", None)
    text = " ".join(str(error).split())[:200].removesuffix(".") or type(error).__name__
    return TemplateError(f"line {number}: {text}" if number else text)
