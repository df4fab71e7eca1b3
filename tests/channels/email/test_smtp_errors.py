"""SMTP refusals: the step and the enhanced code say more than the number."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing

import pytest

from alertctl.channels.base import OutgoingMessage, Receipt, SendResult
from alertctl.channels.email.smtp import SmtpChannel
from alertctl.channels.email.smtp_errors import SmtpRefusal, SmtpStep, refusal_of, smtp_error
from alertctl.error_codes import fix
from alertctl.errors import DeliveryError, Reason
from alertctl.sandbox import Sandbox
from tests.support.cases import each
from tests.support.providers import ALERT, smtp_channel

LIMITED, CONFIG, LOCAL = Reason.RATE_LIMITED, Reason.CONFIG, Reason.LOCAL
BAD_ADDRESS, REJECTED, UNAVAILABLE = Reason.BAD_ADDRESS, Reason.REJECTED, Reason.UNAVAILABLE
RCPT, MAIL, DATA, END, AUTH = SmtpStep.RCPT, SmtpStep.MAIL, SmtpStep.DATA, SmtpStep.END, SmtpStep.AUTH

REPLIES = [
    # the address
    (RCPT, "550 5.1.1 No such user here", BAD_ADDRESS, "550"),
    (RCPT, "553 5.1.3 Bad syntax", BAD_ADDRESS, "553"),
    (RCPT, "550 User unknown", BAD_ADDRESS, "550"),
    (RCPT, "550 5.2.1 <relay@x.example>: mailbox disabled", BAD_ADDRESS, "550"),
    # the server's policy against this address
    (RCPT, "554 5.7.1 <a@b.example>: Relay access denied", LOCAL, "relaying_denied"),
    (RCPT, "550 relay not permitted", LOCAL, "relaying_denied"),
    (RCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", LOCAL, "relaying_denied"),
    (RCPT, "504 5.5.2 <web1>: Helo command rejected: need fully-qualified hostname", LOCAL, "helo_refused"),
    (RCPT, "450 4.7.1 <web1>: Helo command rejected: Host not found", LOCAL, "helo_refused"),
    (RCPT, "554 5.7.1 <x@corp.example>: Sender address rejected: Access denied", LOCAL, "sender_refused"),
    (RCPT, "550 5.1.8 <x@corp.example>: Domain not found", LOCAL, "sender_refused"),
    (RCPT, "550 5.7.1 Blocked by our policy", LOCAL, "refused_by_policy"),
    (RCPT, "450 4.7.1 Greylisted, come back later", UNAVAILABLE, "450"),
    (RCPT, "530 5.7.0 Authentication required", CONFIG, "530"),
    (RCPT, "550 5.7.1 Client was not authenticated", CONFIG, "authentication_required"),
    (RCPT, "550 Authentication is required", CONFIG, "authentication_required"),
    # the message
    (DATA, "554 5.7.1 Spam", REJECTED, "message_refused"),
    (END, "550 5.7.26 Unauthenticated mail is not accepted due to the DMARC policy", REJECTED, "message_refused"),
    (END, "554 5.6.0 Malformed", REJECTED, "554"),
    (MAIL, "552 5.3.4 Message size exceeds fixed limit", REJECTED, "552"),
    (MAIL, "550 5.7.1 Sender refused", CONFIG, "550"),
    # limits
    (END, "550 5.4.5 Daily user sending limit exceeded", LIMITED, "sending_limit"),
    (MAIL, "454 Throttling failure: Maximum sending rate exceeded.", LIMITED, "sending_limit"),
    (END, "454 Throttling failure: Daily message quota exceeded.", LIMITED, "sending_limit"),
    (RCPT, "550 5.1.90 Your message can't be sent: daily limit for recipients", LIMITED, "sending_limit"),
    (MAIL, "450 4.7.1 Error: too much mail from 192.0.2.1", LIMITED, "sending_limit"),
    (RCPT, "452 4.2.2 The recipient's mailbox is over its storage quota", UNAVAILABLE, "452"),
    (MAIL, "452 4.5.3 Too many messages on this connection", UNAVAILABLE, "452"),
    # logins and TLS
    (AUTH, "432 4.7.12 A password transition is needed", CONFIG, "432"),
    (MAIL, "421 4.7.66 TLS 1.0 and 1.1 are not supported. Please upgrade", CONFIG, "tls_too_old"),
    (MAIL, "530 5.7.0 Must issue a STARTTLS command first", CONFIG, "530"),
]


@each(("step", "reply", "reason", "code"), REPLIES)
def test_a_reply_becomes_this_reason_and_code(step: SmtpStep, reply: str, reason: Reason, code: str) -> None:
    number, _, text = reply.partition(" ")
    assert refusal_of(step, int(number), text) == (reason, code)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("530 5.7.0 Authentication required", "530"),
        ("550 5.7.1 Client was not authenticated", "authentication_required"),
    ],
)
def test_a_server_that_takes_other_recipients_requires_a_login_for_this_address_alone(reply: str, code: str) -> None:
    number, _, text = reply.partition(" ")
    assert refusal_of(RCPT, int(number), text, accepts_others=True) == (LOCAL, code)
    assert refusal_of(MAIL, int(number), text, accepts_others=True)[0] is CONFIG


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        ("authentication_required", "SMTP_USERNAME"),
        ("helo_refused", "ALERTCTL_HELO"),
        ("relaying_denied", "SMTP_USERNAME"),
        ("sender_refused", "EMAIL_FROM_ADDRESS"),
        ("refused_by_policy", "EMAIL_FROM_ADDRESS"),
        ("message_refused", "EMAIL_FROM_ADDRESS"),
        ("sending_limit", "SMTP_HOST"),
        ("tls_too_old", "SMTP_HOST"),
    ],
)
def test_each_fix_names_the_setting(code: str, setting: str) -> None:
    assert setting in fix(code, None, "smtp")


def test_a_sending_limit_pauses_the_provider_longer_than_a_short_burst() -> None:
    daily = SmtpRefusal(END, 550, "5.4.5 Daily user sending limit exceeded")
    burst = SmtpRefusal(MAIL, 454, "Throttling failure: Maximum sending rate exceeded.")
    assert (daily.entire_provider, daily.retry_after) == (True, 900.0)
    assert (burst.entire_provider, burst.retry_after) == (True, None)


def test_a_handshake_without_a_common_version_is_a_mistake_in_the_settings() -> None:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.maximum_version, server.minimum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        ours.do_handshake()
    with pytest.raises(ssl.SSLError):
        theirs.do_handshake()
    with pytest.raises(ssl.SSLError) as caught:
        ours.do_handshake()
    error = smtp_error(caught.value, sent=False)
    assert (error.reason, error.code) == (Reason.CONFIG, "tls_too_old")


# --- a refusal by policy, in sessions ---


@pytest.fixture
def channel(sandbox: Sandbox) -> Iterator[SmtpChannel]:
    """A channel to a server that relays for one domain only."""
    sandbox.smtp.relays = ("corp.example",)
    with closing(smtp_channel(sandbox)) as channel:
        yield channel
    del sandbox.smtp.relays


def send(channel: SmtpChannel, address: str) -> SendResult:
    return channel.send(ALERT, [OutgoingMessage("d", address)])[0]


def reason_and_code(result: SendResult) -> tuple[Reason, str]:
    assert isinstance(result, DeliveryError), result
    return result.reason, result.code


def test_a_server_that_relays_for_others_refuses_this_address_alone(channel: SmtpChannel) -> None:
    assert isinstance(send(channel, "dev@corp.example"), Receipt)
    assert reason_and_code(send(channel, "dev@partner.example")) == (Reason.LOCAL, "relaying_denied")
    assert reason_and_code(send(channel, "dev@partner.example")) == (Reason.LOCAL, "relaying_denied")
    assert isinstance(send(channel, "dev@corp.example"), Receipt)


def test_a_refused_recipient_never_opens_the_breaker_before_others_were_tried(channel: SmtpChannel) -> None:
    assert reason_and_code(send(channel, "dev@partner.example")) == (Reason.LOCAL, "relaying_denied")
    assert isinstance(send(channel, "dev@corp.example"), Receipt)


def test_one_address_that_requires_a_login_never_stops_the_others(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.at("dev@partner.example", "rcpt_530")
    with closing(smtp_channel(sandbox)) as channel:
        assert isinstance(send(channel, "dev@corp.example"), Receipt)
        # The refusal on the kept connection is checked on a new one, which has accepted nothing yet.
        assert reason_and_code(send(channel, "dev@partner.example")) == (Reason.LOCAL, "530")
        assert isinstance(send(channel, "dev@corp.example"), Receipt)


def test_a_server_that_has_taken_no_recipient_and_requires_a_login_opens_the_breaker(sandbox: Sandbox) -> None:
    sandbox.smtp.faults.always("rcpt_530")
    with closing(smtp_channel(sandbox)) as channel:
        assert reason_and_code(send(channel, "dev@corp.example")) == (Reason.CONFIG, "530")
