"""The HTTP client and its process: forks, Ctrl-C, and a name server that doesn't answer."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertctl.sandbox import Sandbox
from tests.support.raw_server import raw_server, read_request

FORK = """
import os, sys
from alertctl.http.client import HttpClient
url, ca_file, child = sys.argv[1:]
client = HttpClient(10.0, ca_file)
statuses = [client.request("POST", url, {}, b"{}").status]
pid = os.fork()
if pid == 0:
    if child == "closes":
        client.close()
    if child == "uses":
        assert client.request("POST", url, {}, b"{}").status == 200
    if child == "drops":
        del client
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
statuses.append(client.request("POST", url, {}, b"{}").status)
print(statuses)
"""


@pytest.mark.parametrize(("child", "connections"), [("exits", 1), ("closes", 1), ("drops", 1), ("uses", 2)])
def test_a_forked_child_does_not_break_the_parents_tls_connection(
    tls_sandbox: Sandbox, child: str, connections: int
) -> None:
    before = tls_sandbox.slack.connections
    assert tls_sandbox.ca_file is not None
    arguments = [f"{tls_sandbox.slack_api_url}auth.test", tls_sandbox.ca_file, child]
    ended = subprocess.run([sys.executable, "-c", FORK, *arguments], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[200, 200]\n", "")
    assert tls_sandbox.slack.connections - before == connections


REQUEST = 'client.request("POST", url, {}, b"{}")'
STREAM = """
from alertctl.http.client import StreamHandlers
client.stream(url, {}, StreamHandlers(lambda _: True, lambda _: None, lambda: False, 60, 60))
"""


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"])
@pytest.mark.parametrize("work", [REQUEST, STREAM], ids=["request", "stream"])
def test_ctrl_c_ends_what_waits_for_an_answer(work: str, head: bytes) -> None:
    begin = "import sys\nfrom alertctl.http.client import HttpClient\nurl, client = sys.argv[1], HttpClient(60.0)\n"

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        process.send_signal(signal.SIGINT)
        connection.settimeout(30)
        connection.recv(1)

    with raw_server() as server:
        server.conversation = silent
        process = subprocess.Popen([sys.executable, "-c", begin + work, server.url], stderr=subprocess.PIPE, text=True)
        # The time limits above are 60 s.
        _, words = process.communicate(timeout=20)
    assert words.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


NAME_SERVER = "127.0.0.77"
DNS_SECONDS = 25
"""The duration of a look-up in seconds, much longer than any limit below."""


@pytest.fixture
def silent_name_server(tmp_path: Path) -> Iterator[list[str]]:
    """Return the beginning of a command line that runs a program with a name server that never answers."""
    configuration = tmp_path / "resolv.conf"
    configuration.write_text(f"nameserver {NAME_SERVER}\noptions timeout:{DNS_SECONDS} attempts:1\n")
    command = ["unshare", "--mount", "sh", "-c", f'mount --bind {configuration} /etc/resolv.conf && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("only who may mount can give a process a resolv.conf of its own")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        silent.bind((NAME_SERVER, 53))
        yield command


def run_in_time(command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    began = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environ})
    assert time.monotonic() - began < DNS_SECONDS - 5, "it waited for the name server"
    return ended


@pytest.mark.parametrize("close", ["client.close()", "pass"])
def test_a_name_server_that_does_not_answer_holds_up_neither_the_request_nor_the_end(
    silent_name_server: list[str], close: str
) -> None:
    program = f"""
from alertctl.http.client import HttpClient
from alertctl.http.errors import HttpError
client = HttpClient(0.5)
for _ in range(2):
    try:
        client.request("POST", "http://silent.example/", {{}}, b"x")
    except HttpError as error:
        print(error.code, error.sent)
{close}
"""
    ended = run_in_time([*silent_name_server, sys.executable, "-c", program])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "dns_timeout False\n" * 2, "")


ENVIRONMENT = {
    "SLACK_BOT_TOKEN": "xoxb-000000-planted",
    "SLACK_API_URL": "http://silent.example/api/",
    "ALERTCTL_DEADLINE": "1s",
    "EMAIL_ENABLED": "false",
}
SEND = [sys.executable, "-m", "alertctl", "send", "--event", "generic_alert", "--title", "x", "--to", "slack:#ops"]
NOTIFY = "from alertctl import notify; print(notify('generic_alert', title='x', to='slack:#ops', deliver=True).outcome)"


@pytest.mark.parametrize("command", [SEND, [sys.executable, "-c", NOTIFY]], ids=["send", "notify"])
def test_send_and_notify_end_in_time_without_a_name_server(
    silent_name_server: list[str], tmp_path: Path, command: list[str]
) -> None:
    database = f"sqlite:///{tmp_path / 'alertctl.db'}"
    ended = run_in_time([*silent_name_server, *command], DATABASE_URL=database, HOME=str(tmp_path), **ENVIRONMENT)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended
