"""The faults of the providers. `KINDS` lists them; `Faults` decides when one applies."""

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
    """A kind of fault. In `form`, NNN is a status, COUNT a number above 0, other capitals after a colon any text.

    `stage` is when it applies: when a connection is made (`connect`), at a request or a mail transaction (`request`),
    or at that SMTP command; `session` is chosen with the connection and lasts as long as it. With a "true answer" in
    `meaning`, the message is checked and recorded as without the fault.
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
    Kind("slow:SECONDS", HTTP, "request", "the true answer, after that many seconds, then closes"),
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
    Kind("slow_dot:SECONDS", SMTP, "request", "the true answer to the final dot, after that many seconds"),
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
    """A fault with its value and count, each None if its kind has none."""

    name: str
    stage: str
    value: str | None = None
    count: int | None = None

    @property
    def step(self) -> str:
        """The SMTP step that the fault refuses, if it refuses one."""
        return self.name.removesuffix("_limit")

    @property
    def text(self) -> str:
        return self.value or ""

    @property
    def status(self) -> int:
        return int(self.value or 0)

    def check_address(self) -> None:
        """Raise ValueError for a fault that applies before an address is known."""
        if self.stage not in ("connect", "request"):
            raise ValueError(f"{self} strikes before an address is known")

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.name, self.value, self.count) if part is not None)


def parse_fault(text: str, provider: str) -> Fault:
    """Parse a fault. Raises ValueError when `provider` has no such fault."""
    for kind in KINDS:
        if provider in kind.providers and (match := re.fullmatch(kind.pattern, text, re.DOTALL)):
            value, count = match.groupdict().get("value"), match.groupdict().get("count")
            if kind.name == "raw" and value:
                unescaped = value.encode("latin-1", "backslashreplace").decode("unicode_escape")
                return raw(unescaped.encode("latin-1", "replace"))
            return Fault(kind.name, kind.stage, value, int(count) if count else None)
    known = ", ".join(kind.form for kind in KINDS if provider in kind.providers)
    raise ValueError(f"{provider} knows no fault {text!r}; it knows: {known}")


def raw(data: bytes) -> Fault:
    """Return the fault `raw`: the response is exactly these bytes, then the connection is closed."""
    return Fault("raw", "request", data.decode("latin-1"))


def reply(body: bytes) -> Fault:
    """Return the fault `reply` with this body, which need not be text."""
    return Fault("reply", "request", body.decode("utf-8", "surrogateescape"))


def normalize(address: str) -> str:
    """Return the address for comparison: in lower case, a channel without its `#`."""
    return address.strip().lower().removeprefix("#")


@dataclass(slots=True)
class _Rule:
    fault: Fault | None
    chance: float = 1.0
    rng: random.Random | None = None

    def applies_at(self, stage: str) -> bool:
        if self.fault is None:
            return stage == "request"
        return self.fault.stage == stage and self.happens()

    def happens(self) -> bool:
        """Return whether the fault happens this time, by its chance."""
        return self.rng is None or self.rng.random() < self.chance


class Faults:
    """Decides which fault applies, in this order: script, address, always, sometimes, built-in addresses.

    A fault is a `Fault`, its text, or "ok" for none. All methods may be called from any thread.
    """

    def __init__(self, provider: str, built_in: Mapping[str, str]) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._script: deque[_Rule] = deque()
        self._by_address: dict[str, _Rule] = {}
        self._always: list[_Rule] = []
        self._sometimes: list[_Rule] = []
        self._built_in = {address: self._parse(text) for address, text in built_in.items()}
        self._failed_flaky: set[str] = set()

    def always(self, fault: str | Fault) -> None:
        """Apply this fault to every request until `clear`."""
        with self._lock:
            self._always = [_Rule(self._parse(fault))]

    def then(self, *faults: str | Fault) -> None:
        """Apply these faults to the next requests, one each, in order; "ok" for none."""
        with self._lock:
            self._script.extend(_Rule(self._parse(fault)) for fault in faults)

    def sometimes(self, fault: str | Fault, chance: float, seed: int | None = None) -> None:
        """Apply this fault to each request with a chance from 0 to 1."""
        with self._lock:
            self._sometimes.append(_Rule(self._parse(fault), _check_chance(chance), random.Random(seed)))

    def at(self, address: str, fault: str | Fault, chance: float = 1.0, seed: int | None = None) -> None:
        """Apply this fault to requests to an address (`#name`, `a@b`, or `a@` for any domain); "ok" for none at all.

        The address is known after the request was read: faults of the stage `connect` apply then.
        """
        parsed = self._parse(fault)
        if parsed is not None:
            parsed.check_address()
        rule = _Rule(parsed, _check_chance(chance), random.Random(seed))
        with self._lock:
            self._by_address[normalize(address)] = rule

    def clear(self) -> None:
        """Remove all faults but those of the built-in addresses."""
        with self._lock:
            self._script.clear()
            self._by_address.clear()
            self._always.clear()
            self._sometimes.clear()

    def forget_flaky(self) -> None:
        """Let each `flaky` address fail once more."""
        with self._lock:
            self._failed_flaky.clear()

    def choose(self, stage: str, addresses: Iterable[str] = ()) -> Fault | None:
        """Return the fault that applies now, if any. Use up the script's next entry if it is of this stage."""
        with self._lock:
            if self._script and self._script[0].applies_at(stage):
                return self._script.popleft().fault or self._built_in_fault(addresses)
            if (rule := self._find_rule(addresses)) is not None:
                return rule.fault
            for rule in (*self._always, *self._sometimes):
                if rule.applies_at(stage):
                    return rule.fault
            return self._built_in_fault(addresses)

    def choose_address(self, address: str) -> Fault | None:
        """Return the fault of this address, for a protocol that names it after the request."""
        with self._lock:
            rule = self._find_rule([address])
            return rule.fault if rule else self._built_in_fault([address])

    def _parse(self, fault: str | Fault) -> Fault | None:
        if isinstance(fault, Fault):
            return fault
        return None if fault == "ok" else parse_fault(fault, self._provider)

    def _find_rule(self, addresses: Iterable[str]) -> _Rule | None:
        for key in (key for address in addresses for key in _keys(address)):
            rule = self._by_address.get(key)
            if rule and rule.happens():
                return rule
        return None

    def _built_in_fault(self, addresses: Iterable[str]) -> Fault | None:
        for address in map(normalize, addresses):
            for key in _keys(address):
                if key in self._built_in and address not in self._failed_flaky:
                    if key.startswith("flaky"):
                        self._failed_flaky.add(address)
                    return self._built_in[key]
        return None


def _keys(address: str) -> tuple[str, ...]:
    address = normalize(address)
    local, at, _ = address.partition("@")
    return (address, local + at) if at else (address,)


def _check_chance(chance: float) -> float:
    if not 0 <= chance <= 1:
        raise ValueError(f"a chance is a number from 0 to 1, not {chance!r}")
    return chance
