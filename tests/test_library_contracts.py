"""The few places that hook into a library's undocumented parts: what each relies on, checked against the library.

A test that fails here names the hook to look at before the library's upper bound in pyproject.toml is raised.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import io
import signal
import smtplib
import socket
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
import uvicorn
from dotenv.parser import parse_stream
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sqlalchemy.engine import make_url
from typer.core import TyperGroup
from typer.testing import CliRunner
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from alertctl.cli.errors import UsageMistake
from alertctl.db import postgres

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OVERRIDDEN = [
    (HttpToolsProtocol, "connection_made", ["transport"]),
    (HttpToolsProtocol, "connection_lost", ["exc"]),
    (HttpToolsProtocol, "data_received", ["data"]),
    (HttpToolsProtocol, "on_headers_complete", []),
    (HttpToolsProtocol, "on_message_complete", []),
    (HttpToolsProtocol, "shutdown", []),
    (HttpToolsProtocol, "send_400_response", ["msg"]),
    (uvicorn.Server, "capture_signals", []),
    (uvicorn.Server, "startup", ["sockets"]),
    (smtplib.SMTP, "send", ["s"]),
    (smtplib.SMTP, "getreply", []),
]


class ScriptedSmtp(smtplib.SMTP):
    """Records what smtplib sends, and answers it from `replies`. It has no socket."""

    def __init__(self, *replies: tuple[int, bytes]) -> None:
        super().__init__(local_hostname="client.example")
        self.replies = list(replies)
        self.sent: list[str] = []

    def send(self, s: Any) -> None:
        self.sent.append(s)

    def getreply(self) -> tuple[int, bytes]:
        return self.replies.pop(0)


class CountingConnection(postgres.Connection):
    """Counts the generators that the driver waits for, and the steps it takes in them."""

    waits = 0
    steps = 0

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        type(self).waits += 1
        return super().wait(self._counted(gen), *args, **kwargs)

    def _counted(self, steps: Any) -> Any:
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                type(self).steps += 1
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("name", ["uvicorn", "psycopg", "python-dotenv", "typer"])
def test_a_library_that_is_hooked_into_has_an_upper_bound(name: str) -> None:
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["postgres"]]
    (requirement,) = (known for known in map(Requirement, lines) if known.name == name)
    assert "<" in {each.operator for each in requirement.specifier}


@pytest.mark.parametrize(("owner", "method", "parameters"), OVERRIDDEN)
def test_an_overridden_method_still_exists_with_its_parameters(owner: type, method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(vars(owner)[method]).parameters) == ["self", *parameters]


def test_uvicorn_has_a_status_line_for_every_refusal() -> None:
    assert STATUS_LINE[400] == b"HTTP/1.1 400 Bad Request\r\n"
    assert STATUS_LINE[431] == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


def test_uvicorn_leaves_signals_alone_when_capture_signals_does_and_lists_its_sockets_once_started() -> None:
    ports: list[int] = []
    before = signal.getsignal(signal.SIGTERM)

    class Server(uvicorn.Server):
        def capture_signals(self) -> Any:
            return nullcontext()

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            assert self.started
            assert signal.getsignal(signal.SIGTERM) == before
            ports.append(self.servers[0].sockets[0].getsockname()[1])
            self.should_exit = True

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("no request is made")

    Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None)).run()
    assert ports[0] > 0


def test_psycopg_waits_for_every_answer_through_wait_and_steps_while_none_comes(postgres_url: str) -> None:
    url = make_url(postgres_url)
    named = url.translate_connect_args(username="user", database="dbname")
    connection = CountingConnection.connect(**named, **url.query)
    for act in (lambda: connection.execute("SELECT 1"), connection.commit):
        before = CountingConnection.waits
        act()
        assert CountingConnection.waits > before
    before = CountingConnection.steps
    connection.execute("SELECT pg_sleep(1)")
    assert CountingConnection.steps - before >= 5
    connection.close()


def test_psycopg_still_calls_wait_with_a_generator() -> None:
    assert list(inspect.signature(psycopg.Connection.wait).parameters)[:2] == ["self", "gen"]


def test_smtplib_speaks_only_through_send_and_getreply() -> None:
    connection = ScriptedSmtp((250, b"hello\nSIZE 1000\nAUTH PLAIN"), (250, b"ok"), (250, b"ok"), (354, b"go"))
    assert connection.ehlo()[0] == 250
    assert (connection.does_esmtp, connection.esmtp_features["size"]) == (True, "1000")
    assert connection.ehlo_resp == b"hello\nSIZE 1000\nAUTH PLAIN"
    assert connection.helo()[0] == connection.rset()[0] == 250
    assert connection.helo_resp == b"ok"
    assert connection.docmd("DATA", "now") == (354, b"go")
    connection.putcmd("QUIT")
    lines = ["ehlo client.example", "helo client.example", "rset", "DATA now", "QUIT"]
    assert connection.sent == [f"{line}\r\n" for line in lines]


def test_smtplib_reads_from_file_and_closes_it_with_the_socket() -> None:
    connection = smtplib.SMTP(local_hostname="client.example")
    assert (connection.sock, connection.file, connection.command_encoding) == (None, None, "ascii")
    server, connection.sock = socket.socketpair()
    with server:
        file = connection.file = connection.sock.makefile("rb")
        connection.close()
        assert (connection.sock, connection.file) == (None, None)
        assert file.closed
        assert server.recv(1) == b""


def with_dependencies(lines: list[str], known: set[str]) -> set[str]:
    """Return the names of these distributions, of all that they require, and of those in `known`."""
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        if name in known or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        further = map(Requirement, importlib.metadata.requires(name) or [])
        needed = [str(line) for line in further if line.marker is None or any(map(line.marker.evaluate, extras))]
        known = with_dependencies([line.partition(";")[0] for line in needed], known | {name})
    return known


def test_alertctl_imports_only_what_its_installation_brings_along() -> None:
    optional = PROJECT["optional-dependencies"]
    installed = with_dependencies([*PROJECT["dependencies"], *optional["postgres"], *optional["sandbox"]], set())
    distributions = importlib.metadata.packages_distributions()
    undeclared = {
        (file.relative_to(ROOT).as_posix(), name)
        for file in (ROOT / "alertctl").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in imported(node)
        if name not in (*sys.stdlib_module_names, "alertctl")
        and installed.isdisjoint(map(canonicalize_name, distributions.get(name, [])))
    }
    assert undeclared == set()


def imported(node: ast.AST) -> list[str]:
    """Return the top-level packages that an import statement names."""
    if isinstance(node, ast.ImportFrom):
        return [str(node.module).partition(".")[0]]
    return [alias.name.partition(".")[0] for alias in node.names] if isinstance(node, ast.Import) else []


def test_the_dotenv_parser_returns_faulty_lines_with_their_text_and_first_line() -> None:
    text = "A=1\nexport B='two ${A}'\n# comment\n\nC='open\nD"
    bindings = list(parse_stream(io.StringIO(text)))
    assert "".join(binding.original.string for binding in bindings) == text
    assert [(binding.key, binding.value) for binding in bindings if not binding.error and binding.key] == [
        ("A", "1"),
        ("B", "two ${A}"),
        ("D", None),
    ]
    (faulty,) = (binding.original for binding in bindings if binding.error)
    blank = len(faulty.string) - len(faulty.string.lstrip())
    assert faulty.string.strip() == "C='open"
    assert faulty.line + faulty.string.count("\n", 0, blank) == 5


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["--nothing"], ["run"], ["run", "x", "--nothing"], ["run", "x"]]
)
def test_every_usage_mistake_of_typer_has_the_base_class_with_a_message_and_an_exit_code(arguments: list[str]) -> None:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, callback=lambda: None)

    @app.command()
    def run(number: int) -> None:
        raise AssertionError(f"{number} is not a number")

    with pytest.raises(UsageMistake) as raised:
        typer.main.get_command(app).main(arguments, prog_name="app", standalone_mode=False)
    mistake: Any = raised.value
    assert mistake.exit_code == 2
    assert mistake.format_message()
    assert mistake.ctx.command_path.startswith("app")


class LazyCommands(Mapping[str, Any]):
    """Two commands; records which are built."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        self.built.append(name)
        app = typer.Typer()
        app.command(name)(lambda: typer.echo(f"ran {name}"))
        return typer.main.get_command(app)

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        return iter(["first", "second"])

    def __len__(self) -> int:
        return 2


def test_a_typer_group_builds_only_the_command_that_runs_from_a_lazy_mapping() -> None:
    groups: list[LazyGroup] = []

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.lazy = self.commands = LazyCommands()  # type: ignore[assignment]
            groups.append(self)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.lazy)

    app = typer.Typer(cls=LazyGroup, callback=lambda: None)
    assert CliRunner().invoke(app, ["second"]).stdout == "ran second\n"
    assert set(groups[-1].lazy.built) == {"second"}
    assert "Did you mean 'first'?" in " ".join(CliRunner().invoke(app, ["frist"]).stderr.split())
    assert groups[-1].lazy.built == []
