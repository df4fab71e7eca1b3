"""Fixtures: a folder and a database for each test, and the sandbox's settings in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertctl.sandbox import Sandbox


@pytest.fixture(autouse=True)
def _a_folder_and_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqlite_url: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("DATABASE_URL", sqlite_url)


@pytest.fixture
def no_database(tmp_path: Path) -> None:
    """Leave the folder empty."""
    (tmp_path / "alertctl.db").unlink()


@pytest.fixture
def log_on(monkeypatch: pytest.MonkeyPatch, database_url: str) -> str:
    """Use the delivery log on each kind of database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def slack_and_email(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Sandbox:
    """Enable both channels, on the sandbox; a retry is due half a second later."""
    for name, value in {**sandbox.settings(), "RETRY_SCHEDULE": "500ms 500ms", "SLACK_PER_SECOND": "0"}.items():
        monkeypatch.setenv(name, value)
    return sandbox
