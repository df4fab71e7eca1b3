"""`alertctl doctor` on a terminal and as JSON."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess

import pytest
import typer
from typer.testing import CliRunner, Result

from alertctl.cli.commands.doctor import doctor
from alertctl.cli.errors import Root
from tests.support.cli import COMMAND
from tests.support.doctor import DoctorHarness, closed_port

app = typer.Typer(cls=Root, rich_markup_mode=None)


@app.callback()
def root(context: typer.Context, debug: bool = False) -> None:
    context.obj = {}


app.command()(doctor)


def run(harness: DoctorHarness, *arguments: str, email: str = "smtp", **more: str) -> Result:
    environ = harness.environ(email=email, **more)
    return CliRunner(env={"COLUMNS": "80", **environ}).invoke(app, ["doctor", *arguments])


@pytest.mark.usefixtures("no_database")
def test_the_command_ends_with_0_when_no_check_failed(harness):
    ran = run(harness)
    assert ran.exit_code == 0
    assert re.search(r"^✓ +slack +auth\.test +team Sandbox", ran.stdout, re.MULTILINE)
    assert re.fullmatch(r"\d+ ok, \d+ warnings?, \d+ can't tell\n", ran.stderr)


def test_the_command_ends_with_10_and_shows_the_fix_when_a_check_failed(harness):
    harness.sandbox.slack.auth_error = "token_revoked"
    ran = run(harness, "slack")
    assert ran.exit_code == 10
    assert re.search(r"^✗ +slack +auth\.test +Slack answered token_revoked *\n +Fix: ", ran.stdout, re.MULTILINE)
    assert re.search(r"\b1 failure(,|$)", ran.stderr.strip())


def test_the_command_counts_what_it_found(harness):
    harness.sandbox.slack.auth_error = "token_revoked"
    harness.sandbox.smtp.auth_error = "no"
    harness.sandbox.smtp.credentials = ("user", "password")
    ran = run(harness)
    failures = ran.stdout.count("✗")
    assert failures > 1
    assert f"{failures} failures" in ran.stderr


def test_on_a_narrow_terminal_a_finding_is_printed_below_its_check(harness):
    harness.sandbox.slack.auth_error = "token_revoked"
    ran = CliRunner(env={"COLUMNS": "40", **harness.environ()}).invoke(app, ["doctor", "slack"])
    assert "\n✗  slack auth.test" in ran.stdout
    assert "\n   Slack answered token_revoked" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 40


@pytest.mark.parametrize(
    ("area", "areas"),
    [("slack", {"slack"}), ("email", {"email"}), ("db", {"db"}), ("all", {"slack", "email", "db"})],
)
def test_json_has_one_item_for_each_check_of_the_area(harness, area, areas):
    ran = run(harness, area, "-o", "json")
    items = json.loads(ran.stdout)["items"]
    assert {item["area"] for item in items} == areas
    assert {tuple(item) for item in items} == {("area", "check", "outcome", "what", "fix")}
    assert {item["outcome"] for item in items} <= {"ok", "warning", "failure", "unknown"}
    assert all((item["fix"] == "") == (item["outcome"] == "ok") for item in items)
    assert ran.stderr == ""


def test_json_ends_with_10_as_well(harness):
    ran = run(harness, "email", "-o", "json", email="sendgrid", SENDGRID_API_KEY="SG.not.ours")
    assert ran.exit_code == 10
    assert [item["check"] for item in json.loads(ran.stdout)["items"] if item["outcome"] == "failure"] == ["mail.send"]


def test_the_table_fits_80_columns_and_cuts_nothing(harness):
    with closed_port() as port:
        away = {"SLACK_API_URL": f"http://127.0.0.1:{port}/api/", "SMTP_PORT": str(port)}
        ran = run(harness, NOTIFICATION_ADMIN_EMAILS=",".join(f"person-{n}@corp.example" for n in range(9)), **away)
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "person-8@corp.example" in re.sub(r"\s+", "", ran.stdout)
    assert "…" not in ran.stdout.replace("xoxb-…", "")


def test_an_unknown_area_is_a_usage_mistake(harness):
    ran = run(harness, "fax")
    assert ran.exit_code == 2
    assert "fax" in ran.stderr


def test_settings_that_cannot_be_read_are_named_instead(harness):
    ran = run(harness, SMTP_PORT="seventy")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "SMTP_PORT" in ran.stderr


def test_a_terminal_without_the_signs_gets_plain_ones(harness):
    """In a process of its own: the encoding is decided when it starts."""
    environ = {**os.environ, **harness.environ(), "PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, "doctor", "slack"]
    ran = subprocess.run(command, env=environ, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.search(rb"^ok +slack +auth\.test", ran.stdout, re.MULTILINE)
    assert rb"\u2713" not in ran.stdout


def test_colour_is_only_for_terminals_and_never_the_only_sign(harness):
    assert "\x1b" not in run(harness).stdout
    assert io.StringIO(run(harness, "slack").stdout).read().count("✓") >= 5
