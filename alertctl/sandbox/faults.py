"""What can go wrong with a provider. `KINDS` is the one table; `Faults` says when one of them strikes."""

from __future__ import annotations

import random
import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HTTP = ("slack", "sendgrid")
SMTP = ("smtp",)
ALL = (*HTTP, *SMTP)


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table. In `form`, NNN is a status, COUNT a number above 0, other capitals after a colon any text.

    `stage` is when it strikes: as a connection is made (`connect`), at a request or a mail transaction (`request`),
    or at that SMTP command; `session` is chosen with the connection and lasts as long as it. Where an answer is called
    true, the message is judged and kept as if nothing were wrong.
    """

    form: str
    providers: tuple[str, ...]
    stage: str
    meaning: str

    @property
    def name(self) -> str:
        return "dot" if self.form == "NNN" else self.form.partition(":")[0].removesuffix("_NNN")

    @property
    def pattern(self) -> str:
        pattern = re.escape(self.form).replace("NNN", "(?P<value>[1-5][0-9][0-9])")
        pattern = pattern.replace("COUNT", "(?P<count>[1-9][0-9]*)")
        return re.sub(r":[A-Z]+$", lambda _: ":(?P<value>.*)", pattern)


KINDS = (
    Kind("http_NNN", HTTP, "request", "this HTTP status with a fitting body and no other hint; not kept"),
    Kind("429", HTTP, "request", "HTTP 429 without Retry-After; not kept"),
    Kind("429:VALUE", HTTP, "request", "HTTP 429 with this Retry-After, verbatim (may be empty); not kept"),
    Kind("429_body:SECONDS", HTTP, "request", "HTTP 429 that names retry_after in the body only; not kept"),
    Kind("429_reset:EPOCH", HTTP, "request", "HTTP 429 with this X-RateLimit-Reset, verbatim; not kept"),
    Kind("slack:CODE", ("slack",), "request", "HTTP 200, ok false and this error; not kept"),
    Kind("reply:BODY", HTTP, "request", "HTTP 200 application/json with this body, verbatim; not kept"),
    Kind("raw:BYTES", HTTP, "request", r"these bytes (\r \n \xNN are understood), then closes; not kept"),
    Kind("html_200", HTTP, "request", "HTTP 200 with a proxy's HTML page; not kept"),
    Kind("empty_200", HTTP, "request", "HTTP 200 without a body; not kept"),
    Kind("close_before_reading", ALL, "connect", "closes before it reads anything; not kept"),
    Kind("close_after_request", HTTP, "request", "reads the whole request, then closes; not kept"),
    Kind("accept_then_close", HTTP, "request", "keeps the message, closes without an answer"),
    Kind("rst", ALL, "request", "reads the whole request or message, then resets the connection; not kept"),
    Kind("half_headers", HTTP, "request", "the true answer, cut in its headers, then closes"),
    Kind("short_body", HTTP, "request", "the true answer, with a Content-Length beyond its end, then closes"),
    Kind("stall", HTTP, "request", "never answers; not kept"),
    Kind("drip", HTTP, "request", "the true answer, padded to 600 bytes and more, one byte a second"),
    Kind("endless_headers", HTTP, "request", "headers without end; not kept"),
    Kind("huge_body", HTTP, "request", "HTTP 200 and 1 GB of body, chunked; not kept"),
    Kind("gzip", HTTP, "request", "the true answer, gzip-encoded"),
    Kind("gzip_bomb", HTTP, "request", "HTTP 200 and 1 MB of gzip that unpacks to 1 GB; not kept"),
    Kind("bogus_charset", HTTP, "request", "the true answer, said to be in a charset that doesn't exist"),
    Kind("invalid_utf8", HTTP, "request", "the true answer with bytes in it that are no UTF-8"),
    Kind("redirect_302:URL", HTTP, "request", "HTTP 302 to this address; not kept"),
    Kind("redirect_307:URL", HTTP, "request", "HTTP 307 to this address; not kept"),
    Kind("103_then_200", HTTP, "request", "HTTP 103, then the true answer"),
    Kind("no_ts", ("slack",), "request", "the true answer without its ts"),
    Kind("no_message_id", ("sendgrid",), "request", "the true answer without its X-Message-Id"),
    Kind("black_hole", ALL, "connect", "the connection is accepted, then nothing is read or written ever"),
    Kind("greeting_NNN", SMTP, "connect", "this status instead of 220, then closes"),
    Kind("greeting_garbage", SMTP, "connect", "a greeting that isn't SMTP, then closes"),
    Kind("greeting_silence", SMTP, "connect", "no greeting"),
    Kind("drip", SMTP, "connect", "the greeting, one byte a second"),
    Kind("ehlo_refused", SMTP, "ehlo", "502 to EHLO, 550 to HELO"),
    Kind("starttls_NNN", SMTP, "starttls", "this status to STARTTLS"),
    Kind("auth_NNN", SMTP, "auth", "this status to AUTH (421 closes, too)"),
    Kind("mail_NNN", SMTP, "request", "this status to MAIL (421 closes, too)"),
    Kind("rcpt_NNN", SMTP, "request", "this status to RCPT (421 closes, too)"),
    Kind("data_NNN", SMTP, "request", "this status to DATA (421 closes, too)"),
    Kind("dot_NNN", SMTP, "request", "this status after the final dot (421 closes, too); not kept unless 2xx"),
    Kind("NNN", SMTP, "request", "short for dot_NNN"),
    Kind("close_after_dot", SMTP, "request", "keeps the message, closes without a reply"),
    Kind("drop_after_dot", SMTP, "request", "closes after the final dot; not kept"),
    Kind("stall_after_dot", SMTP, "request", "never answers the final dot; not kept"),
    Kind("close_idle", SMTP, "request", "takes the message with a 250, closes the connection a moment later"),
    Kind("mail_limit_NNN:COUNT", SMTP, "session", "this status to MAIL once the connection has carried COUNT messages"),
    Kind("rcpt_limit_NNN:COUNT", SMTP, "session", "this status to RCPT once the connection has carried COUNT messages"),
    Kind("data_limit_NNN:COUNT", SMTP, "session", "this status to DATA once the connection has carried COUNT messages"),
    Kind("dot_limit_NNN:COUNT", SMTP, "session", "this status after the final dot from message COUNT + 1 on; not kept"),
    Kind("rset_NNN", SMTP, "rset", "this status to RSET (421 closes, too)"),
    Kind("quit_NNN", SMTP, "quit", "this status to QUIT, then closes"),
    Kind("quit_drop", SMTP, "quit", "closes at QUIT without a reply"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table with its value and count, each None where the row takes none."""

    name: str
    stage: str
    value: str | None = None
    count: int | None = None

    @property
    def step(self) -> str:
        """The SMTP step that is refused, for faults that refuse one."""
        return self.name.removesuffix("_limit")

    @property
    def status(self) -> int:
        return int(self.value or 0)

    def check_address(self) -> None:
        """ValueError when it strikes before an address is known, so that it can't be bound to one."""
        if self.stage not in ("connect", "request"):
            raise ValueError(f"{self} strikes before an address is known")

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.name, self.value, self.count) if part is not None)


def parse_fault(text: str, provider: str) -> Fault:
    """The fault that `text` names; ValueError when `provider` knows no such fault."""
    for kind in KINDS:
        if provider in kind.providers and (match := re.fullmatch(kind.pattern, text, re.DOTALL)):
            value, count = match.groupdict().get("value"), match.groupdict().get("count")
            if kind.name == "raw" and value:
                return _unescaped(value)
            return Fault(kind.name, kind.stage, value, int(count) if count else None)
    known = ", ".join(kind.form for kind in KINDS if provider in kind.providers)
    raise ValueError(f"{provider} knows no fault {text!r}; it knows: {known}")


def _unescaped(text: str) -> Fault:
    return raw(text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1", "replace"))


def raw(data: bytes) -> Fault:
    """The fault `raw`: exactly these bytes are the answer, then the connection is closed."""
    return Fault("raw", "request", data.decode("latin-1"))


def reply(body: bytes) -> Fault:
    """The fault `reply` for a body that need not be text."""
    return Fault("reply", "request", body.decode("utf-8", "surrogateescape"))


def normal(address: str) -> str:
    """Addresses are compared without case, channels without their `#`."""
    return address.strip().lower().removeprefix("#")


@dataclass(slots=True)
class _Rule:
    fault: Fault | None
    address: str | None = None
    chance: float = 1.0
    dice: random.Random | None = None

    def strikes(self, stage: str) -> bool:
        if self.fault is None:
            return stage == "request"
        return self.fault.stage == stage and (self.dice is None or self.dice.random() < self.chance)


class Faults:
    """When faults strike. Asked in this order: the script, the address, always, sometimes, the built-in addresses.

    A fault is its text, a `Fault`, or "ok" for none. All methods may be called from any thread.
    """

    raw = staticmethod(raw)
    reply = staticmethod(reply)

    def __init__(self, provider: str, built_in: Mapping[str, str]) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._script: deque[_Rule] = deque()
        self._by_address: dict[str, _Rule] = {}
        self._always: _Rule | None = None
        self._sometimes: list[_Rule] = []
        self._built_in = {address: self._fault(text) for address, text in built_in.items()}
        self._flaky_seen: set[str] = set()

    def always(self, fault: str | Fault) -> None:
        """Every request meets this fault, until `clear`."""
        with self._lock:
            self._always = _Rule(self._fault(fault))

    def then(self, *faults: str | Fault) -> None:
        """The next requests meet these faults, one each, in order; "ok" for none."""
        with self._lock:
            self._script.extend(_Rule(self._fault(fault)) for fault in faults)

    def sometimes(self, fault: str | Fault, chance: float, seed: int | None = None) -> None:
        """Each request meets this fault with a chance of 0..1."""
        with self._lock:
            self._sometimes.append(_Rule(self._fault(fault), None, _chance(chance), random.Random(seed)))

    def at(self, address: str, fault: str | Fault, chance: float = 1.0, seed: int | None = None) -> None:
        """Requests to this address (`#name`, `a@b`, or `a@` for any domain) meet this fault; "ok" for none at all.

        An address is known when the request has been read: faults of the stage `connect` strike then.
        """
        found = self._fault(fault)
        if found is not None:
            found.check_address()
        rule = _Rule(found, normal(address), _chance(chance), random.Random(seed))
        with self._lock:
            self._by_address[normal(address)] = rule

    def clear(self) -> None:
        """No faults any more, but those of the built-in addresses."""
        with self._lock:
            self._script.clear()
            self._by_address.clear()
            self._always = None
            self._sometimes.clear()

    def forget(self) -> None:
        """A `flaky` address fails once more."""
        with self._lock:
            self._flaky_seen.clear()

    def choose(self, stage: str, addresses: Iterable[str] = ()) -> Fault | None:
        """The fault that strikes now, if any. Uses up one entry of the script when that is of this stage."""
        with self._lock:
            if self._script and self._script[0].strikes(stage):
                return self._script.popleft().fault or self._from_address(addresses)
            if (rule := self._named(addresses)) is not None:
                return rule.fault
            for rule in (*([self._always] if self._always else []), *self._sometimes):
                if rule.strikes(stage):
                    return rule.fault
            return self._from_address(addresses)

    def choose_address(self, addresses: Iterable[str]) -> Fault | None:
        """The fault of one of these addresses; for a protocol in which the address comes later than the request."""
        with self._lock:
            rule = self._named(addresses)
            return rule.fault if rule else self._from_address(addresses)

    def _fault(self, fault: str | Fault) -> Fault | None:
        if isinstance(fault, Fault):
            return fault
        return None if fault == "ok" else parse_fault(fault, self._provider)

    def _named(self, addresses: Iterable[str]) -> _Rule | None:
        for key in (key for address in addresses for key in _keys(address)):
            rule = self._by_address.get(key)
            if rule and (rule.dice is None or rule.dice.random() < rule.chance):
                return rule
        return None

    def _from_address(self, addresses: Iterable[str]) -> Fault | None:
        for address in addresses:
            for key in _keys(address):
                if (fault := self._built_in.get(key)) and not self._recovered(key, normal(address)):
                    return fault
        return None

    def _recovered(self, key: str, address: str) -> bool:
        """Whether this is a flaky address that has failed before."""
        if not key.startswith("flaky"):
            return False
        known = address in self._flaky_seen
        self._flaky_seen.add(address)
        return known


def _keys(address: str) -> tuple[str, ...]:
    address = normal(address)
    local, at, _ = address.partition("@")
    return (address, local + at) if at else (address,)


def _chance(chance: float) -> float:
    if not 0 <= chance <= 1:
        raise ValueError(f"a chance is a number from 0 to 1, not {chance!r}")
    return chance
