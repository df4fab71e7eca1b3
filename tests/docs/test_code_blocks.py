"""Every code block of README.md and docs/ does what its page shows.

The blocks of a page run in order in one bash session (see `shell.py`), in an empty folder:

- `console`: the lines with `$ ` are commands, the others their output (see `compare.py`);
- `sh`: runs under `set -eu` and ends with 0; `python`: runs and ends with 0;
- `toml` is an alertctl.toml and `ini` a .env without errors; `json` and `yaml` can be parsed; `text` is not run.

`<!-- needs: daemon -->` at a page's top starts a daemon for it. `<!-- not run: REASON -->` before a block skips it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from alertctl.config import check, load
from alertctl.errors import ConfigError
from alertctl.routing import check_routes, routing_rules_of
from tests.docs.compare import ANY
from tests.docs.pages import NEEDS_DAEMON, PAGES, Block, blocks, commands
from tests.docs.shell import Shell, shell
from tests.ops.checkout import text
from tests.support.cases import each
from tests.support.machines import free_port

IN_SESSION = ("console", "sh", "python")
FILES = {"toml": "alertctl.toml", "ini": ".env"}
LANGUAGES = (*IN_SESSION, *FILES, "json", "yaml", "text")


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language in IN_SESSION for b in blocks(page))])
def test_the_commands_of_a_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    daemon = NEEDS_DAEMON in text(page).splitlines()[:5]
    problems = []
    with shell(tmp_path, daemon=daemon, port=free_port()) as session:
        for block in blocks(page):
            if block.runs and block.language in IN_SESSION and not session.has_ended:
                problems += [f"{page}:{block.line}: {problem}" for problem in _problems(session, block, tmp_path)]
    assert not problems, "\n\n".join(problems)


def _problems(session: Shell, block: Block, folder: Path) -> Iterator[str]:
    if block.language == "console":
        for example in commands(block.text):
            if output := session.check(example):
                yield f"$ {example.command}\n{output[:3000]}"
        return
    script = block.text
    if block.language == "python":
        (folder / "block.py").write_text(script, "utf-8")
        script = f"run-block '{folder / 'block.py'}'"
    status, output = session.run(script, strict=True)
    if status:
        yield f"exit code {status}\n{output}"


@each("page", PAGES)
def test_every_block_of_a_page_has_a_known_language(page: str) -> None:
    unknown = [block for block in blocks(page) if block.runs and block.language not in LANGUAGES]
    assert not unknown
    assert text(page).count("\n```") % 2 == 0


@pytest.mark.parametrize("page", PAGES)
def test_the_settings_and_data_of_a_page_are_valid(page: str, tmp_path: Path) -> None:
    for block in blocks(page):
        if not block.runs:
            continue
        if block.language in FILES:
            folder = tmp_path / str(block.line)
            folder.mkdir()
            (folder / FILES[block.language]).write_text(block.text.replace(ANY, "0000"), "utf-8")
            assert not _setting_errors(folder), f"{page}:{block.line}"
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.text))


def _setting_errors(folder: Path) -> list[str]:
    """Return what `alertctl config check` reports as errors in this folder."""
    try:
        settings = load({"HOME": str(folder)}, folder, refuse=False)
        problems = [*check(settings), *check_routes(routing_rules_of(settings))]
    except ConfigError as error:
        return list(error.problems)
    return [f"{problem.name}: {problem.message}" for problem in problems if problem.severity == "error"]
