"""SMTP: a refusal on a reused connection is checked on a new one before it counts."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain, repeat

import pytest

from alertctl.channels.base import OutgoingMessage, Receipt, SendResult
from alertctl.channels.email.smtp import SmtpChannel
from alertctl.channels.email.smtp_connection import host_name
from alertctl.errors import DeliveryError, Reason
from alertctl.sandbox import Sandbox
from tests.support.providers import ALERT, smtp_channel, smtp_channel_to
from tests.support.raw_server import RawServer, raw_server

STEPS = ("mail", "rcpt", "data", "dot")
STATUSES = (421, 450, 452, 503, 530, 550, 554)


@pytest.fixture
def channel(sandbox: Sandbox) -> Iterator[SmtpChannel]:
    with closing(smtp_channel(sandbox)) as channel:
        yield channel


def send(channel: SmtpChannel, count: int = 1, address: str = "dev@corp.example") -> list[SendResult]:
    return [channel.send(ALERT, [OutgoingMessage(f"d{number}", address)])[0] for number in range(count)]


def connections_used(sandbox: Sandbox) -> list[int]:
    """The connection of each transaction, in order, numbered from 1."""
    numbers = [call.connection for call in sandbox.smtp.calls]
    return [number - numbers[0] + 1 for number in numbers]


def message_ids(sandbox: Sandbox) -> list[str]:
    return [message.parsed["Message-ID"] for message in sandbox.smtp.messages]


def assert_failed(result: SendResult, reason: Reason, code: str) -> None:
    assert isinstance(result, DeliveryError), result
    assert (result.reason, result.code) == (reason, code), result


# --- the limits of a session ---


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("step", STEPS)
def test_a_session_limit_at_any_step_fails_no_message(
    sandbox: Sandbox, channel: SmtpChannel, step: str, status: int
) -> None:
    sandbox.smtp.faults.always(f"{step}_limit_{status}:3")
    results = send(channel, 7)
    assert all(isinstance(result, Receipt) for result in results), results
    assert message_ids(sandbox) == [f"<d{number}@corp.example>" for number in range(7)]
    assert connections_used(sandbox) == [1, 1, 1, 1, 2, 2, 2, 2, 3]


@pytest.mark.parametrize(
    "fault", ["mail_limit_452:3", "mail_limit_554:3", "rcpt_limit_550:3", "data_limit_503:3", "dot_limit_421:1"]
)
def test_a_session_limit_fails_no_message_of_many_threads(sandbox: Sandbox, channel: SmtpChannel, fault: str) -> None:
    sandbox.smtp.faults.always(fault)
    messages = [OutgoingMessage(f"d{number}", f"u{number}@corp.example") for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda outgoing: channel.send(ALERT, [outgoing])[0], messages))
    assert [result for result in results if not isinstance(result, Receipt)] == []
    recipients = [message.rcpt_tos for message in sandbox.smtp.messages]
    assert sorted(recipients) == sorted([outgoing.address] for outgoing in messages)


# --- which answer counts ---


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("mail_450", Reason.UNAVAILABLE),
        ("mail_550", Reason.CONFIG),
        ("rcpt_450", Reason.UNAVAILABLE),
        ("rcpt_553", Reason.BAD_ADDRESS),
        ("data_554", Reason.REJECTED),
        ("dot_451", Reason.UNAVAILABLE),
        ("dot_554", Reason.REJECTED),
    ],
)
def test_a_refusal_that_a_new_connection_repeats_counts(
    sandbox: Sandbox, channel: SmtpChannel, fault: str, reason: Reason
) -> None:
    send(channel)
    sandbox.smtp.faults.always(fault)
    assert_failed(send(channel)[0], reason, fault[-3:])
    assert connections_used(sandbox) == [1, 1, 2]
    assert len(sandbox.smtp.messages) == 1


def test_the_answer_on_the_new_connection_counts_and_not_the_first(sandbox: Sandbox, channel: SmtpChannel) -> None:
    sandbox.smtp.faults.then("ok", "mail_554", "rcpt_450", "ok")
    results = send(channel, 3)
    assert_failed(results[1], Reason.UNAVAILABLE, "450")
    assert isinstance(results[2], Receipt)
    assert connections_used(sandbox) == [1, 1, 2, 2]


def test_a_refusal_on_a_new_connection_counts_at_once(sandbox: Sandbox, channel: SmtpChannel) -> None:
    sandbox.smtp.faults.always("data_554")
    assert_failed(send(channel)[0], Reason.REJECTED, "554")
    assert connections_used(sandbox) == [1]


def test_a_refused_address_counts_at_once_and_its_session_is_kept(sandbox: Sandbox, channel: SmtpChannel) -> None:
    send(channel)
    assert_failed(send(channel, address="missing@corp.example")[0], Reason.BAD_ADDRESS, "550")
    assert isinstance(send(channel)[0], Receipt)
    assert connections_used(sandbox) == [1, 1, 1]


def test_a_reply_that_was_lost_after_the_message_is_ambiguous_and_nothing_is_sent_again(
    sandbox: Sandbox, channel: SmtpChannel
) -> None:
    sandbox.smtp.faults.then("ok", "close_after_dot", "ok", "drop_after_dot", "ok", "dot_354")
    results = send(channel, 6)
    assert_failed(results[1], Reason.AMBIGUOUS, "no_reply")
    assert_failed(results[3], Reason.AMBIGUOUS, "no_reply")
    assert_failed(results[5], Reason.AMBIGUOUS, "354")
    assert connections_used(sandbox) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("fault", ["greeting_421", "close_before_reading"])
def test_a_refusal_is_not_final_while_no_new_connection_can_be_opened(
    sandbox: Sandbox, channel: SmtpChannel, fault: str
) -> None:
    sandbox.smtp.faults.then("rcpt_limit_550:1")
    send(channel)
    sandbox.smtp.faults.then(fault)
    result = send(channel)[0]
    assert isinstance(result, DeliveryError)
    assert result.reason is Reason.UNAVAILABLE
    assert isinstance(send(channel)[0], Receipt)


def test_the_check_on_a_new_connection_has_the_same_deadline(sandbox: Sandbox) -> None:
    with closing(smtp_channel(sandbox, deadline=0.5)) as channel:
        sandbox.smtp.faults.then("rcpt_limit_550:1")
        send(channel)
        sandbox.smtp.faults.then("black_hole")
        assert_failed(send(channel)[0], Reason.UNAVAILABLE, "timeout")


def test_the_answer_to_the_message_may_take_longer_than_the_deadline(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.always("slow_dot:0.6")
    with closing(smtp_channel(sandbox, deadline=0.3, final_timeout=5.0)) as channel:
        assert all(isinstance(result, Receipt) for result in send(channel, 2))
    assert message_ids(sandbox) == ["<d0@corp.example>", "<d1@corp.example>"]


# --- the name in EHLO ---


@pytest.mark.parametrize(("hello", "name"), [("alerts.corp.example", b"alerts.corp.example"), ("", None)])
def test_ehlo_names_this_machine_and_not_the_senders_domain(hello: str, name: bytes | None) -> None:
    lines: list[bytes] = []

    def converse(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        with connection.makefile("rb") as reader:
            lines.append(reader.readline())

    with raw_server(converse) as server, closing(smtp_channel_to("127.0.0.1", server.port, hello=hello)) as channel:
        send(channel)
    assert lines == [b"ehlo " + (name or host_name().encode() or b"[127.0.0.1]") + b"\r\n"]


# --- which session is kept ---


@pytest.mark.parametrize("status", [421, 452])
@pytest.mark.parametrize("step", STEPS)
def test_a_session_that_answered_421_or_452_is_not_used_again(
    sandbox: Sandbox, channel: SmtpChannel, step: str, status: int
) -> None:
    sandbox.smtp.faults.then(f"{step}_{status}")
    results = send(channel, 2)
    assert_failed(results[0], Reason.UNAVAILABLE, str(status))
    assert isinstance(results[1], Receipt)
    assert connections_used(sandbox) == [1, 2]


@pytest.mark.parametrize("step", STEPS)
def test_a_new_session_that_refused_one_message_carries_the_next(
    sandbox: Sandbox, channel: SmtpChannel, step: str
) -> None:
    sandbox.smtp.faults.then(f"{step}_550")
    assert isinstance(send(channel, 2)[1], Receipt)
    assert connections_used(sandbox) == [1, 1]


@pytest.mark.parametrize("fault", ["rset_503", "rset_421"])
def test_a_session_that_refuses_rset_is_not_used_again(sandbox: Sandbox, channel: SmtpChannel, fault: str) -> None:
    sandbox.smtp.faults.then("rcpt_550", fault)
    results = send(channel, 2)
    assert_failed(results[0], Reason.BAD_ADDRESS, "550")
    assert isinstance(results[1], Receipt)
    assert connections_used(sandbox) == [1, 2]


# --- servers that the sandbox is too well-behaved for ---

Script = Sequence[bytes]
"""Return a server's output on one connection: the greeting, then a reply to each command and to the message."""
FIRST: Script = (b"220 hi\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 accepted\r\n")


def scripts(*conversations: Script) -> Callable[[socket.socket], None]:
    """Serve each connection with the next script, the last one for all further connections."""
    remaining = chain(conversations, repeat(conversations[-1]))

    def converse(connection: socket.socket) -> None:
        greeting, *replies = next(remaining)
        connection.sendall(greeting)
        with connection.makefile("rb") as reader:
            in_message = False
            for reply in replies:
                while reader.readline() != b".\r\n" and in_message:
                    pass
                connection.sendall(reply)
                in_message = reply.startswith(b"354")

    return converse


def send_to(server: RawServer, count: int) -> list[SendResult]:
    with closing(smtp_channel_to("127.0.0.1", server.port)) as channel:
        return send(channel, count)


@pytest.mark.parametrize("reply", [b"550 No such user", b"550 5.7.1 Denied", b"550 5.2.1 Disabled", b"550 15.1.1 ?"])
def test_a_refusal_at_rcpt_that_does_not_name_the_address_is_checked(reply: bytes) -> None:
    second = (*FIRST, b"250 ok\r\n", reply + b"\r\n")
    with raw_server(scripts(second, FIRST)) as server:
        results = send_to(server, 2)
    assert all(isinstance(result, Receipt) for result in results), results


@pytest.mark.parametrize("reply", [b"550 5.1.1 No", b"550-5.1.10 No\r\n550 5.1.10 such domain", b"553 5.1.3 Syntax"])
def test_a_refusal_at_rcpt_that_names_the_address_is_not_checked(reply: bytes) -> None:
    second = (*FIRST, b"250 ok\r\n", reply + b"\r\n")
    with raw_server(scripts(second, FIRST)) as server:
        assert_failed(send_to(server, 2)[1], Reason.BAD_ADDRESS, reply[:3].decode())


@pytest.mark.parametrize(
    "replies",
    [
        [],
        [b"250 ok\r\n"],
        [b"250 ok\r\n", b"250 ok\r\n"],
        [b"250 ok\r\n421 4.4.2 Idle for too long\r\n"],
        [b"25"],
        [b"what?\r\n"],
    ],
)
def test_a_reused_connection_that_ends_before_the_message_is_replaced(replies: list[bytes]) -> None:
    """The server closes it, or answers what it wasn't asked, at each step before the final dot."""
    with raw_server(scripts((*FIRST, *replies), FIRST)) as server:
        results = send_to(server, 2)
    assert all(isinstance(result, Receipt) for result in results), results


def test_a_421_that_comes_together_with_the_acceptance_costs_nothing() -> None:
    goodbye = (*FIRST[:-1], b"250 accepted\r\n421 4.7.0 That was the last message\r\n")
    with raw_server(scripts(goodbye)) as server:
        results = send_to(server, 3)
    assert all(isinstance(result, Receipt) for result in results), results
