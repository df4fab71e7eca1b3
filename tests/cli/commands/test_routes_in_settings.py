"""`[[routes]]` in alertctl.toml as commands use it: send, its preview, config check, and a route with a mistake."""

from __future__ import annotations

import json
import re

import pytest

from alertctl.sandbox import Sandbox
from tests.support.cli import data, run

SEND = ("send", "--event", "rollout_advance", "--set", "feature_flag=checkout-v3", "--set", "environment=production")
ROUTES = """
[[routes]]
name = "payments"
match = { feature_flag = "checkout-*", environment = "production" }
to = ["slack:#pay-oncall", "email:pay@corp.example"]
"""


@pytest.fixture
def routes(tmp_path, monkeypatch):
    """Return a function that writes routes into the file of ALERTCTL_CONFIG."""
    monkeypatch.setenv("ALERTCTL_CONFIG", str(tmp_path / "routes.toml"))

    def write(toml: str) -> None:
        (tmp_path / "routes.toml").write_text(toml)

    return write


def test_send_follows_a_route_and_the_preview_names_it(slack_and_email: Sandbox, routes):
    routes(ROUTES)
    preview = run(*SEND, "--dry-run").stdout
    assert "slack #pay-oncall (route payments)" in preview
    assert "email pay@corp.example (route payments)" in preview
    assert [item["route"] for item in data(*SEND, "--dry-run")["items"]] == ["payments", "payments"]
    sent = data(*SEND)["deliveries"]
    assert [(item["to"], item["status"]) for item in sent] == [
        ("#pay-oncall", "success"),
        ("pay@corp.example", "success"),
    ]


def test_a_route_with_a_mistake_is_a_warning_and_its_events_go_to_the_default_channel(slack_and_email, routes):
    routes(ROUTES.replace('"slack:#pay-oncall"', '"#pay oncall"'))
    ran = run(*SEND, "--strict", "-o", "json")
    assert ran.exit_code == 0, ran.stderr
    assert "routes.payments.to: " in ran.stderr
    assert "; the route adds the default targets instead" in ran.stderr
    assert [item["to"] for item in json.loads(ran.stdout)["deliveries"]] == ["#platform-alerts"]


def test_a_dry_run_warns_of_a_route_with_a_mistake(slack_and_email, routes):
    routes(ROUTES.replace('"slack:#pay-oncall"', '"#pay oncall"'))
    ran = run(*SEND, "--dry-run")
    assert ran.exit_code == 0
    warning = r"alertctl: warning: routes\.payments\.to: .*; the route adds the default targets instead"
    assert any(re.fullmatch(warning, line) for line in ran.stderr.splitlines())


@pytest.mark.parametrize("toml", ["routes = 1", "[routes]\nname = 'x'", "[[routes]]\nname = 1\nto = 2\nmatch = 3"])
def test_unreadable_routes_refuse_no_event(slack_and_email, routes, toml):
    routes(toml)
    ran = run(*SEND, "--strict", "-o", "json")
    assert ran.exit_code == 0, ran.stderr
    assert [item["to"] for item in json.loads(ran.stdout)["deliveries"]] == ["#platform-alerts"]


@pytest.mark.parametrize(("name", "value"), [("SLACK_STYLE", "tiny"), ("SLACK_MENTION", "@here")])
def test_a_wrong_form_of_messages_is_a_warning_and_delays_nothing(slack_and_email, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    ran = run(*SEND, "--strict")
    assert ran.exit_code == 0, ran.stderr
    assert f"alertctl: warning: {name}: " in ran.stderr
    assert len(slack_and_email.slack.messages) == 1


def test_config_check_warns_of_more_people_than_a_message_mentions(slack_and_email, routes, monkeypatch):
    names = [f"a{number}@corp.example" for number in range(51)]
    problem = "names 51 people and groups, but a message mentions only the first 50; name a user group"
    routes(f"{ROUTES}mention = {names}\n")
    monkeypatch.setenv("SLACK_MENTION", ",".join(names))
    expected = {f"{name}: {problem}" for name in ("routes.payments", "SLACK_MENTION")}
    checked = json.loads(run("config", "check", "-o", "json").stdout)["items"]
    assert expected <= {f"{item['name']}: {item['message']}" for item in checked if item["severity"] == "warning"}


def test_the_form_of_messages_is_that_of_the_settings(settings_in):
    environ = {"SLACK_STYLE": "Compact", "SLACK_MENTION": "S0123ABC, ana@corp.example", "SLACK_MENTION_FROM": "error"}
    slack = settings_in(environ).slack
    assert (slack.style, slack.mention, slack.mention_from) == ("compact", ("S0123ABC", "ana@corp.example"), "error")


def test_config_check_names_routes_with_mistakes_and_ends_with_2(slack_and_email, routes):
    routes(ROUTES.replace("feature_flag", "flag").replace("to =", 'style = "tiny"\nto ='))
    ran = run("config", "check", "-o", "json")
    problems = [item for item in json.loads(ran.stdout)["items"] if item["name"].startswith("routes")]
    assert ran.exit_code == 2
    assert [(item["name"], item["severity"]) for item in problems] == [
        ("routes.payments.match.flag", "error"),
        ("routes.payments.style", "error"),
    ]


def test_config_check_warns_of_routes_that_match_nothing_or_take_critical_alerts_away(slack_and_email, routes):
    routes(
        ROUTES
        + '[[routes]]\nname = "low"\nmatch.environment = "production"\nto = ["#low"]\n'
        + ROUTES.replace("payments", "again")
    )
    ran = run("config", "check", "-o", "json")
    problems = [item for item in json.loads(ran.stdout)["items"] if item["name"].startswith("routes")]
    assert ran.exit_code == 0, ran.stdout
    assert {item["severity"] for item in problems} == {"warning"}
    assert "routes.again" in {item["name"] for item in problems}
