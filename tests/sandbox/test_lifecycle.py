from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import alertctl.sandbox
from alertctl.sandbox import Sandbox
from tests.support.sandbox_clients import (
    TIMEOUT,
    connect,
    make_email,
    port_of,
    post_message,
    request_bytes,
    send_mail,
    send_request,
)


def send_email(sandbox: Sandbox) -> None:
    with smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port, "client.localhost", TIMEOUT) as client:
        client.send_message(make_email())


def test_the_settings_point_to_the_sandbox_only(sandbox: Sandbox) -> None:
    settings = sandbox.settings()

    assert settings["SLACK_API_URL"] == sandbox.slack_api_url
    assert settings["SLACK_BOT_TOKEN"] == sandbox.slack.token
    assert (settings["SMTP_HOST"], settings["SMTP_PORT"]) == ("127.0.0.1", str(sandbox.smtp_port))
    assert settings["SMTP_SECURITY"] == "none"
    assert settings["SENDGRID_API_KEY"] == ""
    assert all(isinstance(value, str) for value in settings.values())


def test_the_settings_can_choose_sendgrid(sandbox: Sandbox) -> None:
    settings = sandbox.settings(email="sendgrid")

    assert settings["SENDGRID_API_KEY"].startswith("SG.sandbox")
    assert settings["SENDGRID_API_URL"] == sandbox.sendgrid_api_url
    assert not [name for name in settings if name.startswith("SMTP_")]


def test_the_settings_refuse_an_unknown_kind_of_email(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="not 'pigeon'"):
        sandbox.settings(email="pigeon")  # type: ignore[arg-type]


def test_the_listener_receives_each_message() -> None:
    received: list[tuple[str, Any]] = []
    with Sandbox(on_message=lambda provider, message: received.append((provider, message))) as sandbox:
        post_message(sandbox)
        send_mail(sandbox)
        send_email(sandbox)

        assert [provider for provider, _ in received] == ["slack", "sendgrid", "smtp"]
        assert received[0][1] == sandbox.slack.messages[0]


def test_clients_get_their_answer_when_the_listener_fails() -> None:
    def fail(provider: str, message: Any) -> None:
        raise RuntimeError("no")

    with Sandbox(on_message=fail) as sandbox:
        assert post_message(sandbox).json["ok"] is True


def test_waiting_ends_with_the_messages(sandbox: Sandbox) -> None:
    later = threading.Timer(0.05, post_message, [sandbox])
    later.start()

    assert [message.text for message in sandbox.slack.wait_for(1, timeout=TIMEOUT)] == ["hello"]
    later.join()


def test_a_wait_that_times_out_names_the_number_of_messages(sandbox: Sandbox) -> None:
    post_message(sandbox)

    with pytest.raises(TimeoutError, match=r"slack accepted 1 of 2 messages within 0\.01 s"):
        sandbox.slack.wait_for(2, timeout=0.01)


def test_clear_forgets_messages_calls_and_faults(sandbox: Sandbox) -> None:
    post_message(sandbox, "#flaky")
    post_message(sandbox)
    sandbox.slack.faults.always("http_500")

    sandbox.clear()

    assert sandbox.slack.messages == []
    assert sandbox.slack.calls == []
    assert post_message(sandbox).status == 200
    assert post_message(sandbox, "#flaky").status == 503


def test_many_clients_at_once_are_all_served(sandbox: Sandbox) -> None:
    def work(number: int) -> None:
        connection = connect(sandbox.slack_api_url)
        for _ in range(10):
            body = {"channel": f"#c{number}", "text": "x"}
            assert send_request(connection, "/api/chat.postMessage", body, key=sandbox.slack.token).json["ok"]
        connection.close()

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))

    assert len(sandbox.slack.messages) == 640
    assert sandbox.slack.connections == 64


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        Sandbox(host=host).start()


def test_localhost_is_loopback() -> None:
    with Sandbox(host="localhost") as sandbox:
        assert sandbox.slack_api_url.startswith("http://localhost:")
        assert post_message(sandbox).json["ok"] is True


def test_a_port_can_be_chosen_and_a_taken_one_is_named(sandbox: Sandbox) -> None:
    port = sandbox.smtp_port
    with pytest.raises(OSError, match=f"can't listen on 127.0.0.1 port {port}"):
        Sandbox(smtp_port=port).start()

    sandbox.close()
    with Sandbox(smtp_port=port) as second:
        assert second.smtp_port == port
        send_email(second)


def test_records_stay_readable_after_close(sandbox: Sandbox) -> None:
    post_message(sandbox)
    sandbox.close()
    sandbox.close()

    assert len(sandbox.slack.messages) == 1
    with pytest.raises(ConnectionRefusedError):
        post_message(sandbox)


@pytest.mark.parametrize("fault", ["stall", "black_hole", "drip", "endless_headers", "huge_body", "ok"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_closing_does_not_wait_for_open_calls(fault: str, tls: bool) -> None:
    threads = set(threading.enumerate())
    sandbox = Sandbox(tls=tls).start()
    sandbox.slack.faults.always(fault)
    connection = socket.create_connection(("127.0.0.1", port_of(sandbox.slack_api_url)), TIMEOUT)
    data = request_bytes("/api/chat.postMessage", sandbox.slack.token, {"channel": "#a", "text": "x"})
    if tls and fault != "black_hole":
        context = ssl.create_default_context(cafile=sandbox.ca_file)
        connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
    connection.sendall(data)
    if fault in ("drip", "endless_headers", "huge_body", "ok"):
        connection.recv(1)

    begin = time.monotonic()
    sandbox.close()

    assert time.monotonic() - begin < 10
    assert set(threading.enumerate()) <= threads
    connection.close()


def test_closing_does_not_wait_for_a_tls_handshake() -> None:
    sandbox = Sandbox(tls=True).start()
    with socket.create_connection(("127.0.0.1", port_of(sandbox.slack_api_url)), TIMEOUT):
        while not sandbox.slack.connections:
            time.sleep(0.001)
        begin = time.monotonic()
        sandbox.close()

    assert time.monotonic() - begin < 10


def test_tls_is_trusted_with_the_sandboxs_authority_only() -> None:
    with Sandbox(tls=True) as sandbox:
        assert sandbox.ca_file
        assert sandbox.settings()["ALERTCTL_CA_BUNDLE"] == sandbox.ca_file
        assert sandbox.settings()["SMTP_SECURITY"] == "starttls"
        for host in ("127.0.0.1", "localhost"):
            connection = connect(sandbox.slack_api_url.replace("127.0.0.1", host), sandbox.ca_file)
            assert send_request(connection, "/api/auth.test", {}, key=sandbox.slack.token).json["ok"] is True
            connection.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            post_message(sandbox)
        with pytest.raises((ConnectionError, OSError)):
            send_request(connect(sandbox.slack_api_url.replace("https", "http")), "/api/auth.test")
    assert not Path(sandbox.ca_file).exists()


@pytest.mark.parametrize(("tls", "words"), [("expired", "has expired"), ("wrong_host", "IP address mismatch")])
def test_a_certificate_can_be_a_bad_one(tls: Any, words: str) -> None:
    with Sandbox(tls=tls) as sandbox, pytest.raises(ssl.SSLCertVerificationError, match=words):
        send_request(connect(sandbox.slack_api_url, sandbox.ca_file), "/api/auth.test")


@pytest.mark.parametrize("wrong", [{"tls": "shaky"}, {"smtp_tls": "never"}, {"chaos": "slack"}])
def test_invalid_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Sandbox(**wrong).start()


def run_python(code: str) -> str:
    root = str(Path(alertctl.sandbox.__file__).parents[2])
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_it_loads_no_package_but_its_own() -> None:
    code = (
        "import sys; before = set(sys.modules); import alertctl.sandbox;"
        "names = {n.partition('.')[0] for n in set(sys.modules) - before};"
        "print(sorted(n for n in names if n not in sys.stdlib_module_names))"
    )
    assert run_python(code) == "['alertctl']"


def test_it_imports_nothing_else_of_alertctl() -> None:
    code = (
        "import sys, alertctl; before = set(sys.modules); import alertctl.sandbox;"
        "print([n for n in set(sys.modules) - before if n.startswith('alertctl.')"
        " and not n.startswith('alertctl.sandbox')])"
    )
    assert run_python(code) == "[]"


def test_nothing_stays_open_under_the_strictest_interpreter() -> None:
    code = (
        "import gc, socket\n"
        "from alertctl.sandbox import Sandbox\n"
        "for tls in (False, True):\n"
        "    with Sandbox(tls=tls) as s:\n"
        "        c = socket.create_connection((s.smtp_host, s.smtp_port)); c.recv(10)\n"
        "        d = socket.create_connection(('127.0.0.1', int(s.sendgrid_api_url.rsplit(':')[-1])))\n"
        "    c.close(); d.close()\n"
        "del s; gc.collect(); print('clean')\n"
    )
    assert run_python(code) == "clean"
