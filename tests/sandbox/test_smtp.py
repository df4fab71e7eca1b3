from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from collections.abc import Iterator

import pytest

from alertctl.sandbox import Sandbox
from tests.support.sandbox_clients import TIMEOUT, make_email, receive_all


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port, "client.localhost", TIMEOUT) as client:
        yield client


def test_a_mail_arrives_as_it_was_sent(sandbox: Sandbox, client: smtplib.SMTP) -> None:
    client.send_message(make_email(text="first\n.dot\n..two\n.\nlast\n"))

    (message,) = sandbox.smtp.messages
    assert (message.mail_from, message.rcpt_tos) == ("alerts@corp.example", ["dev@corp.example"])
    assert message.parsed["Subject"] == "Hello"
    assert message.parsed.get_content() == "first\n.dot\n..two\n.\nlast\n"


def test_a_connection_carries_many_mails(sandbox: Sandbox, client: smtplib.SMTP) -> None:
    for number in range(5):
        client.send_message(make_email(f"p{number}@corp.example"))

    assert [message.rcpt_tos for message in sandbox.smtp.messages] == [[f"p{n}@corp.example"] for n in range(5)]
    assert sandbox.smtp.connections == 1


def test_an_empty_mail_is_a_mail(sandbox: Sandbox, client: smtplib.SMTP) -> None:
    client.ehlo()
    client.mail("a@corp.example")
    client.rcpt("b@corp.example")
    assert client.docmd("DATA")[0] == 354
    client.send(b".\r\n")

    assert client.getreply()[0] == 250
    assert sandbox.smtp.messages[0].data == b""


def test_a_refused_recipient_costs_the_others_nothing(sandbox: Sandbox, client: smtplib.SMTP) -> None:
    people = ["a@corp.example", "missing@corp.example", "full@corp.example", "b@corp.example"]

    refused = client.sendmail("alerts@corp.example", people, b"Subject: x\r\n\r\ny\r\n")

    assert {address: status for address, (status, _) in refused.items()} == {people[1]: 550, people[2]: 452}
    assert sandbox.smtp.messages[0].rcpt_tos == ["a@corp.example", "b@corp.example"]


def test_a_flaky_recipient_is_refused_once(sandbox: Sandbox, client: smtplib.SMTP) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        client.send_message(make_email("flaky@corp.example"))
    client.send_message(make_email("flaky@corp.example"))

    assert caught.value.recipients["flaky@corp.example"][0] == 451
    assert [call.fault for call in sandbox.smtp.calls] == ["rcpt:451", ""]
    assert len(sandbox.smtp.messages) == 1


def test_the_extensions_are_named(client: smtplib.SMTP) -> None:
    client.ehlo()

    assert set(client.esmtp_features) == {"size", "8bitmime", "smtputf8"}


def test_an_address_beyond_ascii_needs_smtputf8(sandbox: Sandbox, client: smtplib.SMTP) -> None:
    client.ehlo()
    client.command_encoding = "utf-8"

    assert client.docmd("MAIL FROM:<größe@corp.example>")[0] == 553
    assert client.docmd("MAIL FROM:<größe@corp.example> SMTPUTF8 BODY=8BITMIME")[0] == 250
    assert sandbox.smtp.calls[0].mail_from == "größe@corp.example"


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        (["MAIL FROM:<a@b.example>"], 503),
        (["EHLO x", "RCPT TO:<a@b.example>"], 503),
        (["EHLO x", "DATA"], 503),
        (["EHLO x", "MAIL FROM:<a@b.example>", "DATA"], 503),
        (["EHLO x", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>"], 503),
        (["EHLO x", "MAIL a@b.example"], 501),
        (["EHLO x", "MAIL FROM:<>"], 250),
        (["EHLO x", "MAIL FROM:<a@b.example> SIZE=999999999"], 552),
        (["EHLO x", "MAIL FROM:<a@b.example> SHOUT"], 555),
        (["EHLO x", "MAIL FROM:<a@b.example>", "RCPT a@b.example"], 501),
        (["EHLO x", "MAIL FROM:<a@b.example>", "RSET", "RCPT TO:<a@b.example>"], 503),
        (["EHLO x", "MAIL FROM:<a@b.example>", "EHLO x", "RCPT TO:<a@b.example>"], 503),
        (["HELO x", "mail from:<a@b.example>"], 250),
        (["NOOP"], 250),
        (["VRFY someone"], 252),
        (["STARTTLS"], 502),
        (["AUTH PLAIN AAAA"], 503),
        (["WHATEVER"], 500),
        ([""], 500),
        (["QUIT"], 221),
    ],
)
def test_commands_out_of_sequence_are_refused(sandbox: Sandbox, commands: list[str], status: int) -> None:
    lines = "".join(f"{line}\r\n" for line in [*commands, "QUIT"]).encode()

    replies = [line for line in receive_all(sandbox.smtp_port, lines).decode().splitlines() if line[3:4] == " "]

    assert int(replies[len(commands)][:3]) == status


def test_a_line_without_end_is_not_read_for_ever(sandbox: Sandbox) -> None:
    with socket.create_connection((sandbox.smtp_host, sandbox.smtp_port), TIMEOUT) as sock:
        assert sock.recv(100).startswith(b"220 ")
        with pytest.raises(ConnectionError):
            sock.sendall(b"x" * 64 * 1024 * 1024)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_credentials_are_asked_for_once_they_are_set(sandbox: Sandbox, client: smtplib.SMTP, mechanism: str) -> None:
    sandbox.smtp.credentials = ("user", "pässword")
    client.ehlo()
    assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
    assert client.mail("a@corp.example")[0] == 530

    if mechanism == "PLAIN":
        status = client.docmd("AUTH PLAIN", encoded("\0user\0pässword"))[0]
    else:
        assert client.docmd("AUTH LOGIN")[0] == 334
        assert client.docmd(encoded("user"))[0] == 334
        status = client.docmd(encoded("pässword"))[0]

    assert status == 235
    client.send_message(make_email())
    assert len(sandbox.smtp.messages) == 1


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("auth_error", [None, "Account disabled"])
def test_bad_credentials_are_refused(sandbox: Sandbox, client: smtplib.SMTP, auth_error: str | None) -> None:
    sandbox.smtp.credentials = ("user", "right")
    sandbox.smtp.auth_error = auth_error

    with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        client.login("user", "wrong" if auth_error is None else "right")

    assert caught.value.smtp_code == 535


def test_starttls_encrypts_and_comes_before_auth() -> None:
    with Sandbox(tls=True) as sandbox:
        sandbox.smtp.credentials = ("user", "right")
        context = ssl.create_default_context(cafile=sandbox.ca_file)
        with smtplib.SMTP("localhost", sandbox.smtp_port, "client.localhost", TIMEOUT) as client:
            client.ehlo()
            assert "starttls" in client.esmtp_features
            assert "auth" not in client.esmtp_features
            assert client.docmd("AUTH", "PLAIN AAAA")[0] == 530
            client.starttls(context=context)
            client.login("user", "right")
            assert "starttls" not in client.esmtp_features
            client.send_message(make_email())
        assert sandbox.smtp.calls[0].encrypted


def test_commands_slipped_in_before_tls_are_dropped() -> None:
    with Sandbox(tls=True) as sandbox, socket.create_connection(("127.0.0.1", sandbox.smtp_port), TIMEOUT) as sock:
        sock.recv(1000)
        sock.sendall(b"EHLO x\r\n")
        sock.recv(1000)
        sock.sendall(b"STARTTLS\r\nEHLO y\r\nMAIL FROM:<evil@corp.example>\r\n")
        assert sock.recv(1000).startswith(b"220 ")
        context = ssl.create_default_context(cafile=sandbox.ca_file)
        with context.wrap_socket(sock, server_hostname="127.0.0.1") as encrypted:
            encrypted.sendall(b"NOOP\r\n")
            assert encrypted.recv(1000).startswith(b"250 ")
        assert sandbox.smtp.calls == []


def test_implicit_tls_is_encrypted_from_the_start() -> None:
    with Sandbox(smtp_tls="implicit") as sandbox:
        context = ssl.create_default_context(cafile=sandbox.ca_file)
        with smtplib.SMTP_SSL(
            "127.0.0.1", sandbox.smtp_port, "c.localhost", timeout=TIMEOUT, context=context
        ) as client:
            client.send_message(make_email())
            assert "starttls" not in client.esmtp_features
        assert sandbox.smtp.calls[0].encrypted
        assert sandbox.settings()["SMTP_SECURITY"] == "tls"
        assert sandbox.slack_api_url.startswith("http://")
