"""A provider that speaks HTTP: honest answers over kept connections, or what the faults make of them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TypeVar

from alertctl.sandbox.connection import Wire
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.http import Answer, BadRequest, Request, read_request
from alertctl.sandbox.http_faults import Exchange, misbehave, misbehave_unread
from alertctl.sandbox.provider import Provider
from alertctl.sandbox.recorder import Call, now

M = TypeVar("M")


class HttpProvider(Provider[M, Call]):
    """Slack and SendGrid are one each."""

    @abstractmethod
    def addresses(self, request: Request) -> list[str]:
        """Where the message in this request is to go; empty when it has none."""

    @abstractmethod
    def respond(self, request: Request) -> Answer:
        """The true answer. Accepts the message, if there is a good one."""

    @abstractmethod
    def refusal(self, status: int) -> Answer:
        """This HTTP status the way this provider puts it."""

    async def serve(self, wire: Wire, early: Fault | None) -> None:
        while early is None and await self._exchange(wire):
            await wire.first_byte()
            early = self.faults.choose("connect")
        if early is not None:
            await misbehave_unread(wire, early)

    async def _exchange(self, wire: Wire) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        try:
            request = await read_request(wire)
        except BadRequest as error:
            await wire.send(self.refusal(error.status).encode(keep_alive=False))
            return False
        fault = self.faults.choose("request", self.addresses(request))
        self._note(request, fault, wire.number)
        if self.latency:
            await asyncio.sleep(self.latency)
        answer = await self._answer(wire, request, fault)
        if answer is not None:
            await wire.send(answer.encode(keep_alive=request.keep_alive))
        return answer is not None and request.keep_alive

    async def _answer(self, wire: Wire, request: Request, fault: Fault | None) -> Answer | None:
        if fault is None:
            return self.respond(request)
        exchange = Exchange(wire, fault, lambda: self.respond(request), self.refusal, self.drip_interval)
        return await misbehave(exchange)

    def _note(self, request: Request, fault: Fault | None, connection: int) -> None:
        call = Call(
            self.name,
            request.method,
            request.path,
            request.headers,
            request.head,
            request.body,
            str(fault or ""),
            connection,
            now(),
        )
        self.recorder.called(call)
