"""The pipelines of docs/ci.md publish an event once, however often they are run again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alertctl.sandbox import Sandbox
from tests.ops.checkout import text
from tests.ops.conftest import environment

GITHUB, GITLAB, ROUTES = (
    yaml.safe_load(block) for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", text("docs/ci.md"))
)
STEPS = {step["name"]: step for step in GITHUB["jobs"]["rollout"]["steps"] if "name" in step}
RUN = {
    "GITHUB_REPOSITORY": "corp/shop",
    "GITHUB_RUN_ID": "1234",
    "GITHUB_JOB": "rollout",
    "GITHUB_WORKFLOW": "rollout",
    "GITHUB_SERVER_URL": "https://git.corp.example",
    "CI_PROJECT_ID": "7",
    "CI_PIPELINE_ID": "1234",
    "CI_JOB_NAME": "rollout: [production, 1/2]",
}
"""Variables of a pipeline that stay the same when it is run again."""


@pytest.fixture
def pipeline(variables: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a job that publishes on a server."""
    with Sandbox() as sandbox:
        yield environment(sandbox, tmp_path) | {
            "ALERTCTL_SERVER": variables["API"].partition("/api/")[0],
            "ALERTCTL_TOKEN": variables["AUTH"].rpartition(" ")[2],
            "CI": "true",
            **RUN,
        }


def run(script: str, environ: dict[str, str], attempt: int) -> str:
    """Return the messages that a job's script prints in an attempt."""
    environ = environ | {"GITHUB_RUN_ATTEMPT": str(attempt), "CI_JOB_ID": str(5000 + attempt)}
    ran = subprocess.run(["bash", "-e", "-c", script], env=environ, cwd=environ["HOME"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


@pytest.mark.parametrize("script", [STEPS["Announce the rollout"]["run"], GITLAB["rollout"]["script"][-1]])
def test_a_job_that_is_run_again_publishes_nothing_more(script: str, pipeline: dict[str, str]) -> None:
    assert run(script, pipeline, 1).startswith("recorded ")
    assert (Path(pipeline["HOME"]) / "receipt.json").exists()
    assert run(script, pipeline, 2).startswith("already recorded as ")


def test_a_change_of_the_routes_that_takes_targets_away_fails_the_job(tmp_path: Path) -> None:
    job = ROUTES["jobs"]["routes"]
    (script,) = (step["run"] for step in job["steps"] if step.get("name") == "Test the routes")
    with Sandbox() as sandbox:
        environ = environment(sandbox, tmp_path) | job["env"]
    routes = re.findall(r"(?ms)^```toml\n(.*?)^```", text("docs/routing.md"))[0]
    codes = []
    for content in (routes, routes.replace("#pay-oncall", "#other"), routes.replace("to = []", 'to = "default"')):
        Path(environ["HOME"], "alertctl.toml").write_text(content)
        ran = subprocess.run(["bash", "-e", "-c", script], env=environ, cwd=environ["HOME"], capture_output=True)
        codes.append(ran.returncode)
    assert codes == [0, 10, 10]


def test_each_attempt_that_fails_publishes_its_own_alert(pipeline: dict[str, str]) -> None:
    script = STEPS["Announce a failure"]["run"]
    assert run(script, pipeline, 1).startswith("recorded ")
    assert run(script, pipeline, 2).startswith("recorded ")


def test_each_pipeline_has_one_marked_placeholder_and_takes_its_secrets_from_the_ci_system() -> None:
    page = text("docs/ci.md")
    assert len(re.findall(r"PACKAGE: \S+  # REPLACE: ", page)) == page.count("# REPLACE") == 3
    job: dict[str, Any] = GITHUB["jobs"]["rollout"]["env"]
    assert job == {
        "ALERTCTL_SERVER": "${{ vars.ALERTCTL_SERVER }}",
        "ALERTCTL_TOKEN": "${{ secrets.ALERTCTL_TOKEN }}",
    }
