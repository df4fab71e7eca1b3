"""Streams: chunk by chunk, until the server ends, falls silent, or the client stops."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from alertctl.http.client import HttpClient, Response, StreamHandlers
from alertctl.http.errors import HttpError
from tests.support.raw_server import raw_server, read_request

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@dataclass
class Reader:
    """Records what a stream delivers."""

    pieces: list[bytes] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def handlers(self, silence: float = 20.0, head_timeout: float = 20.0) -> StreamHandlers:
        return StreamHandlers(self._open, self.pieces.append, self.stopped.is_set, silence, head_timeout)

    def _open(self, head: Response) -> bool:
        self.opened.set()
        return head.headers.get("content-type") == "text/event-stream"


@pytest.fixture
def reader() -> Reader:
    return Reader()


def saying(*pieces: bytes, pause: float = 0.0, ended: threading.Event | None = None) -> Callable[[socket.socket], None]:
    """Return a conversation that sends these chunks with a pause after each, and closes once `ended` is set."""

    def converse(connection: socket.socket) -> None:
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        if ended is not None:
            ended.wait(20)

    return converse


def test_pieces_are_handed_over_until_the_server_ends_it(client: HttpClient, reader: Reader) -> None:
    with raw_server(saying(HEAD, b"data: 1\n\n", b"data: 2\n\n")) as server:
        head = client.stream(server.url, {}, reader.handlers())
    assert (head.status, head.body, b"".join(reader.pieces)) == (200, b"", b"data: 1\n\ndata: 2\n\n")


def test_pieces_arrive_while_the_stream_goes_on(client: HttpClient) -> None:
    ended, arrived = threading.Event(), threading.Event()
    handlers = StreamHandlers(lambda _: True, lambda _: arrived.set(), ended.is_set, 20, 20)
    with raw_server(saying(HEAD, b"data: 1\n\n", ended=ended)) as server:
        thread = threading.Thread(target=client.stream, args=(server.url, {}, handlers))
        thread.start()
        assert arrived.wait(10)
        assert thread.is_alive()
        ended.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_few_bytes_now_and_then_are_no_silence(client: HttpClient, reader: Reader) -> None:
    with raw_server(saying(HEAD, *[b":\n\n"] * 8, pause=0.4)) as server:
        client.stream(server.url, {}, reader.handlers(silence=2.0))
    assert b"".join(reader.pieces) == b":\n\n" * 8


def test_a_stream_that_falls_silent_is_taken_for_dead(client: HttpClient, reader: Reader) -> None:
    ended = threading.Event()
    with raw_server(saying(HEAD, b"data: 1\n\n", ended=ended)) as server:
        head = client.stream(server.url, {}, reader.handlers(silence=0.3))
        ended.set()
    assert head.truncated
    assert reader.pieces == [b"data: 1\n\n"]


def test_a_server_that_never_begins_to_answer_is_a_time_out(client: HttpClient, reader: Reader) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(HttpError) as raised:
        client.stream(f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, reader.handlers(head_timeout=0.3))
    assert (raised.value.code, raised.value.sent) == ("timeout", True)


def test_another_thread_can_stop_a_stream(client: HttpClient, reader: Reader) -> None:
    ended = threading.Event()
    with raw_server(saying(HEAD, ended=ended)) as server:
        thread = threading.Thread(target=client.stream, args=(server.url, {}, reader.handlers()))
        thread.start()
        assert reader.opened.wait(10)
        reader.stopped.set()
        thread.join(5)
        assert not thread.is_alive()
        ended.set()


def test_an_exception_of_the_reader_ends_the_stream_and_is_raised(client: HttpClient) -> None:
    def refuse(_: bytes) -> None:
        raise KeyError("dislikes it")

    with (
        raw_server(saying(HEAD, b"data: 1\n\n")) as server,
        pytest.raises(KeyError, match="dislikes it"),
    ):
        client.stream(server.url, {}, StreamHandlers(lambda _: True, refuse, lambda: False, 20, 20))


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Away", "307 Moved"])
def test_an_answer_that_is_no_stream_is_read_like_any_reply(client: HttpClient, reader: Reader, status: str) -> None:
    body = json.dumps({"detail": "no"}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with raw_server(saying(head + body)) as server:
        reply = client.stream(server.url, {}, reader.handlers())
    assert (reply.status, reply.body, reader.pieces) == (int(status[:3]), body, [])
