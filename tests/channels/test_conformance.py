"""One suite for Slack, SendGrid and SMTP: a provider's behaviour and the result of the delivery.

What is retried, and when, follows from the reason alone (`alertctl.retry`); what the log shows is the code.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from alertctl.channels.base import Channel, OutgoingMessage, Receipt, SendResult
from alertctl.errors import DeliveryError, Reason
from alertctl.sandbox import Sandbox
from tests.support.providers import ALERT, PASSWORD, ProviderHarness, harnesses

UNAVAILABLE, AMBIGUOUS, CONFIG = Reason.UNAVAILABLE, Reason.AMBIGUOUS, Reason.CONFIG
BAD_ADDRESS, REJECTED, LIMITED = Reason.BAD_ADDRESS, Reason.REJECTED, Reason.RATE_LIMITED
DONE = None
SHORT = 0.3
"""Seconds of deadline for faults that only end with it."""


@dataclass(frozen=True)
class Case:
    """`code`: several, with "or", where it is a matter of which packet arrives first. `calls`: complete requests or
    transactions that the provider saw; never more than one."""

    provider: str
    fault: str
    reason: Reason | None
    code: str = ""
    wait: float | None = None
    entire_provider: bool = False
    calls: int = 1
    deadline: float = 5.0

    def __str__(self) -> str:
        return f"{self.provider}-{self.fault}".replace("/", "_")


def of_each(providers: str, *rows: tuple[object, ...], **common: object) -> list[Case]:
    return [Case(provider, *row, **common) for provider in providers.split() for row in rows]  # type: ignore[arg-type]


HTTP = [
    *of_each(
        "slack sendgrid",
        ("http_500", UNAVAILABLE, "http_500"),
        ("http_502", UNAVAILABLE, "http_502"),
        ("http_503", UNAVAILABLE, "http_503"),
        ("http_504", UNAVAILABLE, "http_504"),
        ("http_400", REJECTED, "http_400"),
        ("http_413", REJECTED, "http_413"),
        ("http_415", REJECTED, "http_415"),
        ("http_404", CONFIG, "http_404"),
        ("http_408", UNAVAILABLE, "http_408"),
        ("http_201", AMBIGUOUS, "http_201"),
        ("http_204", AMBIGUOUS, "http_204"),
        ("http_301", CONFIG, "http_301"),
        ("http_308", CONFIG, "http_308"),
        ("close_after_request", AMBIGUOUS, "no_reply"),
        ("accept_then_close", AMBIGUOUS, "no_reply"),
        ("rst", AMBIGUOUS, "connection_reset"),
        ("half_headers", AMBIGUOUS, "incomplete_reply"),
        ("endless_headers", AMBIGUOUS, "endless_reply"),
        (r"raw:garbage\r\n\r\n", AMBIGUOUS, "bad_reply"),
        (r"raw:HTTP/1.1 200 OK\r\nContent-Le", AMBIGUOUS, "incomplete_reply"),
        (r"raw:HTTP/1.1 100 Continue\r\n\r\n", AMBIGUOUS, "no_reply"),
        ("raw:", AMBIGUOUS, "no_reply"),
        ("gzip", DONE),
        ("bogus_charset", DONE),
        ("103_then_200", DONE),
    ),
    *of_each("slack sendgrid", ("close_before_reading", AMBIGUOUS, "no_reply or connection_reset"), calls=0),
    *of_each("slack sendgrid", ("black_hole", AMBIGUOUS, "timeout"), calls=0, deadline=SHORT),
    *of_each("slack sendgrid", ("stall", AMBIGUOUS, "timeout"), ("drip", AMBIGUOUS, "timeout"), deadline=SHORT),
]

LIMITS = [
    ("429:1", 1.0),
    ("429:30", 30.0),
    ("429:3600", 3600.0),
    ("429:0", 1.0),
    ("429:-1", 1.0),
    ("429:1.5", 1.5),
    ("429:abc", 30.0),
    ("429:", 30.0),
    ("429:nan", 30.0),
    ("429:inf", 3600.0),
    ("429:Wed, 21 Oct 2015 07:28:00 GMT", 1.0),
    ("429:Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
    ("429:Wed, 99 Oct 2015 99:99:99 GMT", 30.0),
    ("429:1000000000000", 3600.0),
    ("429", 30.0),
    ("429_body:7", 7.0),
    ("429_reset:1", 1.0),
    ("429_reset:4102444800", 3600.0),
    ("429_reset:soon", 30.0),
]

LIMITED_BY = [
    *(Case("slack", fault, LIMITED, "ratelimited", wait=wait) for fault, wait in LIMITS),
    *(Case("sendgrid", fault, LIMITED, "http_429", wait=wait, entire_provider=True) for fault, wait in LIMITS),
    Case("slack", "slack:rate_limited", LIMITED, "rate_limited", wait=30.0),
    Case("slack", "slack:message_limit_exceeded", LIMITED, "message_limit_exceeded", wait=30.0, entire_provider=True),
]

SLACK = of_each(
    "slack",
    ('reply:{"ok":"false"}', AMBIGUOUS, "bad_reply"),
    ('reply:{"ok":1,"ts":"1.2"}', AMBIGUOUS, "bad_reply"),
    ('reply:{"ok":true}', AMBIGUOUS, "no_ts"),
    ('reply:{"ok":true,"ts":""}', AMBIGUOUS, "no_ts"),
    ('reply:{"ok":true,"ts":12}', AMBIGUOUS, "no_ts"),
    ('reply:{"ok":false}', AMBIGUOUS, "bad_reply"),
    ('reply:{"ok":false,"error":{}}', AMBIGUOUS, "bad_reply"),
    ("reply:[]", AMBIGUOUS, "bad_reply"),
    ("reply:null", AMBIGUOUS, "bad_reply"),
    ('reply:"ok"', AMBIGUOUS, "bad_reply"),
    ("reply:" + "[" * 5000, AMBIGUOUS, "bad_reply"),
    ("html_200", AMBIGUOUS, "bad_reply"),
    ("empty_200", AMBIGUOUS, "bad_reply"),
    ("no_ts", AMBIGUOUS, "no_ts"),
    ("invalid_utf8", AMBIGUOUS, "bad_reply"),
    ("short_body", AMBIGUOUS, "incomplete_reply"),
    ("huge_body", AMBIGUOUS, "incomplete_reply"),
    ("gzip_bomb", AMBIGUOUS, "incomplete_reply"),
    ("http_403", CONFIG, "http_403"),
    (r"raw:HTTP/1.1 401 No\r\n\r\n<html>Log in</html>", CONFIG, "http_401"),
    (r"raw:HTTP/1.1 403 No\r\n\r\n<html>Blocked</html>", CONFIG, "http_403"),
    ("slack:invalid_auth", CONFIG, "invalid_auth"),
    ("slack:token_revoked", CONFIG, "token_revoked"),
    ("slack:channel_not_found", BAD_ADDRESS, "channel_not_found"),
    ("slack:is_archived", BAD_ADDRESS, "is_archived"),
    ("slack:invalid_blocks", REJECTED, "invalid_blocks"),
    ("slack:service_unavailable", UNAVAILABLE, "service_unavailable"),
    ("slack:fatal_error", AMBIGUOUS, "fatal_error"),
    ("slack:a_code_from_the_future", REJECTED, "a_code_from_the_future"),
)

SENDGRID = of_each(
    "sendgrid",
    ("no_message_id", DONE),
    (r"raw:HTTP/1.1 202 Accepted\r\nX-Message-Id: abc", AMBIGUOUS, "incomplete_reply"),
    ("empty_200", AMBIGUOUS, "bad_reply"),
    ("html_200", AMBIGUOUS, "bad_reply"),
    ("huge_body", AMBIGUOUS, "bad_reply"),
    ("gzip_bomb", AMBIGUOUS, "bad_reply"),
    (r"raw:HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", REJECTED, "http_400"),
    (r"raw:HTTP/1.1 400 Bad Request\r\nContent-Length: 15\r\n\r\n<html>no</html>", REJECTED, "http_400"),
    (r"raw:HTTP/1.1 400 Bad Request\r\n\r\n" + "x" * 5_000_000, REJECTED, "http_400"),
    ("http_401", CONFIG, "unauthorized"),
    ("http_403", CONFIG, "forbidden"),
    ("short_body", DONE),
    ("invalid_utf8", DONE),
)

SMTP = [
    *of_each(
        "smtp",
        ("close_before_reading", UNAVAILABLE, "no_reply"),
        ("greeting_421", UNAVAILABLE, "421"),
        ("greeting_554", CONFIG, "554"),
        ("greeting_garbage", UNAVAILABLE, "bad_reply"),
        ("ehlo_refused", CONFIG, "550"),
        ("auth_535", CONFIG, "535"),
        ("auth_534", CONFIG, "534"),
        ("auth_454", UNAVAILABLE, "454"),
        ("auth_421", UNAVAILABLE, "421"),
        calls=0,
    ),
    *of_each(
        "smtp",
        ("black_hole", UNAVAILABLE, "timeout"),
        ("greeting_silence", UNAVAILABLE, "timeout"),
        ("drip", UNAVAILABLE, "timeout"),
        calls=0,
        deadline=SHORT,
    ),
    *of_each(
        "smtp",
        ("mail_421", UNAVAILABLE, "421"),
        ("mail_450", UNAVAILABLE, "450"),
        ("mail_530", CONFIG, "530"),
        ("mail_550", CONFIG, "550"),
        ("mail_552", REJECTED, "552"),
        ("rcpt_421", UNAVAILABLE, "421"),
        ("rcpt_450", UNAVAILABLE, "450"),
        ("rcpt_452", UNAVAILABLE, "452"),
        ("rcpt_550", BAD_ADDRESS, "550"),
        ("rcpt_552", UNAVAILABLE, "552"),
        ("rcpt_553", BAD_ADDRESS, "553"),
        ("rcpt_530", CONFIG, "530"),
        ("rcpt_503", REJECTED, "503"),
        ("data_421", UNAVAILABLE, "421"),
        ("data_451", UNAVAILABLE, "451"),
        ("data_554", REJECTED, "554"),
        ("451", UNAVAILABLE, "451"),
        ("421", UNAVAILABLE, "421"),
        ("552", REJECTED, "552"),
        ("554", REJECTED, "554"),
        ("dot_200", AMBIGUOUS, "200"),
        ("dot_354", AMBIGUOUS, "354"),
        ("close_after_dot", AMBIGUOUS, "no_reply"),
        ("drop_after_dot", AMBIGUOUS, "no_reply"),
        ("rst", AMBIGUOUS, "connection_reset"),
        ("quit_421", DONE),
        ("quit_drop", DONE),
        ("close_idle", DONE),
    ),
    *of_each("smtp", ("stall_after_dot", AMBIGUOUS, "timeout"), deadline=SHORT),
]

CASES = [*HTTP, *LIMITED_BY, *SLACK, *SENDGRID, *SMTP]


@pytest.mark.parametrize(("provider", "case"), [pytest.param(case.provider, case, id=str(case)[:60]) for case in CASES])
def test_each_behaviour_of_a_provider_has_its_result(harness: ProviderHarness, case: Case) -> None:
    harness.sandbox.smtp.credentials = ("mailer", PASSWORD)
    harness.recorder.faults.always(case.fault)
    began = time.monotonic()
    result = harness.send(deadline=case.deadline)
    assert time.monotonic() - began < case.deadline + 1
    assert len(harness.recorder.calls) == case.calls
    if case.reason is None:
        assert isinstance(result, Receipt), result
        assert result.provider_id
        assert len(harness.recorder.messages) == 1
        return
    assert isinstance(result, DeliveryError), result
    assert result.reason is case.reason, result
    assert result.code in case.code.split(" or "), result
    assert result.retry_after == case.wait
    assert result.entire_provider is case.entire_provider
    assert result.detail
    assert len(result.detail.encode()) <= 2000


@pytest.mark.parametrize("provider", ["slack", "sendgrid", "smtp"])
def test_a_message_after_any_fault_goes_through(harness: ProviderHarness) -> None:
    channel = harness.channel(5.0)
    harness.recorder.faults.then("rst", "close_before_reading")
    first = _send(channel, harness)
    second = _send(channel, harness)
    third = _send(channel, harness)
    channel.close()
    assert isinstance(first, DeliveryError)
    assert isinstance(second, DeliveryError)
    assert isinstance(third, Receipt)


@pytest.mark.parametrize("provider", ["slack", "sendgrid", "smtp"])
def test_a_hundred_messages_share_one_connection(harness: ProviderHarness) -> None:
    channel, before = harness.channel(5.0), harness.recorder.connections
    results = [_send(channel, harness) for _ in range(100)]
    channel.close()
    assert all(isinstance(result, Receipt) for result in results)
    assert harness.recorder.connections == before + 1


@pytest.mark.parametrize("provider", ["slack", "sendgrid", "smtp"])
def test_a_connection_over_tls_is_kept_too(tls_sandbox: Sandbox, provider: str) -> None:
    harness = harnesses(tls_sandbox)[provider]
    channel, before = harness.channel(5.0), harness.recorder.connections
    results = [_send(channel, harness) for _ in range(20)]
    channel.close()
    assert all(isinstance(result, Receipt) for result in results)
    assert harness.recorder.connections == before + 1


def _send(channel: Channel, harness: ProviderHarness) -> SendResult:
    return channel.send(ALERT, [OutgoingMessage("delivery-1", harness.good)])[0]
