"""Pinned versions, the Slack manifest, CI."""

from __future__ import annotations

import os
import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from alertctl import __version__
from alertctl.sandbox import Sandbox
from tests.ops.checkout import ROOT, text, yaml_of

PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
PINS = [line for line in text("config/constraints.txt").splitlines() if line and not line.startswith("#")]


def declared(*extras: str) -> list[Requirement]:
    optional = PROJECT["optional-dependencies"]
    return [
        Requirement(one) for one in [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    ]


def test_every_dependency_is_pinned_to_a_version_that_the_project_allows():
    pins = dict(line.split("==") for line in PINS)
    for one in declared("postgres", "sandbox"):
        assert one.specifier.contains(pins[canonicalize_name(one.name)]), one


def test_the_constraints_are_names_and_versions_and_nothing_else():
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==\d+(\.\d+)*", line) for line in PINS)
    assert sorted(PINS, key=lambda line: line.partition("==")[0]) == PINS
    assert len({line.partition("==")[0] for line in PINS}) == len(PINS)


def test_the_manifest_asks_for_the_scopes_that_sending_needs_and_no_more():
    manifest = yaml_of("config/slack-app-manifest.yaml")
    assert (
        set(manifest["oauth_config"]["scopes"]["bot"])
        == set(Sandbox().slack.scopes)
        == {
            "chat:write",
            "chat:write.public",
            "users:read",
            "users:read.email",
        }
    )
    assert "user" not in manifest["oauth_config"]["scopes"]


def test_slack_is_only_called_to_post_and_edit_messages_and_to_find_people():
    sources = [path.read_text("utf-8") for path in (ROOT / "alertctl" / "channels").rglob("*.py")]
    called = {name for source in sources for name in re.findall(r"[/\"]((?:chat|users)\.[a-zA-Z.]+)\"", source)}
    assert called == {"chat.postMessage", "chat.update", "users.lookupByEmail"}


def test_ci_runs_the_command_that_readme_gives_for_the_tests():
    (command,) = re.findall(r"^python3 -m venv .*pytest$", text("README.md"), re.MULTILINE)[:1]
    assert f"\n{command} || exit\n" in text(".ci/run")
    assert text(".ci/run").endswith("\nscripts/check\n")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_script_of_the_dev_loop_can_be_run_and_is_explained():
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    assert {"check", "test", "bench"} <= {path.name for path in scripts}
    assert all(os.access(path, os.X_OK) for path in scripts)
    assert all(f"`scripts/{name}`" in text("CONTRIBUTING.md") for name in ("check", "test", "bench", "docs"))


def test_the_workflow_runs_ci_on_every_supported_python_and_the_newest_versions_never_block():
    jobs = yaml_of(".github/workflows/ci.yml")["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert {"run": ".ci/run"} in jobs["test"]["steps"]
    assert [name for name, job in jobs.items() if job.get("continue-on-error")] == ["newest"]


def test_the_version_is_the_newest_of_the_changelog_everywhere():
    headings = re.findall(r"(?m)^## (.*)$", text("CHANGELOG.md"))
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    assert headings[1].partition("]")[0] == f"[{__version__}"
    assert PROJECT["version"] == __version__


def test_the_changelog_has_the_sections_of_keep_a_changelog():
    sections = set(re.findall(r"(?m)^### (.*)$", text("CHANGELOG.md")))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_license_is_the_one_that_the_project_names():
    assert PROJECT["license"] == {"text": "Apache-2.0"}
    assert "Apache License" in text("LICENSE")
