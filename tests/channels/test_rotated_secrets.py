"""A secret that changes in its file (NAME_FILE) is used without a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alertctl.channels import build
from alertctl.channels.base import OutgoingMessage, Receipt
from alertctl.config import load
from alertctl.daemon.secrets_job import SecretsJob
from alertctl.db import Writer
from alertctl.dispatcher import Dispatcher, DispatchOptions
from alertctl.errors import DeliveryError
from alertctl.sandbox import Sandbox
from tests.support.deliveries import announce, close_channels, statuses, wall_clock
from tests.support.providers import ALERT
from tests.support.waiting import wait_until

CASES = {
    "slack": ("slack", "SLACK_BOT_TOKEN", "xoxb-sandbox-rotated", "#alerts"),
    "sendgrid": ("email", "SENDGRID_API_KEY", "SG.sandbox.rotated", "dev@corp.example"),
    "smtp": ("email", "SMTP_PASSWORD", "rotated-password", "dev@corp.example"),
}


@pytest.fixture
def sandbox():
    """A sandbox of this test's own: it changes the credentials."""
    with Sandbox() as running:
        yield running


class Rotation:
    """The channel of one provider, whose secret is in `file`."""

    def __init__(self, sandbox, file: Path, provider: str, **more: str) -> None:
        self.sandbox, self.provider, self.file = sandbox, provider, file
        self.kind, name, self.new_secret, self.address = CASES[provider]
        sandbox.smtp.credentials = ("alertctl", "first-password")
        settings = sandbox.settings("sendgrid" if provider == "sendgrid" else "smtp") | more
        self.write(settings.pop(name))
        self.settings = load(settings | {f"{name}_FILE": str(file)}, cwd=Path("/nonexistent"))
        self.channels = build(self.settings)

    def write(self, secret: str) -> None:
        """Replace the file, as Kubernetes and Vault do."""
        new = self.file.with_name("new")
        new.write_text(f"{secret}\n")
        new.replace(self.file)

    def rotate_at_provider(self) -> None:
        self.sandbox.slack.token = self.sandbox.sendgrid.api_key = self.new_secret
        self.sandbox.smtp.credentials = ("alertctl", self.new_secret)
        # A kept SMTP session is logged in already.
        self.channels[self.kind].close()

    def send(self):
        (result,) = self.channels[self.kind].send(ALERT, [OutgoingMessage("delivery-1", self.address)])
        return result


@pytest.fixture(params=CASES)
def rotation(request, sandbox, tmp_path):
    made = Rotation(sandbox, tmp_path / "secret", request.param)
    yield made
    close_channels(made.channels.values())


def test_a_rotated_secret_is_used_for_the_next_message(rotation):
    assert isinstance(rotation.send(), Receipt)
    rotation.rotate_at_provider()
    rotation.write(rotation.new_secret)
    assert isinstance(rotation.send(), Receipt)


def test_a_secret_that_changes_during_a_call_is_used_after_the_refusal(sandbox, tmp_path):
    rotation = Rotation(sandbox, tmp_path / "secret", "slack")
    sandbox.slack.token = rotation.new_secret
    sandbox.slack.latency = 0.3
    with ThreadPoolExecutor() as threads:
        sent = threads.submit(rotation.send)
        wait_until(lambda: sandbox.slack.calls)
        rotation.write(rotation.new_secret)
        assert isinstance(sent.result(), Receipt)
    assert len(sandbox.slack.calls) == 2
    close_channels(rotation.channels.values())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_an_unusable_file_keeps_the_last_secret(rotation, content, caplog):
    assert isinstance(rotation.send(), Receipt)
    rotation.file.unlink()
    if content is not None:
        rotation.file.write_bytes(content)
    assert all(isinstance(rotation.send(), Receipt) for _ in range(2))
    assert caplog.text.count("the last secret stays in use") == 1


def test_an_open_breaker_probes_at_once_after_its_secret_was_replaced(store, sandbox, tmp_path):
    rotation = Rotation(sandbox, tmp_path / "secret", "slack", SLACK_PER_SECOND="0")
    writer = Writer(store)
    dispatcher = Dispatcher(writer, rotation.channels, DispatchOptions.of(rotation.settings), wall_clock)
    job = SecretsJob(rotation.channels, dispatcher)
    dispatcher.start()
    rotation.rotate_at_provider()
    announce(store, "slack:#a", "slack:#b", now=wall_clock())
    dispatcher.wake()
    wait_until(lambda: dispatcher.paused)
    rotation.write(rotation.new_secret)
    job()
    wait_until(lambda: statuses(store) == {"success": 2})
    dispatcher.stop(15)
    writer.close()
    close_channels(rotation.channels.values())


def test_a_person_is_found_with_the_new_token(sandbox, tmp_path):
    rotation = Rotation(sandbox, tmp_path / "token", "slack")
    find = rotation.channels["slack"].find_person
    first = find("ana@corp.example", 5.0)
    rotation.rotate_at_provider()
    rotation.write(rotation.new_secret)
    assert find("ana@corp.example", 5.0) == first
    close_channels(rotation.channels.values())


def test_a_person_is_not_looked_up_twice_with_the_same_refused_token(sandbox, tmp_path):
    rotation = Rotation(sandbox, tmp_path / "token", "slack")
    rotation.rotate_at_provider()
    with pytest.raises(DeliveryError, match="invalid_auth"):
        rotation.channels["slack"].find_person("ana@corp.example", 5.0)
    assert len(sandbox.slack.calls) == 1
    close_channels(rotation.channels.values())
