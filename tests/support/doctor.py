"""The doctor on settings that point at a sandbox."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from alertctl.config import load
from alertctl.doctor import CHECK_SECONDS, Finding, checks_for, run
from alertctl.sandbox import Sandbox

NOW = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)
Findings = dict[str, Finding]


def run_doctor(
    environ: Mapping[str, str], folder: Path, *, area: str | None = None, seconds: float = CHECK_SECONDS
) -> Findings:
    """Return the doctor's findings by the check's name. `folder` is HOME and the working folder."""
    settings = load({"HOME": str(folder), **environ}, folder)
    findings = run([check for check in checks_for(settings) if area in (None, check.area)], settings, NOW, seconds)
    assert len({(finding.area, finding.check) for finding in findings}) == len(findings)
    return {f"{finding.area} {finding.check}": finding for finding in findings}


class DoctorHarness:
    """A sandbox, and the doctor's findings for settings that use it."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder

    def environ(self, *, email: Literal["smtp", "sendgrid"] = "smtp", **more: str) -> dict[str, str]:
        database = f"sqlite:///{self.folder / 'alertctl.db'}"
        return {**self.sandbox.settings(email), "DATABASE_URL": database, **more}

    def slack(self, **more: str) -> Findings:
        findings = run_doctor(self.environ(email="smtp", **more), self.folder, area="slack")
        return {name.removeprefix("slack "): finding for name, finding in findings.items()}

    def email(self, *, by: Literal["smtp", "sendgrid"] = "smtp", **more: str) -> Findings:
        findings = run_doctor(self.environ(email=by, **more), self.folder, area="email")
        return {name.removeprefix("email "): finding for name, finding in findings.items()}


@pytest.fixture
def harness(sandbox: Sandbox, tmp_path: Path) -> DoctorHarness:
    return DoctorHarness(sandbox, tmp_path)


def outcomes(findings: Findings) -> dict[str, str]:
    return {name: finding.outcome.value for name, finding in findings.items()}


def failures(findings: Findings) -> set[str]:
    return {name for name, finding in findings.items() if finding.outcome == "failure"}


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a local port without a listener, reserved so that no other process takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
