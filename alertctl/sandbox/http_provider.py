"""The base of the HTTP providers: responses over kept connections, altered by faults."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import replace
from typing import TypeVar

from alertctl.sandbox.connection import ClientConnection
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.http import BadRequest, HttpCall, HttpResponse, read_request
from alertctl.sandbox.http_faults import Exchange, apply_fault
from alertctl.sandbox.provider import Provider

M = TypeVar("M")


class HttpProvider(Provider[M, HttpCall]):
    @abstractmethod
    def addresses(self, request: HttpCall) -> list[str]:
        """Return the addresses of the message in this request; empty without a message."""

    @abstractmethod
    def respond(self, request: HttpCall) -> HttpResponse:
        """Return the true response. Record the message if it is valid."""

    @abstractmethod
    def refusal(self, status: int) -> HttpResponse:
        """Return this provider's response for an HTTP status."""

    async def serve(self, connection: ClientConnection, early: Fault | None) -> None:
        while early is None and await self._exchange(connection):
            await connection.wait_for_byte()
            early = self.faults.choose("connect")
        if early is not None and early.name == "black_hole":
            await connection.ignore()

    async def _exchange(self, connection: ClientConnection) -> bool:
        """Handle one request. Return whether the connection stays open."""
        try:
            request = await read_request(connection)
        except BadRequest as error:
            await connection.send(self.refusal(error.status).encode(keep_alive=False))
            return False
        fault = self.faults.choose("request", self.addresses(request))
        self.add_call(replace(request, fault=str(fault or "")))
        if self.latency:
            await asyncio.sleep(self.latency)
        if fault is None:
            response = self.respond(request)
        else:
            exchange = Exchange(connection, fault, lambda: self.respond(request), self.refusal, self.drip_interval)
            altered = await apply_fault(exchange)
            if altered is None:
                return False
            response = altered
        await connection.send(response.encode(keep_alive=request.keep_alive))
        return request.keep_alive
