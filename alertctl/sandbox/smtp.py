"""A local SMTP server (RFC 5321). It accepts every message, delivers none, and applies faults at each step."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable

from alertctl.sandbox.connection import ClientConnection, ConnectionEnded, LimitExceeded
from alertctl.sandbox.faults import Fault
from alertctl.sandbox.provider import OnMessage, Provider
from alertctl.sandbox.records import SmtpCall, SmtpMessage, now
from alertctl.sandbox.smtp_auth import MECHANISMS, Credentials, decode, encode, read_credentials
from alertctl.sandbox.smtp_replies import DEFAULT_TEXTS, FIXED_REPLIES

MAX_LINE = 64 * 1024
CLOSE_IDLE_SECONDS = 0.05
"""Seconds after which the fault `close_idle` closes the connection."""
MAIL = re.compile(r"FROM:\s*<([^<>]*)>\s*(.*)", re.IGNORECASE | re.DOTALL)
RCPT = re.compile(r"TO:\s*<([^<>]+)>\s*(.*)", re.IGNORECASE | re.DOTALL)


class SmtpSandbox(Provider[SmtpMessage, SmtpCall]):
    """When `credentials` (user, password) are set, AUTH is required; `auth_error` refuses even the right ones.

    `offered` are the mechanisms that EHLO lists, `mechanisms` those that work. `oauth_token` is the token for XOAUTH2.
    `logins` lists the mechanism of each AUTH. Recipients outside `relays` (domains; None: all) are refused with 5.7.1.
    `tls` is offered as STARTTLS, except on a connection that is encrypted already (implicit TLS).
    """

    name = "smtp"
    built_in = {  # noqa: RUF012  (a ClassVar in the base class)
        "missing@": "rcpt_550",
        "full@": "rcpt_452",
        "flaky@": "rcpt_451",
    }

    credentials: Credentials | None = None
    oauth_token = ""
    offered: tuple[str, ...] = ("PLAIN", "LOGIN")
    mechanisms: tuple[str, ...] = MECHANISMS
    ignores_initial_response = False
    relays: tuple[str, ...] | None = None
    hostname = "sandbox.localhost"
    size_limit = 30 * 1024 * 1024
    """Bytes of one message."""
    tls: ssl.SSLContext | None = None

    def __init__(self, on_message: OnMessage | None = None) -> None:
        super().__init__(on_message)
        self.logins: list[str] = []

    def clear(self) -> None:
        super().clear()
        self.logins.clear()

    async def serve(self, connection: ClientConnection, early: Fault | None) -> None:
        await SmtpServerSession(self, connection).run(early)


class SessionEnd(Exception):
    """The server ends the session: send pending output and close."""


class Refused(Exception):
    """The server refuses a command with this reply."""

    def __init__(self, status: int, *text: str, ends_mail: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.ends_mail = ends_mail


class SmtpServerSession:
    """Runs until the client quits or closes, or a fault ends it."""

    def __init__(self, server: SmtpSandbox, connection: ClientConnection) -> None:
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
        try:
            if handler is None:
                await self._reply(*FIXED_REPLIES.get(verb.upper(), (500, "5.5.2 Command not recognized")))
            else:
                await handler(rest.strip())
        except Refused as refused:
            await self._reply(refused.status, *refused.text)
            if refused.ends_mail:
                self._reset(greeted=True)

    async def _reply(self, status: int, *lines: str) -> None:
        """Send one reply of one or more lines. A 421 ends the session, as in RFC 5321."""
        lines = lines or (DEFAULT_TEXTS.get(status, f"{str(status)[0]}.0.0 Refused by the sandbox"),)
        reply = [f"{status}-{line}" for line in lines[:-1]] + [f"{status} {lines[-1]}"]
        if self._mail is not None:
            self._mail.replies.append("\n".join(reply))
        await self._connection.send("".join(f"{line}\r\n" for line in reply).encode())
        if status == 421:
            raise SessionEnd

    def _refuse_at(self, stage: str) -> None:
        """Raise Refused if there is a fault of this stage."""
        if fault := self._server.faults.choose(stage):
            raise Refused(fault.status)

    def _refuse_step(self, step: str) -> None:
        """Raise Refused, and end the transaction, if its fault refuses this step."""
        if self._fault is not None and self._fault.step == step:
            raise _refused(self._fault, ends_mail=True)

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
            raise Refused(502, "5.5.1 Command not implemented")
        self._reset(greeted=True)
        extensions = [f"SIZE {self._server.size_limit}", "8BITMIME", "SMTPUTF8"]
        if self._can_start_tls:
            extensions.append("STARTTLS")
        elif self._server.credentials:
            extensions.append(f"AUTH {' '.join(self._server.offered)}")
        await self._reply(250, self._server.hostname, *extensions)

    async def _helo(self, _: str) -> None:
        if self._helo_refused:
            raise Refused(550, "5.7.1 Access denied")
        self._reset(greeted=True)
        await self._reply(250, self._server.hostname)

    @property
    def _can_start_tls(self) -> bool:
        return self._server.tls is not None and not self._connection.encrypted

    async def _starttls(self, _: str) -> None:
        self._refuse_at("starttls")
        if self._server.tls is None or self._connection.encrypted:
            raise Refused(502, "5.5.1 Command not implemented")
        await self._reply(220)
        await self._connection.start_tls(self._server.tls)
        self._reset(greeted=False)

    async def _auth(self, rest: str) -> None:
        self._server.logins.append(rest.partition(" ")[0].upper())
        self._refuse_at("auth")
        if self._server.credentials is None or self._authenticated:
            raise Refused(503, "5.5.1 AUTH is not available")
        if self._can_start_tls:
            raise Refused(530, "5.7.0 Must issue a STARTTLS command first")
        mechanism, _, initial = rest.partition(" ")
        if mechanism.upper() not in self._server.mechanisms:
            raise Refused(504, "5.5.4 Unrecognized authentication type")
        try:
            credentials = await read_credentials(
                mechanism.upper(), initial, self._ask, ignore_initial=self._server.ignores_initial_response
            )
        except ValueError:
            raise Refused(501, "5.5.2 Cannot decode response") from None
        user, password = self._server.credentials
        expected = (user, self._server.oauth_token if mechanism.upper() == "XOAUTH2" else password)
        if self._server.auth_error or credentials != expected:
            if mechanism.upper() == "XOAUTH2":
                await self._ask('{"status":"400"}')
            raise Refused(535, f"5.7.8 {self._server.auth_error or 'Authentication credentials invalid'}")
        self._authenticated = True
        await self._reply(235, "2.7.0 Authentication successful")

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
            raise Refused(503, "5.5.1 Bad sequence of commands")
        if self._server.credentials and not self._authenticated:
            raise Refused(530, "5.7.0 Authentication required")
        if match is None:
            raise Refused(501, "5.5.4 Syntax: MAIL FROM:<address>")
        self._check_parameters(match[1], match[2].upper().split())
        reached = self._limit is not None and self._accepted >= (self._limit.count or 0)
        self._fault = self._limit if reached else self._server.faults.choose("request")
        fault, connection = str(self._fault or ""), self._connection
        self._mail = SmtpCall(match[1], fault, connection.number, now(), connection.encrypted)
        self._mail.commands.append(f"MAIL {rest}")
        self._server.add_call(self._mail)
        self._refuse_step("mail")
        await self._reply(250, "2.1.0 Sender OK")

    def _check_parameters(self, address: str, parameters: list[str]) -> None:
        if not address.isascii() and "SMTPUTF8" not in parameters:
            raise Refused(553, "5.6.7 Non-ASCII address without SMTPUTF8")
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "SIZE" and value.isdigit():
                if int(value) > self._server.size_limit:
                    raise Refused(552, "5.3.4 Message too big")
            elif parameter not in ("BODY=8BITMIME", "BODY=7BIT", "SMTPUTF8"):
                raise Refused(555, "5.5.4 Parameter not recognized")

    async def _rcpt_to(self, rest: str) -> None:
        match = RCPT.fullmatch(rest)
        if self._mail is None:
            raise Refused(503, "5.5.1 Need MAIL first")
        if match is None or match[2]:
            raise Refused(501, "5.5.4 Syntax: RCPT TO:<address>")
        if self._server.relays is not None and match[1].rpartition("@")[2].lower() not in self._server.relays:
            raise Refused(554, f"5.7.1 <{match[1]}>: Relay access denied")
        # A fault chosen at MAIL takes precedence over the recipient's.
        fault = self._fault or self._server.faults.choose_address(match[1])
        if fault is not None:
            self._mail.fault = str(fault)
            if fault.step in ("rcpt", "mail"):
                raise _refused(fault)
            if fault.stage == "connect":
                await self._greet(fault)
                raise SessionEnd
            self._fault = fault
        self._mail.rcpt_tos.append(match[1])
        await self._reply(250, "2.1.5 Recipient OK")

    async def _data(self, _: str) -> None:
        if self._mail is None or not self._mail.rcpt_tos:
            raise Refused(503, "5.5.1 Need RCPT first", ends_mail=True)
        self._refuse_step("data")
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
        if name == "slow_dot" and fault:
            await asyncio.sleep(float(fault.text))
        if name == "drop_after_dot":
            raise SessionEnd
        if status // 100 == 2:
            self._accepted += 1
            self._server.add_messages(SmtpMessage(mail.mail_from, list(mail.rcpt_tos), mail.data, mail.at))
        if name == "close_after_dot":
            raise SessionEnd
        if fault is not None and status != 250:
            raise _refused(fault, ends_mail=True)
        await self._reply(250, "2.0.0 Message accepted")
        if name == "close_idle":
            await asyncio.sleep(CLOSE_IDLE_SECONDS)
            raise SessionEnd

    # --- at any time ---

    async def _rset(self, _: str) -> None:
        self._refuse_at("rset")
        self._reset(greeted=self._greeted)
        await self._reply(250, "2.0.0 OK")

    async def _quit(self, _: str) -> None:
        fault = self._server.faults.choose("quit")
        if fault is None or fault.name == "quit":
            await self._reply(fault.status if fault else 221, *([] if fault else ["2.0.0 Bye"]))
        raise SessionEnd


def _refused(fault: Fault, *, ends_mail: bool = False) -> Refused:
    text = [f"{fault.status // 100}.5.3 Too many messages on this connection"] if fault.count else []
    return Refused(fault.status, *text, ends_mail=ends_mail)
