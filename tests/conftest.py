"""Fixtures of all tests: a database of each kind, a sandbox, and an environment without settings.

Each run starts a Postgres server of its own (`support/postgres.py`); `ALERTCTL_TEST_DATABASE_URL` names another one.
`--long` runs long tests in their full size (minutes instead of seconds), and those marked `long`. It also runs all
tests on both kinds of database. Without it the folders of `INDIRECT_SQL` use SQLite, apart from tests marked
`postgres`: the SQL that they reach has tests of its own on both kinds. `--real-processes` starts every `alertctl` with
a new interpreter (`support/cli_process.py`).
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alertctl.db import Store, upgrade
from alertctl.sandbox import Sandbox
from tests.support import fuzzing, postgres
from tests.support.temporary_folder import temporary_folder

SETTING_PREFIXES = (
    "SLACK_",
    "EMAIL_",
    "SENDGRID_",
    "SMTP_",
    "NOTIFICATION_",
    "DATABASE_",
    "RETRY_",
    "PRUNE_",
    "JWT_",
    "ALERTCTL_",
)
XDG = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
pytest_plugins = ["tests.support.cli_process", "tests.support.dispatcher_fixtures"]
INDIRECT_SQL = (
    "api",
    "channels",
    "cli",
    "client",
    "config",
    "daemon",
    "dispatcher",
    "doctor",
    "routing",
    "stories",
    "test_python_api.py",
)
SKIPPED = "no Postgres"
TESTS = Path(__file__).parent
FOLDER = pytest.StashKey[Path]()
MISSED = pytest.StashKey[list[str]]()
_home_numbers = itertools.count(1)

# Without these files each worker of each run compiles all tests: 5 s of CPU time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the heavy cases in their full size")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: runs with --long only")
    config.addinivalue_line("markers", "postgres: runs on Postgres without --long too")
    # pytest's own variable: the parent of `tmp_path`.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(temporary_folder()))
    fuzzing.settings.load_profile("long" if config.getoption("--long") else "short")
    shared = getattr(config, "workerinput", {}).get("postgres")
    config.stash[FOLDER] = Path(shared) if shared else postgres.new_folder()
    config.stash[MISSED] = []
    # A shell's background job ignores Ctrl-C, and so would the processes whose Ctrl-C is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # And one behind nohup ignores a closed terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        skipped = [item for item in items if _is_long(item)]
        config.hook.pytest_deselected(items=skipped)
        items[:] = [item for item in items if not _is_long(item)]


def _is_long(item: pytest.Item) -> bool:
    if item.get_closest_marker("long"):
        return True
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    is_indirect = item.path.relative_to(TESTS).parts[0] in INDIRECT_SQL
    return is_indirect and "postgres" in parameters and not item.get_closest_marker("postgres")


def pytest_collection_finish() -> None:
    """Let no garbage collection look through the 6000 collected tests."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["postgres"] = str(node.config.stash[FOLDER])


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ())]
    config.stash[MISSED] += [reason for reason in reasons if SKIPPED in reason]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    postgres.stop(config.stash[FOLDER])
    if missed := config.stash[MISSED]:
        # Behind pytest's own summary: nobody should take this run for a whole one.
        print(f"{len(missed)} tests did NOT run on Postgres ({missed[0].removeprefix('Skipped: ')})")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in os.environ:
        if name.startswith(SETTING_PREFIXES) and name != postgres.SERVER_VARIABLE:
            monkeypatch.delenv(name)
    # A CI job's output says more about the spool.
    monkeypatch.delenv("CI", raising=False)
    # `mktemp` looks through the folders of all earlier tests for the next number: 1 ms of CPU time.
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_home_numbers))
    home.mkdir(mode=0o700, parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in XDG:
        folder = home / name.lower()
        folder.mkdir(mode=0o700)
        monkeypatch.setenv(name, str(folder))


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[postgres.Server | str]:
    """The run's Postgres, or why there is none."""
    try:
        server = postgres.Server(pytestconfig.stash[FOLDER])
    except postgres.NoPostgres as error:
        yield f"{SKIPPED}: {error}"
        return
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: postgres.Server | str) -> Iterator[str]:
    """A migrated Postgres database for this test alone."""
    if isinstance(postgres_server, str):
        pytest.skip(postgres_server)
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def second_postgres_url(postgres_server: postgres.Server | str) -> Iterator[str]:
    """One more migrated database."""
    if isinstance(postgres_server, str):
        pytest.skip(postgres_server)
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: postgres.Server | str) -> Iterator[str]:
    """A database without tables."""
    if isinstance(postgres_server, str):
        pytest.skip(postgres_server)
    with postgres_server.database(empty=True) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy: fifty times as fast as migrations."""
    file = tmp_path_factory.mktemp("template") / "alertctl.db"
    made = Store(f"sqlite:///{file}")
    upgrade(made)
    made.close()
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite file of the test's own."""
    shutil.copyfile(sqlite_template, tmp_path / "alertctl.db")
    return f"sqlite:///{tmp_path / 'alertctl.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of the test's own; every test that asks for one runs on both kinds."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


class Clock:
    """A clock that stands still until it is advanced. UTC."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def long(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--long"))
