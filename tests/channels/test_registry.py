"""The registry of channels, and the cost of importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from alertctl.channels import build
from alertctl.channels.base import OutgoingMessage
from alertctl.config.settings import Alertctl, Email, Sendgrid, Settings, Slack, Smtp
from alertctl.errors import DeliveryError, Reason
from tests.support.providers import ALERT

SLACK = Slack(enabled=True, bot_token=SecretStr("xoxb-x"))
EMAIL = Email(enabled=True, from_address="alerts@corp.example")


def test_only_channels_that_are_switched_on_are_built() -> None:
    assert build(Settings()) == {}
    assert list(build(Settings(slack=SLACK))) == ["slack"]
    assert list(build(Settings(slack=SLACK, email=EMAIL, smtp=Smtp(host="127.0.0.1")))) == ["slack", "email"]


@pytest.mark.parametrize(("key", "provider"), [("SG.x.y", "sendgrid"), ("", "smtp")])
def test_email_goes_by_sendgrid_when_there_is_a_key_and_by_smtp_otherwise(key: str, provider: str) -> None:
    settings = Settings(email=EMAIL, sendgrid=Sendgrid(api_key=SecretStr(key)), smtp=Smtp(host="127.0.0.1"))
    assert build(settings)["email"].provider == provider


def test_email_without_a_provider_names_the_missing_settings() -> None:
    channel = build(Settings(email=EMAIL))["email"]
    results = channel.send(ALERT, [OutgoingMessage("d0", "a@x.example"), OutgoingMessage("d1", "b@x.example")])
    assert len(results) == 2
    for result in results:
        assert isinstance(result, DeliveryError)
        assert (result.reason, result.code) == (Reason.CONFIG, "not_configured")
        assert "SENDGRID_API_KEY" in result.detail
        assert "SMTP_HOST" in result.detail


def test_slack_without_a_token_fails_each_delivery_and_makes_no_call() -> None:
    channel = build(Settings(slack=Slack(enabled=True)))["slack"]
    (result,) = channel.send(ALERT, [OutgoingMessage("d", "#x")])
    assert isinstance(result, DeliveryError)
    assert (result.reason, result.code) == (Reason.CONFIG, "not_authed")
    assert result.detail == "SLACK_BOT_TOKEN is not set"


def test_the_deadline_is_that_of_the_settings() -> None:
    settings = Settings(slack=SLACK, email=EMAIL, smtp=Smtp(host="127.0.0.1"), alertctl=Alertctl(deadline=3.5))
    assert {channel.deadline for channel in build(settings).values()} == {3.5}


@pytest.mark.parametrize("key", ["SG.x.y", ""])
def test_every_channel_renders_without_sending(key: str) -> None:
    settings = Settings(
        slack=SLACK, email=EMAIL, sendgrid=Sendgrid(api_key=SecretStr(key)), smtp=Smtp(host="127.0.0.1")
    )
    rendered = {
        name: channel.render(ALERT, OutgoingMessage("d", "x@y.example")) for name, channel in build(settings).items()
    }  # type: ignore[attr-defined]
    assert rendered["slack"]["blocks"]
    assert rendered["email"]["headers"]["Subject"] == "[Critical] Safety rollback: checkout-v3"
    assert rendered["email"]["text"]
    assert rendered["email"]["html"]


def test_knowing_the_channels_loads_none_of_their_libraries() -> None:
    heavy = "slack_sdk sendgrid jinja2 pycurl smtplib"
    code = f"import sys, alertctl.channels; print([name for name in '{heavy}'.split() if name in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
