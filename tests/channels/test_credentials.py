"""Credentials: used if valid, named if not, and never shown."""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from alertctl.channels.base import OutgoingMessage, SendResult
from alertctl.channels.slack.channel import SlackChannel
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import HttpClient
from alertctl.sandbox import KINDS, Sandbox
from tests.support.providers import ALERT, PASSWORD, ProviderHarness, harnesses, smtp_channel_to
from tests.support.raw_server import RawServer, raw_server

TOKEN = "xoxb-planted-000000-notarealtoken"
KEY = "SG.planted0000.notarealkey"
SHORT = 0.15


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """Every line that any logger writes, third parties' included, at DEBUG."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = Keep(), logging.getLogger()
    known = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    before = {logger: logger.level for logger in [root, *known]}
    for logger in before:
        logger.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield lines
    root.removeHandler(handler)
    for logger, level in before.items():
        logger.setLevel(level)


def forms(secret: str) -> list[str]:
    return [secret, *(base64.b64encode(text.encode()).decode() for text in (secret, f"\0mailer\0{secret}"))]


def spoken(result: SendResult) -> str:
    """All that a verdict could show: its text, its traceback's text, its fields."""
    fields = [
        getattr(result, name, "") for name in ("code", "detail", "provider_id", "answer", "__cause__", "__context__")
    ]
    return " ".join(map(str, [result, repr(result), *fields]))


def fault_texts(provider: str) -> list[str]:
    """One example of every fault that the sandbox knows for this provider, but those that take long."""
    known = [kind.form for kind in KINDS if provider in kind.providers]
    named = {
        "NNN": "451",
        "VALUE": "5",
        "SECONDS": "5",
        "EPOCH": "1",
        "CODE": "invalid_auth",
        "BODY": "{}",
        "URL": "http://x/",
        "COUNT": "1",
    }
    texts = []
    for form in known:
        for placeholder, value in named.items():
            form = form.replace(placeholder, value)
        texts.append(form.replace("raw:BYTES", "raw:x"))
    return [text for text in texts if text != "huge_body"]


@pytest.mark.parametrize("provider", ["slack", "sendgrid", "smtp"])
def test_no_fault_makes_a_secret_appear_anywhere(
    harness: ProviderHarness, everything_logged: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    harness.sandbox.smtp.credentials = ("mailer", PASSWORD)
    secrets = forms(PASSWORD) + forms(harness.sandbox.slack.token) + forms(harness.sandbox.sendgrid.api_key)
    shown: list[str] = []
    for fault in fault_texts(harness.provider):
        harness.recorder.faults.always(fault)
        shown.append(spoken(harness.send(deadline=SHORT)))
    out, err = capfd.readouterr()
    everything = "\n".join([*shown, *everything_logged, out, err])
    assert len(shown) > 20
    assert [secret for secret in secrets if secret in everything] == []


@pytest.fixture
def echo() -> Iterator[RawServer]:
    """A server that repeats the whole request in its reply."""
    with raw_server() as server:

        def answer(connection: Any) -> None:
            from tests.support.raw_server import read_request

            request = read_request(connection)
            connection.sendall(
                b"HTTP/1.1 400 Bad Request\r\nX-Echo: yes\r\n\r\n" + request + b"\x00\x1b[31m" + b"x" * 9000
            )

        server.conversation = answer
        yield server


@pytest.mark.parametrize(("provider", "secret"), [("slack", TOKEN), ("sendgrid", KEY)])
def test_an_echo_of_a_secret_is_masked_and_cut(sandbox: Sandbox, echo: RawServer, provider: str, secret: str) -> None:
    result = harnesses(sandbox)[provider].send(token=secret, url=echo.url)
    assert isinstance(result, DeliveryError)
    assert secret not in spoken(result)
    assert "***" in result.detail
    assert len(result.detail.encode()) <= 2000
    assert not set(result.detail) & set("\x00\x1b")


def test_a_secret_in_the_providers_code_or_receipt_is_masked(sandbox: Sandbox) -> None:
    harness = harnesses(sandbox)["slack"]
    secret = harness.sandbox.slack.token
    sandbox.slack.faults.then(f'reply:{{"ok":false,"error":"{secret}"}}', f'reply:{{"ok":true,"ts":"{secret}"}}')
    assert secret not in spoken(harness.send())
    assert secret not in spoken(harness.send())


@pytest.mark.parametrize(
    ("provider", "secret", "code", "variable"),
    [
        ("slack", "", "not_authed", "SLACK_BOT_TOKEN is not set"),
        ("slack", "  \n", "not_authed", "SLACK_BOT_TOKEN is not set"),
        ("slack", "xoxb-a\nb", "malformed_credential", "SLACK_BOT_TOKEN"),
        ("slack", "xoxb-ä", "malformed_credential", "SLACK_BOT_TOKEN"),
        ("sendgrid", "", "unauthorized", "SENDGRID_API_KEY is not set"),
        ("sendgrid", "SG.a\r\nb", "malformed_credential", "SENDGRID_API_KEY"),
        ("sendgrid", "SG.a b", "malformed_credential", "SENDGRID_API_KEY"),
    ],
)
def test_an_unusable_secret_is_named_by_its_variable_and_no_call_is_made(
    sandbox: Sandbox, provider: str, secret: str, code: str, variable: str
) -> None:
    harness = harnesses(sandbox)[provider]
    result = harness.send(token=secret)
    assert isinstance(result, DeliveryError)
    assert (result.reason, result.code) == (Reason.CONFIG, code)
    assert variable in result.detail
    assert not secret.strip() or secret.strip() not in spoken(result)
    assert harness.recorder.calls == []


@pytest.mark.parametrize("provider", ["slack", "sendgrid"])
def test_a_line_end_after_a_secret_is_forgiven(harness: ProviderHarness) -> None:
    secret = harness.sandbox.slack.token if harness.provider == "slack" else harness.sandbox.sendgrid.api_key
    harness.send(token=f"{secret}\n")
    assert len(harness.recorder.messages) == 1


def test_a_channel_does_not_show_its_token() -> None:
    channel = SlackChannel(TOKEN, "http://127.0.0.1:1/api/", HttpClient(1.0))
    assert TOKEN not in repr(channel)
    assert isinstance(channel.send(ALERT, [OutgoingMessage("d", "#x")])[0], DeliveryError)
    channel.close()


@pytest.mark.parametrize("provider", ["slack", "sendgrid"])
def test_a_password_in_a_proxys_answer_is_masked(harness: ProviderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server() as proxy:
        proxy.reply = b"HTTP/1.1 407 no p@ss/word of bob\r\nContent-Length: 0\r\n\r\n"
        monkeypatch.setenv("HTTPS_PROXY", f"http://bob:p%40ss%2Fword@127.0.0.1:{proxy.port}")
        result = harness.send(url="https://provider.example/")
    assert isinstance(result, DeliveryError)
    assert result.code == "proxy_auth"
    assert "p@ss/word" not in spoken(result)


def test_a_password_is_known_again_in_an_answer_that_is_no_smtp() -> None:
    password = 'p"w\\d-\u00e9-long-enough'

    def repeat(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        connection.recv(1000)
        connection.sendall(b"250-hello\r\n250 AUTH PLAIN\r\n")
        connection.recv(1000)
        connection.sendall(b"x" * 190 + password.encode() + b"\r\n")

    with raw_server(repeat) as server:
        channel = smtp_channel_to("127.0.0.1", server.port, "mailer", password)
        result = channel.send(ALERT, [OutgoingMessage("d", "dev@corp.example")])[0]
    assert isinstance(result, DeliveryError)
    assert (result.code, result.detail) == ("bad_reply", f"BadReplyError: not an SMTP reply: {'x' * 190}***")
