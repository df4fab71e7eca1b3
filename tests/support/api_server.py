"""A daemon's API on a loopback port, with tokens for every role, and a caller that speaks plain HTTP."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import uvicorn

from alertctl import users
from alertctl.api import Services, create_app
from alertctl.config import Settings
from alertctl.config.secret_files import SecretFiles
from alertctl.daemon.http_protocol import HttpProtocol
from alertctl.db import Store, Writer
from alertctl.routing import parse_routes, routing_rules_of
from alertctl.schemas import ConnectivityTestResult, EventReceipt

BASE = "/api/v1/notifications"
ARRIVED = ConnectivityTestResult(success=True, message="Test notification sent to #platform-alerts", delivery_id="0190")
ROLES = ("viewer", "analyst", "developer", "admin")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ApiServer:
    """A running API: its address, its store, and its calls into the rest of the daemon."""

    store: Store
    writer: Writer
    settings: Settings
    app: Any = None
    port: int = 0
    woken: int = 0
    accepted: list[EventReceipt] = field(default_factory=list)
    tests: list[tuple[str, str | None, str]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=lambda: {"database": "ok", "scheduler": "off"})
    result: ConnectivityTestResult = ARRIVED
    provider_answers: threading.Event = field(default_factory=threading.Event)
    """Not set: the provider that a test message goes to doesn't answer."""
    routes: object = ()
    """As TOML has them."""
    stopping: bool = True
    """True as in a daemon that shuts down: a stream sends its position and ends, and `wait` ends at once."""

    def wake(self, receipt: EventReceipt | None = None) -> None:
        self.woken += 1

    def test(self, channel: str, to: str | None, by: str, all_defaults: bool) -> ConnectivityTestResult:
        self.tests.append((channel, "all" if all_defaults else to, by))
        assert self.provider_answers.wait(30)
        return self.result

    def services(self) -> Services:
        return Services(
            settings=self.settings,
            jwt_settings=SecretFiles(self.settings, ("JWT_",)).current,
            store=self.store,
            writer=self.writer,
            clock=now,
            rules=replace(routing_rules_of(self.settings), routes=parse_routes(self.routes)),
            wake=self.wake,
            test=self.test,
            readiness=lambda: self.parts,
            metrics=lambda: b"alertctl_events_accepted_total 1.0\n",
            accepted=self.accepted.append,
            stopping=lambda: self.stopping,
        )

    def token(self, name: str, role: str, expires: timedelta | None = None, at: datetime | None = None) -> str:
        """A new token of `name`@corp.example."""
        user = f"{name}@corp.example"
        return self.store.write(lambda it: users.create_token(it, user, role, expires, at or now()))[1]

    def user_id(self, email: str) -> str:
        with self.store.reading() as connection:
            return users.find_user(connection, email).id

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: str | None = "admin",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. `by` is a role's name or a token, None for none; a body that is not bytes goes as JSON."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if by is not None:
            sent["Authorization"] = f"Bearer {self.tokens.get(by, by)}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, names, reply.read())
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """The same below the API's base path."""
        return self.call(method, f"{BASE}{path}", body, **more)


@contextmanager
def running(
    store: Store, *, protocol: type[HttpProtocol] = HttpProtocol, routes: object = (), **sections: Any
) -> Iterator[ApiServer]:
    """Run an API over this store, with a token `<role>` for each role."""
    on = {
        "slack": {"enabled": True},
        "email": {"enabled": True},
        "notification": {"admin_emails": ["ops@corp.example"]},
    }
    writer = Writer(store)
    api = ApiServer(store, writer, Settings.model_validate({**on, **sections}), routes=routes)
    api.tokens = {role: api.token(role, role) for role in ROLES}
    api.provider_answers.set()
    api.app = create_app(api.services())
    server = uvicorn.Server(
        uvicorn.Config(api.app, port=0, http=protocol, lifespan="off", log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        api.port = _port_of(server)
        yield api
    finally:
        server.should_exit = True
        thread.join(10)
        writer.close()


def _port_of(server: uvicorn.Server) -> int:
    waited = threading.Event()
    while not server.started:
        waited.wait(0.005)
    return int(server.servers[0].sockets[0].getsockname()[1])


@cache
def openapi_schema() -> dict[str, Any]:
    """The API's description of itself, without a running daemon (nothing is opened)."""
    idle: Any = None
    api = ApiServer(idle, idle, Settings())
    return create_app(api.services()).openapi()
