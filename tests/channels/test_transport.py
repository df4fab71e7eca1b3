"""How requests travel: one POST, one deadline, verified TLS, no redirects, and a word for all that goes wrong."""

from __future__ import annotations

import inspect
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3.exceptions

from alertctl.channels.exchange import REPLY_LIMIT, Reply
from alertctl.channels.network_errors import CODES, Stage, network_error
from alertctl.channels.proxies import proxy_for
from alertctl.channels.transport import Transport
from alertctl.errors import ConfigError, DeliveryError, Reason
from alertctl.sandbox import Sandbox
from channels.doubles import RawServer, raw_server, read_request

HEADERS = {"Authorization": "Bearer planted-token", "Content-Type": "application/json"}


@pytest.fixture
def server() -> Iterator[RawServer]:
    with raw_server() as running:
        yield running


def attempt(url: str, deadline: float = 2.0, ca_bundle: str | None = None) -> Reply | DeliveryError:
    transport = Transport(deadline, ca_bundle)
    try:
        return transport.post(url, HEADERS, b"{}")
    except DeliveryError as error:
        return error
    finally:
        transport.close()


def failure(url: str, deadline: float = 2.0, ca_bundle: str | None = None) -> DeliveryError:
    found = attempt(url, deadline, ca_bundle)
    assert isinstance(found, DeliveryError), found
    return found


def test_a_name_that_cannot_be_looked_up_is_a_failure_of_this_machine() -> None:
    error = failure("http://no-such-host.invalid/", deadline=5.0)
    assert error.reason is Reason.LOCAL
    assert error.code in ("dns_failure", "dns_timeout")


def test_a_refused_connection_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/")
    assert (error.reason, error.code) == (Reason.UNAVAILABLE, "connection_refused")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[::1/", "http://", "nonsense", "http://a:99999/"])
def test_an_address_that_is_none_is_a_mistake_in_the_settings(url: str) -> None:
    assert failure(url).reason is Reason.CONFIG


@pytest.mark.parametrize(("flavour", "code"), [("expired", "tls_expired"), ("wrong_host", "tls_wrong_host")])
def test_a_bad_certificate_is_named_and_nothing_is_sent(flavour: str, code: str) -> None:
    with Sandbox(tls=flavour) as sandbox:  # type: ignore[arg-type]
        error = failure(sandbox.slack_api_url, ca_bundle=sandbox.ca_file)
        assert (error.reason, error.code) == (Reason.CONFIG, code)
        assert sandbox.slack.calls == []


def test_an_unknown_authority_is_not_trusted_until_the_bundle_names_it(tls_sandbox: Sandbox) -> None:
    error = failure(tls_sandbox.slack_api_url)
    assert (error.reason, error.code) == (Reason.CONFIG, "tls_untrusted")
    assert isinstance(attempt(tls_sandbox.slack_api_url, ca_bundle=tls_sandbox.ca_file), Reply)


def test_a_bundle_that_cannot_be_read_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("this is no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match="ALERTCTL_CA_BUNDLE"):
            _ = Transport(1.0, path).context


def test_tls_on_a_plain_port_is_said_clearly() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with raw_server(plain) as server:
        error = failure(server.url.replace("http:", "https:"))
    assert (error.reason, error.code) == (Reason.CONFIG, "tls_not_spoken")


def test_a_tls_port_spoken_to_in_clear_is_no_success(tls_sandbox: Sandbox) -> None:
    assert isinstance(attempt(tls_sandbox.slack_api_url.replace("https:", "http:")), DeliveryError)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_stays_here(server: RawServer, status: int) -> None:
    with raw_server() as elsewhere:
        server.reply = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        found = attempt(server.url)
        assert isinstance(found, Reply)
        assert found.status == status
        assert elsewhere.requests == []


def test_a_black_hole_ends_with_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        began = time.monotonic()
        error = failure(f"http://127.0.0.1:{listener.getsockname()[1]}/", deadline=0.3)
        assert time.monotonic() - began < 10
    assert (error.reason, error.code) == (Reason.AMBIGUOUS, "timeout")


def test_a_tls_handshake_that_stalls_is_unavailable_because_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = failure(f"https://127.0.0.1:{listener.getsockname()[1]}/", deadline=0.3)
    assert (error.reason, error.code) == (Reason.UNAVAILABLE, "connect_timeout")


def test_a_dripping_body_is_cut_at_the_deadline() -> None:
    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(900):
            connection.sendall(b"x")
            time.sleep(0.02)

    with raw_server(drip) as server:
        began = time.monotonic()
        found = attempt(server.url, deadline=0.3)
        assert time.monotonic() - began < 10
    assert isinstance(found, Reply)
    assert found.truncated


def test_a_request_too_big_to_be_taken_in_time_is_unavailable_because_it_was_not_complete() -> None:
    def deaf(connection: socket.socket) -> None:
        connection.recv(10)
        time.sleep(1.0)

    with raw_server(deaf) as server:
        transport = Transport(0.3)
        with pytest.raises(DeliveryError) as raised:
            transport.post(server.url, HEADERS, b"x" * 30_000_000)
        transport.close()
    assert raised.value.reason is Reason.UNAVAILABLE


def test_an_answer_that_comes_before_the_request_is_read_still_counts() -> None:
    def hasty(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        time.sleep(0.2)

    with raw_server(hasty) as server:
        transport = Transport(5.0)
        reply = transport.post(server.url, HEADERS, b"x" * 3_000_000)
        transport.close()
    assert reply.status == 413


def test_a_huge_body_is_read_up_to_the_limit_and_memory_stays_small(sandbox: Sandbox) -> None:
    sandbox.slack.faults.always("huge_body")
    tracemalloc.start()
    found = attempt(sandbox.slack_api_url + "auth.test")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Reply)
    assert found.truncated
    assert len(found.body) == REPLY_LIMIT
    assert peak < 64 * 1024 * 1024


@pytest.mark.parametrize("window", [31, -15])
def test_a_compressed_body_grows_to_the_limit_only(server: RawServer, window: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    packed = packer.compress(b"a" * 50_000_000) + packer.flush()
    server.reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    found = attempt(server.url)
    assert isinstance(found, Reply)
    assert found.truncated
    assert len(found.body) <= REPLY_LIMIT


def test_a_chunked_body_arrives_whole(server: RawServer) -> None:
    server.reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    found = attempt(server.url)
    assert isinstance(found, Reply)
    assert (found.body, found.truncated) == (b"abcde", False)


def test_a_kept_connection_that_the_server_closed_is_replaced_without_a_second_post(server: RawServer) -> None:
    server.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    transport = Transport(2.0)
    for _ in range(5):
        assert transport.post(server.url, HEADERS, b"{}").status == 200
        time.sleep(0.05)
    transport.close()
    assert len(server.requests) == 5


def test_many_threads_share_the_kept_connections(sandbox: Sandbox) -> None:
    before = sandbox.slack.connections
    transport = Transport(10.0, pool=8)
    url = sandbox.slack_api_url + "auth.test"
    with ThreadPoolExecutor(8) as pool:
        statuses = {reply.status for reply in pool.map(lambda _: transport.post(url, HEADERS, b"{}"), range(200))}
    transport.close()
    assert statuses == {200}
    assert sandbox.slack.connections - before <= 8


def test_a_proxy_carries_what_no_proxy_does_not_exempt(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{server.port}")
    monkeypatch.setenv("NO_PROXY", "localhost,.corp.example")
    found = attempt("http://slack.example/api/x")
    assert isinstance(found, Reply)
    assert server.requests[0].startswith(b"POST http://slack.example/api/x HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic dXNlcjpzZWNyZXQ=" in server.requests[0]
    assert proxy_for("http://api.corp.example/") is None
    assert proxy_for("http://localhost:80/") is None


def test_https_goes_through_a_proxy_as_a_tunnel(tls_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def tunnel(connection: socket.socket) -> None:
        head = read_request(connection)
        host, port = head.split()[1].decode().split(":")
        with socket.create_connection((host, int(port))) as target:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(target, connection))
            back.start()
            _pump(connection, target)
            back.join()

    with raw_server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        found = attempt(tls_sandbox.slack_api_url + "auth.test", ca_bundle=tls_sandbox.ca_file)
    assert isinstance(found, Reply)
    assert found.status == 200


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(407, Reason.CONFIG, "proxy_auth"), (502, Reason.UNAVAILABLE, "proxy_failed")],
)
def test_a_proxy_that_refuses_is_named(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, status: int, reason: Reason, code: str
) -> None:
    server.reply = f"HTTP/1.1 {status} No\r\n\r\n".encode()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
    error = failure("https://slack.example/api/")
    assert (error.reason, error.code) == (reason, code)


def test_a_proxy_that_is_not_there_is_not_taken_for_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server() as gone:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{gone.port}")
    error = failure("https://slack.example/api/")
    assert (error.reason, error.code) == (Reason.UNAVAILABLE, "proxy_failed")
    assert f"the proxy 127.0.0.1:{gone.port}: ConnectionRefusedError" in error.detail


@pytest.mark.parametrize(
    "proxy", ["http://bob:pa55#word@proxy:3128", "http://bob:pa55word@proxy:99999", "socks5://bob:pa55word@proxy:1080"]
)
def test_an_unusable_address_of_a_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = failure("https://slack.example/api/")
    assert (error.reason, error.code) == (Reason.CONFIG, "bad_proxy_url")
    assert "pa55" not in error.detail


def test_a_header_that_would_break_out_is_never_sent(server: RawServer) -> None:
    transport = Transport(1.0)
    with pytest.raises(DeliveryError) as raised:
        transport.post(server.url, {"Authorization": "Bearer a\r\nX: y"}, b"{}")
    transport.close()
    assert raised.value.reason is Reason.UNAVAILABLE
    assert b"X: y" not in b"".join(server.requests)


def test_every_exception_class_of_urllib3_has_a_place_in_the_table() -> None:
    classes = [kind for _, kind in inspect.getmembers(urllib3.exceptions, inspect.isclass)]
    ours = [k for k in classes if issubclass(k, BaseException) and k.__module__ == "urllib3.exceptions"]
    assert ours
    assert [kind.__name__ for kind in ours if kind not in CODES] == []


@pytest.mark.parametrize("exc", [OSError("x"), ssl.SSLError("x"), KeyError("x"), RuntimeError("x")])
def test_an_exception_counts_as_ambiguous_once_the_request_is_out(exc: Exception) -> None:
    assert network_error(exc, Stage.AFTER).reason is Reason.AMBIGUOUS
    assert network_error(exc, Stage.BEFORE).reason is Reason.UNAVAILABLE


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
