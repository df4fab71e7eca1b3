"""Links lead to pages, headings and files that exist; pages name commands, options and settings that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from alertctl.cli.main import app
from tests.docs.pages import PAGES, anchors, blocks, code_words, commands, links, prose
from tests.ops.checkout import ROOT, SETTINGS, settings_named_in, text
from tests.support.cases import each

ROOT_COMMAND: Any = typer.main.get_command(app)


@each("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in links(page):
        if re.match(r"https?://|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), link
        assert not anchor or anchor in anchors(str(file.resolve().relative_to(ROOT))), link


@each("page", PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    assert settings_named_in(page) <= SETTINGS


@each("page", PAGES)
def test_every_command_and_option_that_a_page_names_exists(page: str) -> None:
    unknown = {f"{line}: {problem}" for line in _command_lines(page) if (problem := _unknown_part(line))}
    assert not unknown


def _command_lines(page: str) -> Iterator[str]:
    """Yield the command lines of alertctl in a page's text and console blocks."""
    for paragraph in re.split(r"\n\s*\n", prose(page)):
        yield from (words for words in code_words(" ".join(paragraph.split())) if words.startswith("alertctl "))
    for block in blocks(page):
        if block.language == "console":
            yield from (part.command for part in commands(block.text) if part.command.startswith("alertctl "))


def _unknown_part(line: str) -> str:
    """Return the first command or option that alertctl doesn't have, "" if it has all of them."""
    try:
        words = shlex.split(line.partition(" | ")[0])[1:]
    except ValueError:
        return ""
    command, options = ROOT_COMMAND, {"--help", "-h", *_options(ROOT_COMMAND)}
    for word in words:
        if word.startswith("-") and word != "-":
            # -fs and the like do not occur: options are written apart.
            if word.partition("=")[0] not in options:
                return word
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]
            options |= _options(command)
        elif hasattr(command, "commands") and command is ROOT_COMMAND and re.fullmatch(r"[a-z]+", word):
            return word
    return ""


def _options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_readmes_first_screen_has_two_commands_and_no_more() -> None:
    first_screen = text("README.md").partition("\n## ")[0]
    scripts = re.findall(r"(?ms)^```\w*\n(.*?)^```", first_screen)
    assert [script.count("\n") for script in scripts] == [1, 1]
    assert scripts[0].rstrip().endswith("alertctl demo")
    assert scripts[1].rstrip().endswith("-m pytest")
