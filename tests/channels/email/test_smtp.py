"""SMTP: never in clear, never twice, one recipient at a time, on connections that are kept."""

from __future__ import annotations

import base64
import inspect
import smtplib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from alertctl.channels.base import OutgoingMessage, Receipt, SendResult
from alertctl.channels.email.smtp_errors import CODES, smtp_error
from alertctl.channels.email.smtp_session import SmtpServer
from alertctl.errors import DeliveryError, Reason
from alertctl.sandbox import Sandbox
from tests.support.providers import ALERT, PASSWORD, SENDER, smtp_channel, smtp_channel_to
from tests.support.raw_server import raw_server


def send(sandbox: Sandbox, *, address: str = "dev@corp.example", deadline: float = 5.0, **options: Any) -> SendResult:
    channel = smtp_channel(sandbox, deadline, **options)
    try:
        return channel.send(ALERT, [OutgoingMessage("delivery-1", address)])[0]
    finally:
        channel.close()


def assert_failed(result: SendResult, reason: Reason, code: str) -> None:
    assert isinstance(result, DeliveryError), result
    assert (result.reason, result.code) == (reason, code), result


def test_a_message_arrives_as_it_was_built(sandbox: Sandbox) -> None:
    result = send(sandbox)
    assert result == Receipt("<delivery-1@corp.example>", "250 2.0.0 Message accepted")
    (message,) = sandbox.smtp.messages
    assert (message.mail_from, message.rcpt_tos) == (SENDER, ["dev@corp.example"])
    assert message.parsed["Message-ID"] == "<delivery-1@corp.example>"


def test_lines_that_begin_with_a_dot_arrive_unchanged(sandbox: Sandbox) -> None:
    channel = smtp_channel(sandbox)
    dotted = type(ALERT)("t", "e", ".", ".\n..\n.x\n.", ALERT.severity, (), ALERT.occurred_at)
    channel.send(dotted, [OutgoingMessage("d", "dev@corp.example", plain=True)])
    channel.close()
    assert ".\n..\n.x\n.\n" in sandbox.smtp.messages[0].parsed.get_content()


def test_starttls_is_used_and_the_certificate_checked(tls_sandbox: Sandbox) -> None:
    before = len(tls_sandbox.smtp.calls)
    assert isinstance(send(tls_sandbox), Receipt)
    assert tls_sandbox.smtp.calls[before].encrypted
    assert_failed(send(tls_sandbox, ca_bundle=None), Reason.CONFIG, "tls_untrusted")
    assert_failed(send(tls_sandbox, ca_bundle="/no/such"), Reason.CONFIG, "bad_ca_bundle")


@pytest.mark.parametrize(("flavour", "code"), [("expired", "tls_expired"), ("wrong_host", "tls_wrong_host")])
@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_a_bad_certificate_is_named_and_nothing_is_sent(flavour: Any, mode: Any, code: str) -> None:
    with Sandbox(tls=flavour, smtp_tls=mode) as sandbox:
        security = "tls" if mode == "implicit" else None
        assert_failed(send(sandbox, security=security), Reason.CONFIG, code)
        assert sandbox.smtp.calls == []


def test_implicit_tls_works() -> None:
    with Sandbox(smtp_tls="implicit") as sandbox:
        assert isinstance(send(sandbox, security="tls"), Receipt)
        assert sandbox.smtp.calls[0].encrypted


def test_a_tls_client_on_a_plain_port_fails_clearly(sandbox: Sandbox) -> None:
    assert_failed(send(sandbox, security="tls", deadline=2.0), Reason.CONFIG, "tls_not_spoken")


def test_a_plain_client_on_a_tls_port_is_never_a_success() -> None:
    with Sandbox(smtp_tls="implicit") as sandbox:
        result = send(sandbox, security="none", deadline=0.5)
        assert isinstance(result, DeliveryError)
        assert result.reason is Reason.UNAVAILABLE


def test_without_an_offer_of_starttls_nothing_is_sent_unless_it_is_switched_off_or_loopback(sandbox: Sandbox) -> None:
    assert_failed(send(sandbox, security="starttls"), Reason.CONFIG, "starttls_unavailable")
    assert sandbox.smtp.calls == []
    assert isinstance(send(sandbox, security=None), Receipt)
    assert isinstance(send(sandbox, security="none"), Receipt)


@pytest.mark.parametrize(
    ("hosts", "loopback"),
    [
        ("127.0.0.1 127.9.9.9 ::1 [::1] localhost LOCALHOST.", True),
        ("10.0.0.1 localhost.evil.example mail.corp.example 127.0.0.1.evil.example", False),
    ],
)
def test_loopback_is_distinguished_from_everything_else(hosts: str, loopback: bool) -> None:
    assert [host for host in hosts.split() if SmtpServer(host, 25).is_loopback is not loopback] == []


@pytest.mark.parametrize(
    ("port", "security", "implicit"), [(465, None, True), (587, None, False), (465, "none", False)]
)
def test_port_465_means_tls_from_the_start(port: int, security: Any, implicit: bool) -> None:
    assert SmtpServer("mail.corp.example", port, security=security).implicit_tls is implicit


def test_starttls_454_is_tried_again_later(tls_sandbox: Sandbox) -> None:
    tls_sandbox.smtp.faults.then("starttls_454")
    assert_failed(send(tls_sandbox), Reason.UNAVAILABLE, "454")


def test_a_password_logs_in_also_with_letters_beyond_ascii(sandbox: Sandbox) -> None:
    sandbox.smtp.credentials = ("mailer", "pässwörd")
    assert isinstance(send(sandbox), Receipt)
    assert_failed(send(sandbox, password="wrong"), Reason.CONFIG, "535")


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        (b"250 AUTH GSSAPI\r\n", "auth_unavailable"),
        (b"250 SIZE 1000\r\n", "auth_unavailable"),
    ],
)
def test_a_server_that_offers_no_supported_login_is_a_mistake_in_the_settings(offer: bytes, code: str) -> None:
    with raw_server(_script(b"220 hi\r\n", b"250-hello\r\n" + offer)) as server:
        channel_options = {"host": "127.0.0.1", "port": server.port, "username": "u", "password": PASSWORD}
        assert_failed(_send_to(channel_options), Reason.CONFIG, code)


@pytest.mark.parametrize("method", ["LOGIN", "CRAM-MD5"])
def test_the_older_ways_to_log_in_work(method: str) -> None:
    challenge = b"334 " + base64.b64encode(b"<1.2@x>") + b"\r\n"
    replies = [b"220 hi\r\n", f"250-hello\r\n250 AUTH {method}\r\n".encode(), challenge, b"235 in\r\n", b"550 no\r\n"]
    with raw_server(_script(*replies)) as server:
        channel_options = {"host": "127.0.0.1", "port": server.port, "username": "u", "password": PASSWORD}
        assert_failed(_send_to(channel_options), Reason.CONFIG, "550")


def test_a_kept_connection_that_the_server_closed_is_replaced_without_spending_the_attempt(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.always("close_idle")
    before, channel = sandbox.smtp.connections, smtp_channel(sandbox)
    for count in range(4):
        assert isinstance(channel.send(ALERT, [OutgoingMessage(f"d{count}", "dev@corp.example")])[0], Receipt)
        time.sleep(0.05)
    channel.close()
    assert len(sandbox.smtp.messages) == 4
    assert sandbox.smtp.connections - before > 1


def test_a_connection_that_dies_only_when_it_is_used_again_is_replaced_too() -> None:
    """No goodbye while it was idle: the server is gone when MAIL FROM arrives."""
    first = [b"220 hi\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 taken\r\n"]
    with raw_server(_script(*first)) as server:
        channel = smtp_channel_to("127.0.0.1", server.port)
        results = [channel.send(ALERT, [OutgoingMessage(f"d{n}", "dev@corp.example")])[0] for n in range(3)]
        channel.close()
    assert all(isinstance(result, Receipt) for result in results), results


def test_a_connection_that_has_carried_enough_for_its_server_is_replaced_too() -> None:
    """OpenSMTPD answers 452 to every MAIL FROM after the hundredth on one connection, and leaves it open."""
    first = [b"220 hi\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 taken\r\n"]
    with raw_server(_script(*first, b"452 4.5.3 Too many messages sent\r\n", close=False)) as server:
        channel = smtp_channel_to("127.0.0.1", server.port)
        results = [channel.send(ALERT, [OutgoingMessage(f"d{n}", "dev@corp.example")])[0] for n in range(3)]
        channel.close()
    assert all(isinstance(result, Receipt) for result in results), results


def test_a_refused_recipient_leaves_the_connection_to_the_next(sandbox: Sandbox) -> None:
    before, channel = sandbox.smtp.connections, smtp_channel(sandbox)
    messages = [
        OutgoingMessage(str(n), f"{name}@corp.example") for n, name in enumerate(["missing", "dev", "missing", "ops"])
    ]
    results = channel.send(ALERT, messages)
    channel.close()
    assert [isinstance(result, Receipt) for result in results] == [False, True, False, True]
    assert sandbox.smtp.connections == before + 1
    assert [message.rcpt_tos for message in sandbox.smtp.messages] == [["dev@corp.example"], ["ops@corp.example"]]


def test_many_threads_each_have_their_own_session(sandbox: Sandbox) -> None:
    before, channel = sandbox.smtp.connections, smtp_channel(sandbox)
    with ThreadPoolExecutor(8) as pool:
        messages = [OutgoingMessage(f"d{n}", f"u{n}@corp.example") for n in range(80)]
        results = list(pool.map(lambda outgoing: channel.send(ALERT, [outgoing])[0], messages))
    channel.close()
    assert all(isinstance(result, Receipt) for result in results)
    assert sorted(message.rcpt_tos[0] for message in sandbox.smtp.messages) == sorted(p.address for p in messages)
    assert sandbox.smtp.connections - before <= 8


@pytest.mark.parametrize("address", ["a@x.example, b@y.example", "a@x.example\r\nRCPT TO:<b@y.example>", "", "nobody"])
def test_an_address_that_is_not_exactly_one_never_reaches_the_server(sandbox: Sandbox, address: str) -> None:
    assert_failed(send(sandbox, address=address), Reason.BAD_ADDRESS, "invalid_address")
    assert sandbox.smtp.calls == []


def test_an_international_address_needs_a_server_that_takes_it(sandbox: Sandbox) -> None:
    assert isinstance(send(sandbox, address="jürgen@büro.example"), Receipt)
    assert sandbox.smtp.messages[0].rcpt_tos == ["jürgen@xn--bro-hoa.example"]
    with raw_server(_script(b"220 hi\r\n", b"250 hello\r\n")) as server:
        result = _send_to({"host": "127.0.0.1", "port": server.port}, address="jürgen@x.example")
    assert_failed(result, Reason.BAD_ADDRESS, "smtputf8_unsupported")


def test_plain_text_received_before_starttls_is_discarded(tls_sandbox: Sandbox) -> None:
    """A man in the middle may add replies to the 220 of STARTTLS; they must not be read as answers under TLS."""
    injected = b"220 go ahead\r\n250 injected\r\n250 injected\r\n250 injected\r\n354 injected\r\n250 injected\r\n"
    with raw_server(_script(b"220 hi\r\n", b"250 STARTTLS\r\n", injected)) as server:
        result = _send_to({"host": "127.0.0.1", "port": server.port}, deadline=0.5)
    assert isinstance(result, DeliveryError)


@pytest.mark.parametrize(
    "reply", [b"250", b"250 cut", b"250-more\r\n", b"2_0 ok\r\n", b"550-no\r\n250 yes\r\n", b"\xff\r\n"]
)
def test_a_broken_answer_to_the_message_is_ambiguous(reply: bytes) -> None:
    replies = [b"220 hi\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", reply]
    with raw_server(_script(*replies, close=True)) as server:
        result = _send_to({"host": "127.0.0.1", "port": server.port})
    assert isinstance(result, DeliveryError)
    assert result.reason is Reason.AMBIGUOUS


def test_an_endless_reply_is_cut_off() -> None:
    def endless(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"220-still talking\r\n" * 1000)

    with raw_server(endless) as server:
        result = _send_to({"host": "127.0.0.1", "port": server.port})
    assert_failed(result, Reason.UNAVAILABLE, "endless_reply")


@pytest.mark.parametrize(
    ("host", "reason", "codes"),
    [
        ("127.0.0.1", Reason.UNAVAILABLE, {"connection_refused"}),
        ("no.invalid", Reason.LOCAL, {"dns_failure", "dns_timeout"}),
    ],
)
def test_a_server_that_cannot_be_reached_is_unavailable_and_a_failing_dns_is_our_own(
    host: str, reason: Reason, codes: set[str]
) -> None:
    result = _send_to({"host": host, "port": 1})
    assert isinstance(result, DeliveryError)
    assert result.reason is reason
    assert result.code in codes


def test_every_exception_class_of_smtplib_is_in_the_table() -> None:
    classes = [kind for _, kind in inspect.getmembers(smtplib, inspect.isclass) if issubclass(kind, BaseException)]
    ours = [kind for kind in classes if kind.__module__ == "smtplib"]
    assert ours
    assert [kind.__name__ for kind in ours if kind not in CODES] == []


def test_an_smtplib_exception_with_a_code_shows_it() -> None:
    error = smtp_error(smtplib.SMTPDataError(451, "later"), sent=False)
    assert (error.reason, error.code) == (Reason.UNAVAILABLE, "451")
    assert smtp_error(smtplib.SMTPServerDisconnected("x"), sent=True).reason is Reason.AMBIGUOUS


def _send_to(options: dict[str, Any], *, address: str = "dev@corp.example", deadline: float = 5.0) -> SendResult:
    channel = smtp_channel_to(deadline=deadline, **options)
    try:
        return channel.send(ALERT, [OutgoingMessage("delivery-1", address)])[0]
    finally:
        channel.close()


def _script(greeting: bytes, *replies: bytes, close: bool = True) -> Any:
    """A conversation: each reply answers one line; the last but one is for DATA, the last for the message."""

    def converse(connection: socket.socket) -> None:
        connection.sendall(greeting)
        reader = connection.makefile("rb")
        for reply in replies:
            _read(reader, message=reply_before(replies, reply).startswith(b"354"))
            connection.sendall(reply)
        if close:
            connection.shutdown(socket.SHUT_WR)
        reader.read(1)
        reader.close()

    return converse


def reply_before(replies: tuple[bytes, ...], reply: bytes) -> bytes:
    position = next(number for number, other in enumerate(replies) if other is reply)
    return replies[position - 1] if position else b""


def _read(reader: Any, *, message: bool) -> None:
    while line := reader.readline():
        if not message or line == b".\r\n":
            return
