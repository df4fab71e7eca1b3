"""The base of the HTTP providers: responses over kept connections, altered by faults."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TypeVar

from alertctl.sandbox.connection import ClientConnection
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.http import BadRequest, HttpRequest, HttpResponse, read_request
from alertctl.sandbox.http_faults import Exchange, apply_connect_fault, apply_fault
from alertctl.sandbox.provider import Provider
from alertctl.sandbox.recorder import HttpCall, now

M = TypeVar("M")


class HttpProvider(Provider[M, HttpCall]):
    """The base class of Slack and SendGrid."""

    @abstractmethod
    def addresses(self, request: HttpRequest) -> list[str]:
        """Return the addresses of the message in this request; empty without a message."""

    @abstractmethod
    def respond(self, request: HttpRequest) -> HttpResponse:
        """Return the true response. Record the message if it is valid."""

    @abstractmethod
    def refusal(self, status: int) -> HttpResponse:
        """Return this provider's response for an HTTP status."""

    async def serve(self, connection: ClientConnection, early: Fault | None) -> None:
        while early is None and await self._exchange(connection):
            await connection.wait_for_byte()
            early = self.faults.choose("connect")
        if early is not None:
            await apply_connect_fault(connection, early)

    async def _exchange(self, connection: ClientConnection) -> bool:
        """Handle one request. Return whether the connection stays open."""
        try:
            request = await read_request(connection)
        except BadRequest as error:
            await connection.send(self.refusal(error.status).encode(keep_alive=False))
            return False
        fault = self.faults.choose("request", self.addresses(request))
        self._record(request, fault, connection.number)
        if self.latency:
            await asyncio.sleep(self.latency)
        response = await self._respond(connection, request, fault)
        if response is not None:
            await connection.send(response.encode(keep_alive=request.keep_alive))
        return response is not None and request.keep_alive

    async def _respond(
        self, connection: ClientConnection, request: HttpRequest, fault: Fault | None
    ) -> HttpResponse | None:
        if fault is None:
            return self.respond(request)
        exchange = Exchange(connection, fault, lambda: self.respond(request), self.refusal, self.drip_interval)
        return await apply_fault(exchange)

    def _record(self, request: HttpRequest, fault: Fault | None, connection_number: int) -> None:
        call = HttpCall(
            self.name,
            request.method,
            request.path,
            request.headers,
            request.head,
            request.body,
            str(fault or ""),
            connection_number,
            now(),
        )
        self.recorder.add_call(call)
