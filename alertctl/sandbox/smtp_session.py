"""One SMTP session: the states of RFC 5321, and the faults at each step."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from alertctl.sandbox.connection import ClientConnection, ConnectionEnded, LimitExceeded
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.records import SmtpCall, SmtpMessage, now
from alertctl.sandbox.smtp_auth import authenticate, decode, encode

if TYPE_CHECKING:
    from alertctl.sandbox.smtp import Smtp

MAX_LINE = 64 * 1024
CLOSE_IDLE_SECONDS = 0.05
"""Seconds after which the fault `close_idle` closes the connection."""
MAIL = re.compile(r"FROM:\s*<([^<>]*)>\s*(.*)", re.IGNORECASE | re.DOTALL)
RCPT = re.compile(r"TO:\s*<([^<>]+)>\s*(.*)", re.IGNORECASE | re.DOTALL)
DEFAULT_TEXTS = {
    220: "2.0.0 Ready",
    421: "4.3.2 Service not available, closing",
    450: "4.2.0 Mailbox unavailable",
    451: "4.3.0 Local error, try again later",
    452: "4.2.2 Mailbox full",
    454: "4.7.0 Temporary failure",
    535: "5.7.8 Authentication credentials invalid",
    550: "5.1.1 No such user here",
    552: "5.2.2 Storage exceeded",
    554: "5.0.0 Transaction failed",
}


class SessionEnd(Exception):
    """The server ends the session: send pending output and close."""


class SmtpSession:
    """Runs until the client quits or closes, or a fault ends it."""

    def __init__(self, server: Smtp, connection: ClientConnection) -> None:
        self._server = server
        self._connection = connection
        self._greeted = False
        self._helo_refused = False
        self._authenticated = False
        self._mail: SmtpCall | None = None
        self._fault: Fault | None = None
        self._limit = server.faults.choose("session")
        self._accepted = 0
        self._verbs: dict[str, Callable[[str], Awaitable[None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail_from,
            "RCPT": self._rcpt_to,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
        }

    async def run(self, early: Fault | None) -> None:
        """Serve the client. `early` is the fault that applied when it connected."""
        try:
            await self._greet(early)
            while True:
                await self._handle(await self._read_line())
        except (SessionEnd, LimitExceeded):
            pass

    # --- lines and replies ---

    async def _read_line(self) -> str:
        line = await self._connection.read_until(b"\n", MAX_LINE)
        return line.decode("utf-8", "surrogateescape").rstrip("\r\n")

    async def _handle(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        if self._mail is not None:
            self._mail.commands.append(line)
        handler = self._verbs.get(verb.upper())
        await (handler(rest.strip()) if handler else self._reply(500, "5.5.2 Command not recognized"))

    async def _reply(self, status: int, *lines: str) -> None:
        """Send one reply of one or more lines. A 421 ends the session, as in RFC 5321."""
        lines = lines or (DEFAULT_TEXTS.get(status, f"{str(status)[0]}.0.0 The sandbox says so"),)
        reply = [f"{status}-{line}" for line in lines[:-1]] + [f"{status} {lines[-1]}"]
        if self._mail is not None:
            self._mail.replies.append("\n".join(reply))
        await self._connection.send("".join(f"{line}\r\n" for line in reply).encode())
        if status == 421:
            raise SessionEnd

    async def _refuse_step(self, step: str) -> bool:
        """Refuse this step if that is the transaction's fault. Return whether it was refused."""
        if self._fault is None or self._fault.step != step:
            return False
        await self._refuse(self._fault)
        return True

    async def _refuse(self, fault: Fault) -> None:
        text = [f"{fault.status // 100}.5.3 Too many messages on this connection"] if fault.count else []
        await self._reply(fault.status, *text)

    async def _reply_with_fault(self, stage: str) -> bool:
        """Reply with the status of this stage's fault. Return whether there is one."""
        fault = self._server.faults.choose(stage)
        if fault is not None:
            await self._reply(fault.status)
        return fault is not None

    # --- before any mail ---

    async def _greet(self, early: Fault | None) -> None:
        greeting = f"220 {self._server.hostname} ESMTP sandbox\r\n".encode()
        if early is None:
            await self._connection.send(greeting)
        elif early.name == "drip":
            await self._connection.drip(greeting, self._server.drip_interval)
        elif early.name == "greeting_silence":
            await self._connection.stall()
        elif early.name == "black_hole":
            await self._connection.ignore()
        elif early.name == "close_before_reading":
            raise SessionEnd
        elif early.name == "greeting_garbage":
            await self._connection.send(b"\x00\xffThis is not SMTP.\r\n")
            raise SessionEnd
        else:
            await self._reply(early.status)
            raise SessionEnd

    async def _ehlo(self, _: str) -> None:
        if self._server.faults.choose("ehlo"):
            self._helo_refused = True
            await self._reply(502, "5.5.1 Command not implemented")
            return
        self._reset(greeted=True)
        extensions = [f"SIZE {self._server.size_limit}", "8BITMIME", "SMTPUTF8"]
        if self._can_start_tls:
            extensions.append("STARTTLS")
        elif self._server.credentials:
            extensions.append("AUTH PLAIN LOGIN")
        await self._reply(250, self._server.hostname, *extensions)

    async def _helo(self, _: str) -> None:
        if self._helo_refused:
            await self._reply(550, "5.7.1 Access denied")
            return
        self._reset(greeted=True)
        await self._reply(250, self._server.hostname)

    @property
    def _can_start_tls(self) -> bool:
        return self._server.tls is not None and not self._connection.encrypted

    async def _starttls(self, _: str) -> None:
        if await self._reply_with_fault("starttls"):
            return
        if self._server.tls is None or self._connection.encrypted:
            await self._reply(502, "5.5.1 Command not implemented")
            return
        await self._reply(220)
        await self._connection.start_tls(self._server.tls)
        self._reset(greeted=False)

    async def _auth(self, rest: str) -> None:
        if await self._reply_with_fault("auth"):
            return
        if self._server.credentials is None or self._authenticated:
            await self._reply(503, "5.5.1 AUTH is not available")
        elif self._can_start_tls:
            await self._reply(530, "5.7.0 Must issue a STARTTLS command first")
        else:
            mechanism, _, initial = rest.partition(" ")
            status, text = await authenticate(self._server, mechanism, initial, self._ask)
            self._authenticated = status == 235
            await self._reply(status, text)

    async def _ask(self, prompt: str) -> str:
        await self._reply(334, encode(prompt))
        return decode(await self._read_line())

    # --- a mail transaction ---

    def _reset(self, *, greeted: bool) -> None:
        self._greeted = greeted
        self._mail = None
        self._fault = None

    async def _mail_from(self, rest: str) -> None:
        match = MAIL.fullmatch(rest)
        if not self._greeted or self._mail is not None:
            await self._reply(503, "5.5.1 Bad sequence of commands")
        elif self._server.credentials and not self._authenticated:
            await self._reply(530, "5.7.0 Authentication required")
        elif match is None:
            await self._reply(501, "5.5.4 Syntax: MAIL FROM:<address>")
        elif problem := self._parameter_problem(match[1], match[2].upper().split()):
            await self._reply(*problem)
        else:
            await self._begin(match[1], f"MAIL {rest}")

    def _parameter_problem(self, address: str, parameters: list[str]) -> tuple[int, str] | None:
        if not address.isascii() and "SMTPUTF8" not in parameters:
            return 553, "5.6.7 Non-ASCII address without SMTPUTF8"
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "SIZE" and value.isdigit():
                if int(value) > self._server.size_limit:
                    return 552, "5.3.4 Message too big"
            elif parameter not in ("BODY=8BITMIME", "BODY=7BIT", "SMTPUTF8"):
                return 555, "5.5.4 Parameter not recognized"
        return None

    async def _begin(self, mail_from: str, line: str) -> None:
        reached = self._limit is not None and self._accepted >= (self._limit.count or 0)
        self._fault = self._limit if reached else self._server.faults.choose("request")
        fault, connection = str(self._fault or ""), self._connection
        self._mail = SmtpCall(mail_from, fault, connection.number, now(), connection.encrypted, commands=[line])
        self._server.add_call(self._mail)
        if await self._refuse_step("mail"):
            self._reset(greeted=True)
        else:
            await self._reply(250, "2.1.0 Sender OK")

    async def _rcpt_to(self, rest: str) -> None:
        match = RCPT.fullmatch(rest)
        if self._mail is None:
            await self._reply(503, "5.5.1 Need MAIL first")
        elif match is None or match[2]:
            await self._reply(501, "5.5.4 Syntax: RCPT TO:<address>")
        elif not await self._apply_recipient_fault(match[1], self._mail):
            self._mail.rcpt_tos.append(match[1])
            await self._reply(250, "2.1.5 Recipient OK")

    async def _apply_recipient_fault(self, address: str, mail: SmtpCall) -> bool:
        """Apply the recipient's fault and return whether it was refused. A fault chosen at MAIL takes precedence."""
        fault = self._fault or self._server.faults.choose_address([address])
        if fault is None:
            return False
        mail.fault = str(fault)
        if fault.step in ("rcpt", "mail"):
            await self._refuse(fault)
            return True
        if fault.stage == "connect":
            await self._greet(fault)
            raise SessionEnd
        self._fault = fault
        return False

    async def _data(self, _: str) -> None:
        if self._mail is None or not self._mail.rcpt_tos:
            await self._reply(503, "5.5.1 Need RCPT first")
        elif not await self._refuse_step("data"):
            await self._reply(354, "End data with <CR><LF>.<CR><LF>")
            await self._receive(self._mail)
            if self._server.latency:
                await asyncio.sleep(self._server.latency)
            await self._conclude(self._mail, self._fault)
        self._reset(greeted=True)

    async def _receive(self, mail: SmtpCall) -> None:
        self._connection.put_back(b"\r\n")  # an empty message ends with its first line
        try:
            stuffed = await self._connection.read_until(b"\r\n.\r\n", self._server.size_limit)
        except LimitExceeded:
            await self._reply(552, "5.3.4 Message too big")
            raise SessionEnd from None
        mail.data = stuffed.replace(b"\r\n.", b"\r\n")[2:-2]

    async def _conclude(self, mail: SmtpCall, fault: Fault | None) -> None:
        """Reply to the final dot, or apply the fault instead."""
        name = fault.name if fault else ""
        status = fault.status if fault and fault.step == "dot" else 250
        if name == "rst":
            self._connection.reset()
            raise ConnectionEnded
        if name == "stall_after_dot":
            await self._connection.stall()
        if name == "drop_after_dot":
            raise SessionEnd
        if status // 100 == 2:
            self._accepted += 1
            self._server.add_messages(SmtpMessage(mail.mail_from, list(mail.rcpt_tos), mail.data, mail.at))
        if name == "close_after_dot":
            raise SessionEnd
        await (self._refuse(fault) if fault and status != 250 else self._reply(250, "2.0.0 Message accepted"))
        if name == "close_idle":
            await asyncio.sleep(CLOSE_IDLE_SECONDS)
            raise SessionEnd

    # --- at any time ---

    async def _rset(self, _: str) -> None:
        if await self._reply_with_fault("rset"):
            return
        self._reset(greeted=self._greeted)
        await self._reply(250, "2.0.0 OK")

    async def _noop(self, _: str) -> None:
        await self._reply(250, "2.0.0 OK")

    async def _vrfy(self, _: str) -> None:
        await self._reply(252, "2.5.0 Cannot verify, but will take a message")

    async def _quit(self, _: str) -> None:
        fault = self._server.faults.choose("quit")
        if fault is None or fault.name == "quit":
            await self._reply(fault.status if fault else 221, *([] if fault else ["2.0.0 Bye"]))
        raise SessionEnd
