from __future__ import annotations

import smtplib
import socket
import time

import pytest

from alertctl.sandbox import KINDS, Sandbox
from tests.support.sandbox_clients import TIMEOUT, make_email

CONNECTION_ENDED = (smtplib.SMTPServerDisconnected, ConnectionError)


def client_of(sandbox: Sandbox, timeout: float = TIMEOUT) -> smtplib.SMTP:
    return smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port, "client.localhost", timeout)


def send(sandbox: Sandbox, to: str = "dev@corp.example", timeout: float = TIMEOUT) -> None:
    with client_of(sandbox, timeout) as client:
        client.send_message(make_email(to))


@pytest.mark.parametrize("status", [421, 554])
def test_a_greeting_can_be_a_refusal(sandbox: Sandbox, status: int) -> None:
    sandbox.smtp.faults.then(f"greeting_{status}")

    with pytest.raises(smtplib.SMTPConnectError) as caught:
        send(sandbox)

    assert caught.value.smtp_code == status
    send(sandbox)


def test_a_greeting_can_be_garbage(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("greeting_garbage")

    with pytest.raises((smtplib.SMTPConnectError, *CONNECTION_ENDED)):
        send(sandbox)


@pytest.mark.parametrize("fault", ["greeting_silence", "black_hole"])
def test_a_greeting_can_be_missing(sandbox: Sandbox, fault: str) -> None:
    sandbox.smtp.faults.then(fault)

    with pytest.raises((TimeoutError, *CONNECTION_ENDED)):
        send(sandbox, timeout=0.2)


def test_a_connection_can_be_closed_at_once(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("close_before_reading")

    with pytest.raises(CONNECTION_ENDED):
        send(sandbox)


def test_a_greeting_can_drip(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("drip")
    sandbox.smtp.drip_interval = 0
    send(sandbox)

    sandbox.smtp.faults.then("drip")
    sandbox.smtp.drip_interval = 60
    with socket.create_connection((sandbox.smtp_host, sandbox.smtp_port), TIMEOUT) as sock:
        assert sock.recv(100) == b"2"


def test_ehlo_and_helo_can_be_refused(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("ehlo_refused")

    with pytest.raises(smtplib.SMTPHeloError):
        send(sandbox)


def test_starttls_can_be_refused() -> None:
    with Sandbox(tls=True) as sandbox:
        sandbox.smtp.faults.then("starttls_454")
        with client_of(sandbox) as client, pytest.raises(smtplib.SMTPResponseException) as caught:
            client.starttls()

    assert caught.value.smtp_code == 454


@pytest.mark.parametrize("status", [535, 454, 421])
def test_auth_can_be_refused(sandbox: Sandbox, status: int) -> None:
    sandbox.smtp.credentials = ("user", "right")
    sandbox.smtp.faults.always(f"auth_{status}")
    client = client_of(sandbox)

    with pytest.raises((smtplib.SMTPAuthenticationError, *CONNECTION_ENDED)) as caught:
        client.login("user", "right")

    client.close()
    assert status == 421 or getattr(caught.value, "smtp_code", None) == status


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("status", [421, 450, 451, 452, 550, 552, 554])
def test_each_step_of_a_mail_can_be_refused(sandbox: Sandbox, step: str, status: int) -> None:
    sandbox.smtp.faults.then(f"{step}_{status}")

    with pytest.raises(smtplib.SMTPException):
        send(sandbox)

    (call,) = sandbox.smtp.calls
    assert call.fault == f"{step}:{status}"
    assert str(status) in " ".join(call.replies)
    assert sandbox.smtp.messages == []


def test_a_bare_status_is_the_reply_after_the_dot(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("451")

    with pytest.raises(smtplib.SMTPDataError) as caught:
        send(sandbox)

    assert caught.value.smtp_code == 451
    assert sandbox.smtp.calls[0].data.startswith(b"From: ")


@pytest.mark.parametrize(("fault", "kept"), [("close_after_dot", 1), ("drop_after_dot", 0), ("rst", 0)])
def test_the_verdict_can_get_lost(sandbox: Sandbox, fault: str, kept: int) -> None:
    sandbox.smtp.faults.then(fault)

    with pytest.raises(CONNECTION_ENDED):
        send(sandbox)

    assert len(sandbox.smtp.messages) == kept


def test_the_answer_to_the_message_can_be_slow(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("slow_dot:0.1")  # slow_dot:SECONDS
    began = time.monotonic()
    send(sandbox)

    assert time.monotonic() - began >= 0.1
    assert len(sandbox.smtp.messages) == 1


def test_the_verdict_can_fail_to_come(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("stall_after_dot")

    with pytest.raises((TimeoutError, *CONNECTION_ENDED)):
        send(sandbox, timeout=0.2)

    assert sandbox.smtp.messages == []


def test_quit_can_be_answered_badly_after_the_mail_was_taken(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("quit_421")
    with client_of(sandbox) as client:
        client.send_message(make_email())
        assert client.quit()[0] == 421

    assert len(sandbox.smtp.messages) == 1


def test_quit_can_get_no_answer(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("quit_drop")
    client = client_of(sandbox)
    client.send_message(make_email())

    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.quit()

    assert len(sandbox.smtp.messages) == 1


def test_a_connection_can_be_closed_while_it_is_idle(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.always("close_idle")
    with client_of(sandbox) as client:
        client.send_message(make_email())
        assert client.sock
        client.sock.settimeout(TIMEOUT)
        assert client.sock.recv(1) == b""

    assert len(sandbox.smtp.messages) == 1


@pytest.mark.parametrize(
    ("fault", "earlier"),
    [
        ("mail_limit_452:3", []),
        ("mail_limit_421:3", []),
        ("rcpt_limit_550:3", ["250"]),
        ("data_limit_554:3", ["250", "250"]),
        ("dot_limit_503:3", ["250", "250", "354"]),
    ],
)
def test_a_connection_can_be_limited_in_its_messages(sandbox: Sandbox, fault: str, earlier: list[str]) -> None:
    status = fault.partition("limit_")[2][:3]
    sandbox.smtp.faults.always(fault)
    client = client_of(sandbox)
    for _ in range(3):
        client.send_message(make_email())

    with pytest.raises(smtplib.SMTPException):
        client.send_message(make_email())

    client.close()
    replies = sandbox.smtp.calls[3].replies
    assert [reply[:3] for reply in replies[: len(earlier)]] == earlier
    assert replies[len(earlier)] == f"{status} {status[0]}.5.3 Too many messages on this connection"
    assert len(sandbox.smtp.messages) == 3
    send(sandbox)
    assert len(sandbox.smtp.messages) == 4


def test_a_limited_connection_refuses_again_after_rset(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("mail_limit_554:1")
    with client_of(sandbox) as client:
        client.send_message(make_email())
        assert [
            client.mail("a@corp.example")[0],
            client.rset()[0],
            client.mail("a@corp.example")[0],
        ] == [554, 250, 554]


def test_rset_can_be_refused(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.then("rset_503")
    with client_of(sandbox) as client:
        client.ehlo()
        client.mail("a@corp.example")

        assert client.rset() == (503, b"5.0.0 Refused by the sandbox")
        assert client.rcpt("b@corp.example")[0] == 250


def test_a_fault_waits_in_the_script_for_the_step_it_is_about(sandbox: Sandbox) -> None:
    with client_of(sandbox) as client:
        sandbox.smtp.faults.then("greeting_421", "451")
        client.send_message(make_email())

    with pytest.raises(smtplib.SMTPConnectError):
        send(sandbox)
    with pytest.raises(smtplib.SMTPDataError):
        send(sandbox)
    send(sandbox)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rcpt_550", smtplib.SMTPRecipientsRefused),
        ("mail_451", smtplib.SMTPRecipientsRefused),
        ("554", smtplib.SMTPDataError),
        ("data_451", smtplib.SMTPDataError),
        ("drop_after_dot", smtplib.SMTPServerDisconnected),
        ("close_before_reading", smtplib.SMTPServerDisconnected),
    ],
)
def test_an_address_can_have_a_fault_of_its_own(sandbox: Sandbox, fault: str, error: type[Exception]) -> None:
    sandbox.smtp.faults.at("Odd@corp.example", fault)
    send(sandbox)

    with pytest.raises(error):
        send(sandbox, "odd@corp.example")

    assert len(sandbox.smtp.messages) == 1


def test_latency_comes_once_a_mail(sandbox: Sandbox) -> None:
    sandbox.smtp.latency = 0.1
    begin = time.monotonic()
    send(sandbox)

    assert time.monotonic() - begin >= 0.1


def test_every_row_of_the_table_about_smtp_is_tested_here() -> None:
    with open(__file__, encoding="utf-8") as file:
        source = file.read()

    for kind in KINDS:
        if "smtp" in kind.providers and kind.form not in ("NNN", "mail_NNN", "rcpt_NNN", "data_NNN", "dot_NNN"):
            assert kind.form.partition("NNN")[0] in source
