"""The documentation's pages: README.md and docs/*.md, their code blocks, headings and links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.ops.checkout import ROOT, text

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
NEEDS_DAEMON = "<!-- needs: daemon -->"
_BLOCK = re.compile(r"(?ms)^(?P<before>[^\n]*)\n(?:^\n)?^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^ *```$")
_NOT_RUN = re.compile(r"<!-- not run: .+ -->")


@dataclass(frozen=True)
class Block:
    """A fenced code block. `runs` is False after a comment `<!-- not run: REASON -->`."""

    language: str
    text: str
    line: int
    runs: bool


@dataclass(frozen=True)
class Command:
    """A command of a console block, its lines joined, and the output that the page shows."""

    command: str
    output: str


def blocks(page: str) -> list[Block]:
    """Return a page's code blocks in order."""
    return list(_blocks(text(page)))


def _blocks(markdown: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(markdown):
        code = re.sub(rf"(?m)^{match['indent']}", "", match["text"])
        runs = not _NOT_RUN.fullmatch(match["before"].strip())
        yield Block(match["language"], code, markdown.count("\n", 0, match.start("language")) + 1, runs)


def commands(console: str) -> list[Command]:
    """Return the commands of a console block."""
    parts = re.split(r"(?m)^\$ ", console)
    if parts[0].strip():
        raise ValueError(f"a console block starts with a command, not with {parts[0].splitlines()[0]!r}")
    return [_command(part) for part in parts[1:]]


def _command(part: str) -> Command:
    command, _, output = re.sub(r"\\\n\s*", " ", part).partition("\n")
    return Command(command, output.rstrip("\n"))


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of its level or above."""
    match = re.search(rf"(?ms)^(#+) {re.escape(heading)}\n(.*)", text(page))
    if match is None:
        raise ValueError(f"{page} has no heading {heading!r}")
    return re.split(rf"(?m)^#{{1,{len(match[1])}}} ", match[2])[0]


def examples(page: str, heading: str) -> list[Command]:
    """Return the commands of a section's console blocks."""
    return [
        command
        for block in _blocks(section(page, heading))
        if block.language == "console"
        for command in commands(block.text)
    ]


def table_rows(markdown: str) -> list[list[str]]:
    """Return the cells of all tables."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code_words(cell: str) -> list[str]:
    """Return the texts between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def prose(page: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", text(page))


def links(page: str) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    names: Counter[str] = Counter()
    result = set()
    for heading in re.findall(r"(?m)^#+ (.*)$", prose(page)):
        name = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        result.add(f"{name}-{names[name]}" if names[name] else name)
        names[name] += 1
    return result
