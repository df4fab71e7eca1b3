"""Any bytes that a provider answers: success or a DeliveryError, and never a false success."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import Channel, OutgoingMessage, Receipt
from alertctl.channels.email.message import Sender
from alertctl.channels.email.sendgrid import SendGridChannel
from alertctl.channels.slack.channel import SlackChannel
from alertctl.errors import DeliveryError
from alertctl.http.client import HttpClient
from tests.support.fuzzing import fixed_examples
from tests.support.providers import ALERT, SENDER, smtp_channel_to
from tests.support.raw_server import RawServer, raw_server

EXAMPLES = fixed_examples(100, long=2_000)

SLACK_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 35\r\n\r\n"
    b'{"ok":true,"ts":"1.2","channel":""}'
)
SENDGRID_OK = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 0\r\n\r\n"
SLACK_WORDS = [
    b'{"ok":true}',
    b'{"ok":1,"ts":"1"}',
    b'"ok":"true"',
    b'"ts":null',
    b"[]",
    b"null",
    b'{"ok":false,"error":"x"}',
]
HTTP_WORDS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 202 Accepted\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 429 Slow\r\nRetry-After: abc\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
    b"HTTP/1.1 400 Bad\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Length: -1\r\n",
    b"X-Message-Id:\r\n",
    b"\r\n",
    b"\xff\xfe\0",
    b"5\r\nhello\r\n0\r\n\r\n",
]
SMTP_WORDS = [
    b"250 ok\r\n",
    b"250-",
    b"354 go\r\n",
    b"220 hi\r\n",
    b"421 bye\r\n",
    b"550 5.1.1 no\r\n",
    b"-1\r\n",
    b"\r\n",
    b"\0",
]


def mutations(good: bytes, words: list[bytes]) -> st.SearchStrategy[bytes]:
    """A good reply with something cut out, something put in; or pieces in any order; or any bytes at all."""
    position = st.integers(0, len(good))
    insert = st.one_of(st.binary(max_size=12), st.sampled_from(words))
    changed = st.builds(lambda a, b, new: good[: min(a, b)] + new + good[max(a, b) :], position, position, insert)
    pieces = st.lists(st.sampled_from([*words, good, good[-36:]]), max_size=5).map(b"".join)
    return st.one_of(changed, pieces, st.binary(max_size=80))


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as running:
        yield running


@pytest.fixture(scope="module")
def slack(server: RawServer) -> Iterator[Channel]:
    channel = SlackChannel("xoxb-x", server.url, HttpClient(2.0))
    yield channel
    channel.close()


@pytest.fixture(scope="module")
def sendgrid(server: RawServer) -> Iterator[Channel]:
    channel = SendGridChannel("SG.x", server.url, Sender(SENDER, "Corp"), HttpClient(2.0))
    yield channel
    channel.close()


def send_alert(channel: Channel, address: str) -> Receipt | DeliveryError:
    (result,) = channel.send(ALERT, [OutgoingMessage("delivery-1", address)])
    assert isinstance(result, (Receipt, DeliveryError))
    return result


def head_and_body(reply: bytes) -> tuple[bytes, bytes]:
    """The final reply's head and body, read with a naive eye: empty lines before it and 1xx replies are dropped."""
    head, _, body = reply.replace(b"\r\n", b"\n").lstrip(b"\r\n").partition(b"\n\n")
    while head.split()[1:2] and head.split()[1].startswith(b"1"):
        head, _, body = body.partition(b"\n\n")
    return head, body


@EXAMPLES
@given(mutations(SLACK_OK, [*HTTP_WORDS, *SLACK_WORDS]))
def test_no_reply_of_slack_is_a_false_success(server: RawServer, slack: Channel, reply: bytes) -> None:
    server.reply = reply
    if isinstance(send_alert(slack, "#x"), Receipt):
        head, body = head_and_body(reply)
        assert head.decode("latin-1").split()[1] == "200"
        assert b'"ok":true' in body
        assert b'"ts":"' in body


@EXAMPLES
@given(mutations(SENDGRID_OK, HTTP_WORDS))
def test_no_reply_of_sendgrid_is_a_false_success(server: RawServer, sendgrid: Channel, reply: bytes) -> None:
    server.reply = reply
    if isinstance(send_alert(sendgrid, "dev@corp.example"), Receipt):
        head, _ = head_and_body(reply)
        assert head.decode("latin-1").split()[1] == "202"
        assert b"\r\n\r\n" in reply or b"\n\n" in reply.replace(b"\r", b"")


STAGES = [
    b"220 hi\r\n",
    b"250-hello\r\n250 SIZE 100000\r\n",
    b"250 ok\r\n",
    b"250 ok\r\n",
    b"354 go\r\n",
    b"250 taken\r\n",
]


@dataclass
class Script:
    """An SMTP server that is fine but for one reply. `taken` is what it really said to the final dot."""

    stage: int = 0
    reply: bytes = b""
    taken: list[bytes] = field(default_factory=list)

    def converse(self, connection: socket.socket) -> None:
        reader: Any = connection.makefile("rb")
        with reader:
            for stage in range(len(STAGES)):
                if stage and not self._read(reader, message=stage == 5):
                    return
                reply = self.reply if stage == self.stage else STAGES[stage]
                if stage == 5:
                    self.taken.append(reply)
                connection.sendall(reply)
                if stage == self.stage:
                    connection.shutdown(socket.SHUT_WR)
                    reader.read()
                    return

    def _read(self, reader: Any, *, message: bool) -> bool:
        while line := reader.readline():
            if not message or line == b".\r\n":
                return True
        return False


@EXAMPLES
@given(
    st.integers(0, 5),
    st.one_of(mutations(b"250 taken\r\n", SMTP_WORDS), mutations(b"220 hi\r\n250 ok\r\n", SMTP_WORDS)),
)
def test_no_reply_of_a_mail_server_is_a_false_success(smtp: tuple[Script, Channel], stage: int, reply: bytes) -> None:
    script, channel = smtp
    script.stage, script.reply = stage, reply
    script.taken.clear()
    if isinstance(send_alert(channel, "dev@corp.example"), Receipt):
        (answer,) = script.taken
        lines = answer.split(b"\n")
        final = next(line for line in lines if line[3:4] != b"-")
        assert final.startswith(b"250")
        assert b"\n" in answer


@pytest.fixture(scope="module")
def smtp() -> Iterator[tuple[Script, Channel]]:
    script = Script()
    with raw_server(script.converse) as server:
        channel = smtp_channel_to("127.0.0.1", server.port, deadline=2.0, pool=0)
        yield script, channel
        channel.close()
