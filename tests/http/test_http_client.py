"""Requests: sent once, within one time limit, over verified TLS, without redirects; and a code for every failure."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.errors import Reason
from alertctl.http.client import MAX_BODY, HttpClient, Response
from alertctl.http.errors import HttpError
from alertctl.sandbox import Sandbox
from tests.support.machines import free_port
from tests.support.raw_server import RawServer, raw_server, read_request

HEADERS = {"Authorization": "Bearer planted-token", "Content-Type": "application/json"}


@pytest.fixture
def server() -> Iterator[RawServer]:
    with raw_server() as running:
        yield running


def post(
    url: str, timeout: float = 2.0, ca_bundle: str | Path | None = None, body: bytes = b"{}"
) -> Response | HttpError:
    client = HttpClient(timeout, ca_bundle)
    try:
        return client.request("POST", url, HEADERS, body)
    except HttpError as error:
        return error
    finally:
        client.close()


def failure(url: str, timeout: float = 2.0, ca_bundle: str | Path | None = None, body: bytes = b"{}") -> HttpError:
    result = post(url, timeout, ca_bundle, body)
    assert isinstance(result, HttpError), result
    return result


def test_a_name_that_does_not_exist_is_unavailable() -> None:
    error = failure("http://no-such-host.invalid/", timeout=5.0)
    assert error.reason is Reason.LOCAL
    assert error.code in ("dns_failure", "dns_timeout")


def test_a_refused_connection_is_unavailable() -> None:
    error = failure(f"http://127.0.0.1:{free_port()}/")
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
    assert isinstance(post(tls_sandbox.slack_api_url, ca_bundle=tls_sandbox.ca_file), Response)


def test_a_bundle_that_cannot_be_read_names_its_variable(tmp_path: Path, tls_sandbox: Sandbox) -> None:
    (tmp_path / "ca.pem").write_text("this is not a certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        error = failure(tls_sandbox.slack_api_url, ca_bundle=path)
        assert (error.reason, error.code) == (Reason.CONFIG, "bad_ca_bundle")
        assert "ALERTCTL_CA_BUNDLE" in error.detail


@pytest.mark.parametrize("hashed", [False, True])
def test_the_systems_certificates_are_a_file_or_a_folder(
    tls_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: bool
) -> None:
    assert tls_sandbox.ca_file is not None
    certificate = Path(tls_sandbox.ca_file).read_text()
    names = ["ca.pem"] if not hashed else [f"{_subject_hash(certificate)}.0"]
    (tmp_path / names[0]).write_text(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / ("missing.pem" if hashed else "ca.pem")))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path if hashed else tmp_path / "missing"))
    assert isinstance(post(tls_sandbox.slack_api_url), Response)


def _subject_hash(certificate: str) -> str:
    """Return the name under which OpenSSL looks for an authority in a folder."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash"], input=certificate, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the openssl program")
    return done.stdout.strip()


def test_tls_on_a_plain_port_is_reported() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with raw_server(plain) as server:
        error = failure(server.url.replace("http:", "https:"))
    assert (error.reason, error.code) == (Reason.CONFIG, "tls_not_spoken")


def test_a_tls_port_spoken_to_in_clear_is_no_success(tls_sandbox: Sandbox) -> None:
    assert isinstance(post(tls_sandbox.slack_api_url.replace("https:", "http:")), HttpError)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_stays_here(server: RawServer, status: int) -> None:
    with raw_server() as elsewhere:
        server.reply = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        response = post(server.url)
        assert isinstance(response, Response)
        assert response.status == status
        assert elsewhere.requests == []


def test_a_black_hole_ends_with_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        began = time.monotonic()
        error = failure(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)
        assert time.monotonic() - began < 10
    assert (error.reason, error.code) == (Reason.AMBIGUOUS, "timeout")


def test_a_tls_handshake_that_stalls_is_unavailable_because_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = failure(f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)
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
        response = post(server.url, timeout=0.3)
        assert time.monotonic() - began < 10
    assert isinstance(response, Response)
    assert response.truncated


def test_a_request_too_big_to_be_taken_in_time_is_unavailable_because_it_was_not_complete() -> None:
    released = threading.Event()

    def deaf(connection: socket.socket) -> None:
        connection.recv(10)
        released.wait(20)

    with raw_server(deaf) as server:
        error = failure(server.url, timeout=0.3, body=b"x" * 30_000_000)
        released.set()
    assert (error.reason, error.code) == (Reason.UNAVAILABLE, "timeout")


def test_an_answer_that_comes_before_the_request_is_read_still_counts() -> None:
    def hasty(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with raw_server(hasty) as server:
        reply = post(server.url, 5.0, body=b"x" * 3_000_000)
    assert isinstance(reply, Response)
    assert reply.status == 413


def test_a_huge_body_is_read_up_to_the_limit_and_memory_stays_small(sandbox: Sandbox) -> None:
    sandbox.slack.faults.always("huge_body")
    tracemalloc.start()
    response = post(sandbox.slack_api_url + "auth.test")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(response, Response)
    assert response.truncated
    assert len(response.body) == MAX_BODY
    assert peak < 64 * 1024 * 1024


@pytest.mark.parametrize("window", [31, -15])
def test_a_compressed_body_grows_to_the_limit_only(server: RawServer, window: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    packed = packer.compress(b"a" * 50_000_000) + packer.flush()
    server.reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    response = post(server.url)
    assert isinstance(response, Response)
    assert response.truncated
    assert len(response.body) <= MAX_BODY


def test_a_chunked_body_arrives_complete(server: RawServer) -> None:
    server.reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    response = post(server.url)
    assert isinstance(response, Response)
    assert (response.body, response.truncated) == (b"abcde", False)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"", "no_reply"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "no_reply"),
        (b"garbage\r\n\r\n", "bad_reply"),
        (b"HTTP/1.1 2o0 OK\r\n\r\n", "bad_reply"),
        (b"HTTP/1.1 202\x01 Accepted\r\n\r\n", "bad_reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad_reply"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "incomplete_reply"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "incomplete_reply"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000, "endless_reply"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 1_000_000, "endless_reply"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50_000, "endless_reply"),
    ],
)
def test_an_incomplete_head_is_no_reply_and_ambiguous(server: RawServer, reply: bytes, code: str) -> None:
    server.reply = reply
    error = failure(server.url)
    assert (error.reason, error.code) == (Reason.AMBIGUOUS, code)


def test_the_last_reply_counts_and_its_trailers_do_not(server: RawServer) -> None:
    server.reply = (
        b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nX-Many: a\r\nx-many: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: c\r\n\r\n"
    )
    response = post(server.url)
    assert isinstance(response, Response)
    assert response.headers == {"x-many": "a, b", "transfer-encoding": "chunked"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_contains_its_arguments_and_nothing_else(server: RawServer, method: str) -> None:
    server.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    body = b"" if method == "GET" else b"x" * 2_000_000
    client = HttpClient()
    client.request(method, f"{server.url}path?a=b%20c", {"X-One": "\xe9", "X-Empty": ""}, body)
    client.close()
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == f"{method} /api/path?a=b%20c HTTP/1.1".encode()
    assert {b"X-One: \xe9", b"X-Empty:", b"Accept-Encoding: identity"} < set(lines)
    assert not any(line.lower().startswith(b"expect") for line in lines)
    assert sent == body


def test_a_header_that_would_break_out_is_never_sent(server: RawServer) -> None:
    client = HttpClient(1.0)
    with pytest.raises(HttpError) as raised:
        client.request("POST", server.url, {"Authorization": "Bearer a\r\nX: y"}, b"{}")
    client.close()
    assert (raised.value.reason, raised.value.code) == (Reason.UNAVAILABLE, "bad_request")
    assert "Bearer" not in str(raised.value)
    assert server.requests == []


def test_a_machine_without_free_descriptors_is_its_own_trouble() -> None:
    program = """
import os, resource
from alertctl.http.client import HttpClient
from alertctl.http.errors import HttpError
client = HttpClient(5.0)
try:
    client.request("GET", "http://127.0.0.1:1/", {})
except HttpError as error:
    print(error.code)
os.closerange(3, 100)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    client.request("GET", "http://127.0.0.1:1/", {})
except HttpError as error:
    print(error.code, error.reason)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == ["connection_refused", "local_error", "local"]
