"""SMTP AUTH: a mechanism that the server accepts, few tries, and a password only where it belongs."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from alertctl.channels import build
from alertctl.channels.base import Channel, OutgoingMessage, Receipt, SendResult
from alertctl.channels.email.smtp_auth import SmtpLogin
from alertctl.config import load
from alertctl.errors import DeliveryError, Reason
from alertctl.sandbox import Sandbox
from tests.support.providers import ALERT, PASSWORD, smtp_channel, smtp_channel_to
from tests.support.raw_server import raw_server


@pytest.fixture(autouse=True)
def server(sandbox: Sandbox) -> Iterator[Any]:
    """The sandbox's mail server with a login; its other mechanisms come back after the test."""
    sandbox.smtp.credentials = ("mailer", PASSWORD)
    yield sandbox.smtp
    for name in ("mechanisms", "offered", "ignores_initial_response", "oauth_token", "auth_error"):
        vars(sandbox.smtp).pop(name, None)


def send(channel: Channel) -> SendResult:
    return channel.send(ALERT, [OutgoingMessage("d", "dev@corp.example")])[0]


def refusal_code(result: SendResult) -> str:
    assert isinstance(result, DeliveryError), result
    return result.code


@pytest.mark.parametrize("status", [502, 504])
def test_a_mechanism_that_is_offered_but_not_implemented_is_followed_by_the_next(
    sandbox: Sandbox, server: Any, status: int
) -> None:
    server.faults.then(f"auth_{status}")
    with closing(smtp_channel(sandbox)) as channel:
        assert isinstance(send(channel), Receipt)
    assert server.logins == ["PLAIN", "LOGIN"]


def test_the_mechanism_that_worked_is_used_first_on_the_next_connection(sandbox: Sandbox, server: Any) -> None:
    server.mechanisms = ("LOGIN",)
    with closing(smtp_channel(sandbox, pool=0)) as channel:
        assert isinstance(send(channel), Receipt)
        assert isinstance(send(channel), Receipt)
    assert server.logins == ["PLAIN", "LOGIN", "LOGIN"]


def test_a_refused_password_is_tried_with_one_other_mechanism_once_and_never_again(
    sandbox: Sandbox, server: Any
) -> None:
    with closing(smtp_channel(sandbox, password="wrong")) as channel:
        assert [refusal_code(send(channel)) for _ in range(3)] == ["535"] * 3
    assert server.logins == ["PLAIN", "LOGIN", "PLAIN", "PLAIN"]


def test_a_login_that_one_mechanism_refuses_and_the_other_accepts_works(sandbox: Sandbox, server: Any) -> None:
    server.faults.then("auth_535")
    with closing(smtp_channel(sandbox)) as channel:
        assert isinstance(send(channel), Receipt)
    assert server.logins == ["PLAIN", "LOGIN"]


def test_a_password_that_worked_before_is_refused_after_one_try(sandbox: Sandbox, server: Any) -> None:
    with closing(smtp_channel(sandbox, pool=0)) as channel:
        assert isinstance(send(channel), Receipt)
        server.credentials = ("mailer", "rotated")
        assert refusal_code(send(channel)) == "535"
    assert server.logins == ["PLAIN", "PLAIN"]


@pytest.mark.parametrize("prompts", [["Username:", "Password:"], ["Username:", "Username:", "Password:"], ["", ""]])
def test_the_password_never_answers_a_prompt_for_the_user_name(prompts: list[str]) -> None:
    answers: list[tuple[str, str]] = []

    def converse(connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        connection.sendall(b"220 hi\r\n")
        reader.readline()
        connection.sendall(b"250-hello\r\n250 AUTH LOGIN\r\n")
        assert reader.readline() == b"AUTH LOGIN\r\n"
        for prompt in prompts:
            connection.sendall(b"334 " + base64.b64encode(prompt.encode()) + b"\r\n")
            answers.append((prompt, base64.b64decode(reader.readline()).decode()))
        connection.sendall(b"454 4.7.0 later\r\n")
        reader.close()

    with raw_server(converse) as raw, closing(smtp_channel_to("127.0.0.1", raw.port, "u", PASSWORD)) as channel:
        assert refusal_code(send(channel)) == "454"
    assert [answer for prompt, answer in answers if prompt == "Username:"] == ["u"] * prompts.count("Username:")
    assert answers[-1][1] == PASSWORD


def test_a_server_that_asks_for_the_user_name_again_gets_it_again(sandbox: Sandbox, server: Any) -> None:
    server.offered, server.ignores_initial_response = ("LOGIN",), True
    with closing(smtp_channel(sandbox)) as channel:
        assert isinstance(send(channel), Receipt)


def test_a_server_that_ignores_the_initial_response_gets_it_when_it_asks(sandbox: Sandbox, server: Any) -> None:
    server.ignores_initial_response, server.oauth_token = True, "ya29.token"
    server.offered = ("PLAIN", "XOAUTH2")
    for login in (SmtpLogin("mailer", PASSWORD), SmtpLogin("mailer", token="ya29.token")):
        with closing(smtp_channel(sandbox, login=login)) as channel:
            assert isinstance(send(channel), Receipt)
    assert server.logins == ["PLAIN", "XOAUTH2"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_login_whose_prompts_do_not_end_is_cancelled_and_a_mistake_in_the_settings(mechanism: str) -> None:
    def converse(connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        connection.sendall(b"220 hi\r\n")
        reader.readline()
        connection.sendall(f"250-hello\r\n250 AUTH {mechanism}\r\n".encode())
        while line := reader.readline():
            connection.sendall(b"501 5.7.0 cancelled\r\n" if line == b"*\r\n" else b"334 \r\n")
        reader.close()

    with raw_server(converse) as raw, closing(smtp_channel_to("127.0.0.1", raw.port, "u", PASSWORD)) as channel:
        result = send(channel)
    assert isinstance(result, DeliveryError)
    assert (result.reason, result.code) == (Reason.CONFIG, "501")


def test_a_token_logs_in_by_xoauth2_and_a_refused_one_is_a_mistake_in_the_settings(
    sandbox: Sandbox, server: Any
) -> None:
    server.offered, server.oauth_token = ("PLAIN", "XOAUTH2"), "ya29.token"
    for token, code in (("ya29.token", ""), ("expired", "535")):
        login = SmtpLogin("mailer", token=token)
        with closing(smtp_channel(sandbox, login=login)) as channel:
            result = send(channel)
        assert isinstance(result, Receipt) if not code else refusal_code(result) == code
    assert server.logins == ["XOAUTH2", "XOAUTH2"]


def test_a_token_is_not_sent_to_a_server_that_takes_passwords_only(sandbox: Sandbox, server: Any) -> None:
    with closing(smtp_channel(sandbox, login=SmtpLogin("mailer", token="planted-token"))) as channel:
        assert refusal_code(send(channel)) == "auth_unavailable"
    assert server.logins == []


def test_a_name_and_a_token_never_appear_in_an_answer() -> None:
    login = SmtpLogin("mailer", token="planted-token")
    sent = base64.b64encode(b"user=mailer\1auth=Bearer planted-token\1\1").decode()
    assert login.redact(f"echo planted-token {sent}") == "echo *** ***"


@pytest.mark.parametrize(("security", "logins"), [("none", ["PLAIN"]), ("starttls", []), (None, [])])
def test_beyond_loopback_a_password_goes_in_clear_only_if_the_settings_say_so(
    sandbox: Sandbox, server: Any, security: Any, logins: list[str]
) -> None:
    """The resolver takes 127.1 for 127.0.0.1; alertctl does not take this name for loopback."""
    with closing(smtp_channel(sandbox, host="127.1", security=security)) as channel:
        result = send(channel)
    assert server.logins == logins
    assert isinstance(result, Receipt) if logins else refusal_code(result) == "starttls_unavailable"


def test_a_refusal_without_a_login_is_about_the_settings(sandbox: Sandbox) -> None:
    with closing(smtp_channel(sandbox, username="", password="")) as channel:
        result = send(channel)
    assert isinstance(result, DeliveryError)
    assert (result.reason, result.code) == (Reason.CONFIG, "530")


def test_a_refreshed_token_in_its_file_is_used_without_a_restart(sandbox: Sandbox, server: Any, tmp_path: Path) -> None:
    server.offered, server.oauth_token = ("XOAUTH2",), "second"
    file = tmp_path / "token"
    file.write_text("first\n")
    options = {"SMTP_PASSWORD": "", "SMTP_AUTH": "xoauth2", "SMTP_OAUTH_TOKEN_FILE": str(file)}
    channels = build(load({**sandbox.settings(), **options}, tmp_path))
    assert refusal_code(send(channels["email"])) == "535"
    file.write_text("second\n")
    assert isinstance(send(channels["email"]), Receipt)
    for channel in channels.values():
        channel.close()
