"""`alertctl routes` lists the routes; `alertctl routes test` explains an event's targets, also without a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import data, process, run
from tests.support.clients import ADMIN, serving, settings_on, token_for

CONFIG = """
[slack]
enabled = true
[email]
enabled = true
[notification]
admin_emails = ["ops@corp.example"]

[[routes]]
name = "payments"
match = { event_type = ["safety_rollback", "rollout_advance"], environment = "production", "labels.team" = "payments" }
to = ["slack:#pay-oncall", "email:pay-oncall@corp.example"]
mention = ["S0123ABC", "ana@corp.example"]
style = "compact"
continue = true

[[routes]]
name = "growth"
match = { "labels.team" = "growth" }
to = ["slack:#growth", "default"]

[[routes]]
name = "staging"
match = { environment = "staging" }
to = []
"""
ROLLBACK = ("routes", "test", "--event", "safety_rollback")
NO_DATABASE = "alertctl: users' preferences are not considered: there is no database"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "routes.toml"
    file.write_text(CONFIG)
    monkeypatch.setenv("ALERTCTL_CONFIG", str(file))
    return file


def test_the_list_shows_each_condition_target_and_option(no_database):
    ran = run("routes")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "#  NAME        MATCH                            TO",
        "1  payments    event_type: safety_rollback,     slack:#pay-oncall",
        "               rollout_advance",
        "               environment: production          email:pay-oncall@corp.example",
        "               labels.team: payments            mention S0123ABC",
        "                                                ana@corp.example",
        "                                                style compact",
        "                                                continue",
        "2  growth      labels.team: growth              slack:#growth",
        "                                                default",
        "3  staging     environment: staging             nobody",
        "   (no route)                                   slack:#platform-alerts",
        "                                                email:ops@corp.example",
    ]


def test_the_list_as_json_has_the_routes_in_their_order(no_database):
    listed = data("routes")
    assert [(item["order"], item["name"], item["continues"]) for item in listed["items"]] == [
        (1, "payments", True),
        (2, "growth", False),
        (3, "staging", False),
    ]
    assert listed["default"] == ["slack:#platform-alerts", "email:ops@corp.example"]


def test_without_routes_the_list_has_the_default_targets(config: Path, no_database):
    config.write_text("[slack]\nenabled = true\n")
    assert run("routes").stdout.splitlines() == ["NAME        TO", "(no route)  slack:#platform-alerts"]
    assert "no routes are configured\n" in run(*ROLLBACK).stdout


def test_a_route_with_a_mistake_is_marked(config: Path, no_database):
    config.write_text(CONFIG.replace('match = { environment = "staging" }', 'match = { enviroment = "staging" }'))
    assert "staging     a mistake: see alertctl config" in run("routes").stdout


def test_a_test_shows_the_verdict_of_every_route_and_the_targets(no_database, tmp_path: Path):
    ran = run(*ROLLBACK, "--set", "environment=production", "--label", "team=growth", "--label", "email=a@corp.example")
    assert (ran.exit_code, ran.stderr) == (0, f"{NO_DATABASE} {tmp_path}/alertctl.db\n")
    assert ran.stdout.splitlines() == [
        "safety_rollback, severity critical",
        "",
        "ROUTE     VERDICT      WHY",
        "payments  not matched  labels.team is growth, not payments",
        "growth    matched",
        "staging   not reached  growth matched and does not continue",
        "",
        "TARGET                  OUTCOME  CHOSEN BY",
        "slack:#growth           deliver  route growth",
        "slack:#platform-alerts  deliver  route growth",
        "email:ops@corp.example  deliver  route growth",
        "email:a@corp.example    deliver  label email",
    ]
    assert not (tmp_path / "alertctl.db").exists()


def test_a_suppressed_target_has_its_cause(no_database):
    ran = run("routes", "test", "--event", "rollout_advance", "--set", "environment=staging")
    assert ran.stdout.splitlines()[-1] == "slack:#platform-alerts  suppress  route staging  route staging"


@pytest.mark.parametrize(
    ("expected", "code", "problems"),
    [
        (["slack:#GROWTH", "slack:platform-alerts", "email:Ops@corp.example"], 0, []),
        (
            ["slack:#growth", "slack:#other"],
            10,
            [
                "missing: slack:#other (nothing chooses it)",
                "unexpected: slack:#platform-alerts (chosen by route growth)",
                "unexpected: email:ops@corp.example (chosen by route growth)",
            ],
        ),
        (
            ["none"],
            10,
            [
                f"unexpected: {target} (chosen by route growth)"
                for target in ("slack:#growth", "slack:#platform-alerts", "email:ops@corp.example")
            ],
        ),
    ],
)
def test_other_targets_than_expected_end_with_10(no_database, expected, code, problems):
    ran = run(*ROLLBACK, "--label", "team=growth", *(part for target in expected for part in ("--expect", target)))
    assert (ran.exit_code, ran.stderr.splitlines()[1:]) == (code, [f"alertctl: {problem}" for problem in problems])


def test_a_suppressed_target_is_not_what_was_expected(no_database, monkeypatch):
    monkeypatch.setenv("SLACK_ENABLED", "false")
    ran = run(*ROLLBACK, "--expect", "slack:#platform-alerts", "--expect", "email:ops@corp.example")
    assert ran.exit_code == 10
    assert ran.stderr.splitlines()[-1] == "alertctl: missing: slack:#platform-alerts (suppressed: slack_disabled)"
    nobody = ("routes", "test", "--event", "rollout_advance", "--set", "environment=staging", "--expect", "none")
    assert run(*nobody).exit_code == 0


def test_json_has_the_differences_too(no_database):
    ran = run(*ROLLBACK, "--expect", "slack:#x", "-o", "json")
    assert ran.exit_code == 10
    result = data(*ROLLBACK, "--expect", "slack:#platform-alerts", "--expect", "email:ops@corp.example")
    assert (result["missing"], result["unexpected"], result["severity"]) == ([], [], "critical")
    assert [item["verdict"] for item in result["routes"]] == ["not matched"] * 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--event", "safety_rolback"], "did you mean safety_rollback?"),
        ([], "--event: is missing"),
        (["--event", "safety_rollback", "--expect", "nowhere"], "--expect: 'nowhere' is not a target"),
        (
            ["--event", "safety_rollback", "--expect", "none", "--expect", "slack:#a"],
            "--expect: none means no target; leave it out, or the other targets",
        ),
        (["--event", "safety_rollback", "--label", "a b=c"], "labels: 'a b' is not a label name"),
        (["--event", "generic_alert", "--severity", "loud"], "severity: "),
    ],
)
def test_a_mistake_in_the_test_is_named_in_one_line(no_database, arguments, problem):
    ran = run("routes", "test", *arguments)
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert problem in ran.stderr


def test_preferences_count_where_a_database_is(log_on: str):
    for user in ("ana@corp.example", "bob@corp.example"):
        assert run("user", "add", user).exit_code == 0
    assert run("prefs", "set", "slack_channel=#ana", "--user", "ana@corp.example").exit_code == 0
    everybody = data(*ROLLBACK)
    assert [(item["to"], item["user"]) for item in everybody["targets"][2:]] == [
        ("#ana", "ana@corp.example"),
        ("ana@corp.example", "ana@corp.example"),
        ("bob@corp.example", "bob@corp.example"),
    ]
    ran = run("routes", "test", "--event", "rollout_advance", "--user", "bob@corp.example")
    assert ran.stderr == ""
    assert ran.stdout.splitlines()[7:11] == [
        "PREFERENCE  NOTIFIES  ADDRESS OR REASON",
        "slack       no        notify_on_rollout_advance is off",
        "email       no        rollout_advance goes to slack only",
        "",
    ]


def test_a_user_needs_a_database(no_database, tmp_path: Path):
    ran = run(*ROLLBACK, "--user", "ana@corp.example")
    assert (ran.exit_code, ran.stdout) == (5, "")
    assert ran.stderr == (
        f"alertctl: the preferences of ana@corp.example can't be read: there is no database {tmp_path}/alertctl.db; "
        "leave out --user\n"
    )


def test_a_database_that_is_down_is_a_note(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    ran = run(*ROLLBACK, "--expect", "slack:#platform-alerts", "--expect", "email:ops@corp.example")
    assert ran.exit_code == 0
    assert ran.stderr.startswith("alertctl: users' preferences are not considered: database ")


def test_with_a_server_its_routes_are_listed_and_tested(
    config: Path, sqlite_url: str, sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    settings = settings_on(sqlite_url, {})
    token, developer = (
        token_for(sqlite_url, user, role) for user, role in ((ADMIN, "admin"), ("d@corp.example", "developer"))
    )
    local = data("routes"), data(*ROLLBACK, "--label", "team=growth")
    with serving(settings) as address:
        config.write_text("")
        monkeypatch.setenv("DATABASE_URL", "sqlite:////nonexistent/alertctl.db")
        monkeypatch.setenv("ALERTCTL_SERVER", address)
        monkeypatch.setenv("ALERTCTL_TOKEN", token)
        assert (data("routes"), data(*ROLLBACK, "--label", "team=growth")) == local
        ran = run(*ROLLBACK, "--label", "team=growth", "--expect", "slack:#growth")
        assert ran.exit_code == 10
        assert "unexpected: slack:#platform-alerts (chosen by route growth)" in ran.stderr
        monkeypatch.setenv("ALERTCTL_TOKEN", developer)
        own = run(*ROLLBACK, "--user", "d@corp.example")
        assert "email       yes       d@corp.example\n" in own.stdout
        others = run(*ROLLBACK, "--user", ADMIN)
        assert (others.exit_code, "only admins see the preferences of others" in others.stderr) == (4, True)
        assert "only admins see those of others" in run(*ROLLBACK).stderr


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("command", [("routes",), (*ROLLBACK, "--label", "team=growth")])
def test_the_output_fits_a_narrow_terminal(no_database, monkeypatch: pytest.MonkeyPatch, command, width: int):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, run(*command).stdout.splitlines())) <= width


def test_log_show_names_the_route_and_the_options(slack_and_email):
    ran = run("send", "--event", "safety_rollback", "--set", "environment=production", "--label", "team=payments")
    assert ran.exit_code == 0, ran.stderr
    (delivery,) = data("log", "--to", "#pay-oncall")["items"]
    shown = run("log", "show", delivery["id"]).stdout
    assert "why       route payments sends it here\n" in shown
    assert "message   style compact, mention S0123ABC ana@corp.example\n" in shown
    assert "  labels team=payments\n" in shown
    detail = data("log", "show", delivery["id"])
    assert (detail["route"], detail["labels"]) == ("payments", {"team": "payments"})
    assert detail["options"] == {"style": "compact", "mention": ["S0123ABC", "ana@corp.example"]}


def test_the_commands_start_without_writing_anything(no_database, tmp_path: Path):
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert process(*ROLLBACK, "--expect", "slack:#platform-alerts").returncode == 10
    assert process("routes").returncode == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
