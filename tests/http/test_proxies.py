"""Proxies: named by the environment, used unless NO_PROXY exempts the host, and distinguished from the server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from alertctl.errors import Reason
from alertctl.http.client import HttpClient, Response
from alertctl.http.errors import HttpError
from alertctl.http.proxies import proxy_passwords
from alertctl.sandbox import Sandbox
from alertctl.sandbox.certificates import Certificates, Flavour
from tests.support.raw_server import RawServer, raw_server, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy(server: RawServer) -> RawServer:
    server.reply = OK
    return server


@pytest.fixture
def elsewhere() -> Iterator[RawServer]:
    with raw_server() as running:
        running.reply = OK
        yield running


def post(url: str, ca_bundle: str | None = None, timeout: float = 5.0) -> Response:
    client = HttpClient(timeout, ca_bundle)
    try:
        return client.request("POST", url, {"Authorization": "Bearer planted-token"}, b"{}")
    finally:
        client.close()


def failure(url: str, ca_bundle: str | None = None, timeout: float = 5.0) -> HttpError:
    with pytest.raises(HttpError) as raised:
        post(url, ca_bundle, timeout)
    return raised.value


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_environment_names_the_proxy(proxy: RawServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, f"http://user:s%40cret@127.0.0.1:{proxy.port}")
    assert post("http://slack.example/api/x").status == 200
    assert proxy.requests[0].startswith(b"POST http://slack.example/api/x HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpzQGNyZXQ=\r\n" in proxy.requests[0]


@pytest.mark.parametrize(
    "variables",
    [
        {"http_proxy": "{proxy}", "HTTP_PROXY": "127.0.0.1:1"},
        {"http_proxy": "", "HTTP_PROXY": "", "ALL_PROXY": "{proxy}"},
        {"HTTP_PROXY": "{proxy}", "ALL_PROXY": "127.0.0.1:1", "HTTPS_PROXY": "127.0.0.1:1"},
        {"HTTP_PROXY": "127.0.0.1:1", "REQUEST_METHOD": "GET", "ALL_PROXY": "{proxy}"},
        {"HTTP_PROXY": "{proxy}", "NO_PROXY": "localhost,.corp.example,10.0.0.0/8"},
    ],
)
def test_of_several_variables_the_right_one_counts(
    proxy: RawServer, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(proxy=f"127.0.0.1:{proxy.port}"))
    assert post("http://slack.example/api/x").status == 200
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("exempt", ["127.0.0.1", "x.example, 127.0.0.0/8", "*"])
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_hosts_in_no_proxy_are_reached_directly(
    elsewhere: RawServer, monkeypatch: pytest.MonkeyPatch, name: str, exempt: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv(name, exempt)
    assert post(elsewhere.url).status == 200
    assert elsewhere.requests[0].startswith(b"POST /api/ HTTP/1.1\r\n")


def test_a_domain_of_no_proxy_covers_its_hosts(proxy: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", ".invalid")
    assert failure("http://api.invalid/").code in ("dns_failure", "dns_timeout")
    assert proxy.requests == []


def test_a_server_that_is_reached_without_the_proxy_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert failure("http://127.0.0.1:1/").code == "connection_refused"


def test_https_goes_through_a_proxy_as_a_tunnel(tls_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def tunnel(connection: socket.socket) -> None:
        head = read_request(connection)
        host, port = head.split()[1].decode().split(":")
        heads.append(head)
        with socket.create_connection((host, int(port))) as target:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
            join(connection, target)

    heads: list[bytes] = []
    with raw_server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        response = post(tls_sandbox.slack_api_url + "auth.test", tls_sandbox.ca_file)
    assert response.status == 200
    assert "x-proxy" not in response.headers
    assert b"planted-token" not in b"".join(heads)


def test_a_proxys_answer_to_connect_is_never_taken_for_the_servers(
    tls_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []

    def tunnel(connection: socket.socket) -> None:
        heads.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if len(heads) == 1:
            host, port = heads[0].split()[1].decode().split(":")
            # A thread of its own: the second connection comes while the first is still open.
            ends = (connection.dup(), socket.create_connection((host, int(port))))
            threading.Thread(target=join, args=ends, daemon=True).start()

    client, url = HttpClient(5.0, tls_sandbox.ca_file), tls_sandbox.slack_api_url + "auth.test"
    with raw_server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert client.request("POST", url, {}, b"{}").status == 200
        with pytest.raises(HttpError) as raised:
            client.request("POST", url, {}, b"{}", new_connection=True)
    client.close()
    assert (len(heads), raised.value.reason) == (2, Reason.UNAVAILABLE)


def test_a_tunnel_whose_end_is_no_tls_is_not_the_proxys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def tunnel(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        connection.recv(10000)
        connection.sendall(b"220 mail.example ESMTP\r\n")

    with raw_server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = failure("https://slack.example/api/")
    assert (error.reason, error.code) == (Reason.CONFIG, "tls_not_spoken")


def test_a_tunnel_that_ends_before_the_request_is_no_lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def tunnel(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    with raw_server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert failure("https://slack.example/api/").reason is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    ("reply", "reason", "code"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", Reason.CONFIG, "proxy_auth"),
        (b"HTTP/1.1 502 No\r\n\r\n", Reason.CONFIG, "proxy_failed"),
        (b"garbage", Reason.CONFIG, "proxy_failed"),
        (b"", Reason.CONFIG, "proxy_failed"),
    ],
)
def test_a_proxy_that_refuses_is_named(
    proxy: RawServer, monkeypatch: pytest.MonkeyPatch, reply: bytes, reason: Reason, code: str
) -> None:
    proxy.reply = reply
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    error = failure("https://slack.example/api/")
    assert (error.reason, error.code) == (reason, code)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("flavour", "is_trusted", "words"),
    [("good", False, "issuer certificate"), ("expired", True, "expired"), ("wrong_host", True, "subject name")],
)
def test_the_certificate_of_a_proxy_is_not_taken_for_the_servers(
    monkeypatch: pytest.MonkeyPatch, scheme: str, flavour: Flavour, is_trusted: bool, words: str
) -> None:
    def refused_handshake(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), certificates.context.wrap_socket(connection.dup(), server_side=True):
            pass

    with contextlib.closing(Certificates(flavour)) as certificates, raw_server(refused_handshake) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"https://bob:pa55word@127.0.0.1:{proxy.port}")
        error = failure(f"{scheme}://slack.example/api/", ca_bundle=certificates.ca_file if is_trusted else None)
    assert (error.reason, error.code) == (Reason.CONFIG, "proxy_untrusted")
    assert error.detail.startswith(f"the proxy 127.0.0.1:{proxy.port}: ")
    assert words in error.detail


def test_the_certificate_of_a_server_behind_a_proxy_with_tls_is_the_servers(
    tls_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tunnel(connection: socket.socket) -> None:
        with certificates.context.wrap_socket(connection.dup(), server_side=True) as client:
            host, port = read_request(client).split()[1].decode().split(":")
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            join(client, socket.create_connection((host, int(port))))

    with contextlib.closing(Certificates()) as certificates, raw_server(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
        error = failure(tls_sandbox.slack_api_url, ca_bundle=certificates.ca_file)
    assert (error.reason, error.code) == (Reason.CONFIG, "tls_untrusted")


def test_a_proxy_without_tls_is_not_taken_for_a_server_without_tls(
    proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
    error = failure("https://slack.example/api/")
    assert (error.reason, error.code) == (Reason.CONFIG, "proxy_failed")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
def test_a_proxy_that_is_not_there_is_not_taken_for_the_provider(
    monkeypatch: pytest.MonkeyPatch, scheme: str, kind: str
) -> None:
    with raw_server() as gone:
        address = f"127.0.0.1:{gone.port}"
    monkeypatch.setenv("ALL_PROXY", f"{kind}://bob:pa55word@{address}")
    error = failure(f"{scheme}://slack.example/api/")
    assert (error.reason, error.code) == (Reason.CONFIG, "proxy_failed")
    assert error.detail.startswith(f"the proxy {address}: ")
    assert "pa55" not in str(error)


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_proxy_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HTTPS_PROXY", f"{kind}://127.0.0.1:{silent.getsockname()[1]}")
        error = failure("https://slack.example/api/", timeout=0.3)
    assert (error.reason, error.code) == (Reason.CONFIG, "proxy_failed")


@pytest.mark.parametrize(
    "address", ["http://bob:pa55#word@proxy:3128", "http://bob:pa55word@proxy:99999", "ftp://bob:pa55word@proxy:1080"]
)
def test_an_unusable_address_of_a_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    error = failure("https://slack.example/api/")
    assert (error.reason, error.code) == (Reason.CONFIG, "bad_proxy_url")
    assert "pa55" not in error.detail


def test_passwords_of_proxies_are_known_as_written_and_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://bob:p%40ss@proxy:3128")
    monkeypatch.setenv("all_proxy", "carol:secret@proxy")
    assert set(proxy_passwords()) == {"p%40ss", "p@ss", "secret"}


@pytest.mark.parametrize(("kind", "by_name"), [("socks5", False), ("socks5h", True)])
def test_a_socks_proxy_carries_requests_and_may_look_up_the_name(
    elsewhere: RawServer, monkeypatch: pytest.MonkeyPatch, kind: str, by_name: bool
) -> None:
    asked: list[tuple[int, bytes]] = []
    with raw_server(socks_server(("bob", "s@cret"), elsewhere.port, asked)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"{kind}://bob:s%40cret@127.0.0.1:{proxy.port}")
        assert post(f"http://localhost:{elsewhere.port}/api/x").body == b"ok"
    assert elsewhere.requests[0].startswith(b"POST /api/x HTTP/1.1\r\n")
    address_type, address = asked[0]
    assert (address_type == 3, address == b"localhost") == (by_name, by_name)


def test_a_socks_proxy_that_refuses_the_password_is_named(
    elsewhere: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(socks_server(("bob", "right"), elsewhere.port, [])) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"socks5h://bob:planted@127.0.0.1:{proxy.port}")
        error = failure(f"http://localhost:{elsewhere.port}/")
    assert (error.reason, error.code) == (Reason.CONFIG, "proxy_failed")
    assert "planted" not in str(error)


def socks_server(
    credentials: tuple[str, str], port: int, asked: list[tuple[int, bytes]]
) -> Callable[[socket.socket], None]:
    """A SOCKS 5 proxy (RFC 1928, 1929) that connects everybody with the right password to `port` on this machine."""

    def converse(connection: socket.socket) -> None:
        read = connection.makefile("rb").read
        _, methods = read(2)
        read(methods)
        connection.sendall(b"\x05\x02")
        _, length = read(2)
        user = read(length).decode()
        password = read(read(1)[0]).decode()
        if (user, password) != credentials:
            connection.sendall(b"\x01\x01")
            return
        connection.sendall(b"\x01\x00")
        _, _, _, address_type = read(4)
        address = read({1: 4, 4: 16}.get(address_type) or read(1)[0])
        read(2)
        asked.append((address_type, address))
        with socket.create_connection(("127.0.0.1", port)) as target:
            connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            join(connection, target)

    return converse


def join(client: socket.socket, server: socket.socket) -> None:
    """Copy both ways until both sides have ended."""
    with client, server:
        back = threading.Thread(target=_copy, args=(server, client))
        back.start()
        _copy(client, server)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
