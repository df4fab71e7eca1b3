"""Every code that the log can contain has a reason, a meaning and a fix."""

from __future__ import annotations

import ast
import errno
import ssl
from pathlib import Path

import pytest

import alertctl
from alertctl.channels.email import sendgrid, smtp_errors
from alertctl.channels.email.smtp_errors import exception_code, smtp_error
from alertctl.error_codes import ERROR_CODES, SLACK_CODES, failure_reason, fix, meaning
from alertctl.errors import DeliveryError, Reason
from alertctl.http.errors import CODES, ERRNO_CODES
from alertctl.outbox.tables import INTERRUPTED
from alertctl.text import credential
from tests.support.cases import each

SLACK = {entry.code: entry.reason for entry in SLACK_CODES}
PACKAGE = Path(alertctl.__file__).parent
EARLIER = "01900000-0000-7000-8000-000000000000"
RAISING = sorted(file for folder in ("channels", "dispatcher", "http") for file in PACKAGE.glob(f"{folder}/**/*.py"))
CODE_ARGUMENT = {"DeliveryError": 1, "HttpError": 0}
MAIL_REPLIES = "421 450 451 452 454 530 534 535 538 550 551 552 553 554".split()  # noqa: SIM905


def named_where_raised() -> set[str]:
    """The codes that are written out where a DeliveryError or an HttpError is made."""
    calls = [
        node
        for file in RAISING
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CODE_ARGUMENT
    ]
    arguments = [call.args[CODE_ARGUMENT[call.func.id] :][:1] for call in calls if isinstance(call.func, ast.Name)]
    codes = {value.value for values in arguments for value in values if isinstance(value, ast.Constant)}
    assert len(codes) > 15
    return codes


def failures() -> list[BaseException]:
    certificates = [ssl.SSLCertVerificationError(1, "no") for _ in range(3)]
    for error, verify_code in zip(certificates, (10, 62, 18), strict=True):
        error.verify_code = verify_code
    return [
        *certificates,
        OSError(errno.ENETUNREACH, "no way"),
        KeyError("odd"),
    ]


def network_codes() -> set[str]:
    waiting = smtp_error(TimeoutError(), sent=False, connecting=True).code
    by_smtp = {*map(exception_code, failures()), *smtp_errors.CODES.values(), waiting, "tls_not_spoken"}
    by_http = {*CODES.values(), *ERRNO_CODES.values(), "network_error", "connect_timeout"}
    return by_smtp | by_http


def credential_codes() -> set[str]:
    bad = [credential(secret, "X", missing=missing) for secret, missing in (("", "not_authed"), ("a b", ""))]
    return {error.code for error in bad if isinstance(error, DeliveryError)}


OURS = {
    INTERRUPTED,
    "expired",
    "slack_disabled",
    "email_disabled",
    f"duplicate of {EARLIER}",
    "route quiet",
    "bad_ca_bundle",
}


def known_codes() -> list[str]:
    return sorted(
        named_where_raised()
        | network_codes()
        | credential_codes()
        | SLACK.keys()
        | set(sendgrid.CODES.values())
        | {*MAIL_REPLIES, *OURS}
    )


NUMBERS = ["http_301", "http_404", "http_407", "http_413", "http_429", "http_500", "http_502", "http_599", "503", "571"]


def is_a_meaning(text: str) -> bool:
    return bool(text) and text == text.strip() and not text.endswith(".") and ". " not in text and "\n" not in text


def is_a_sentence(text: str) -> bool:
    return text[:1].isupper() and text.endswith(".") and ". " not in text and not set("{}\n") & set(text)


@each("code", known_codes)
def test_every_code_has_a_meaning_of_its_own_and_a_fix(code):
    text = meaning(code, None)
    assert is_a_meaning(text)
    assert text != meaning("some_new_word", None), "nobody wrote down what it means"
    for reason in (None, *Reason):
        for final in (False, True):
            assert is_a_sentence(fix(code, reason, "slack", final=final))


@each("code", sorted({*ERROR_CODES, *network_codes(), *sendgrid.CODES.values()}))
def test_a_fix_never_promises_a_new_try_where_none_comes(code):
    reasons = [SLACK[code]] if code in SLACK else list(Reason)
    fixes = [fix(code, reason, "smtp", final=True) for reason in reasons]
    assert all("alertctl retries" not in text and "Nothing to do" not in text for text in fixes)


@each("code", sorted(ERROR_CODES))
def test_an_attempt_without_an_answer_is_never_the_fault_of_address_or_message(code):
    assert failure_reason(code, sent=True) is Reason.AMBIGUOUS
    assert failure_reason(code, sent=False) in (Reason.CONFIG, Reason.LOCAL, Reason.UNAVAILABLE)


@each("code", NUMBERS)
def test_a_status_without_a_name_has_a_meaning(code):
    text = meaning(code, Reason.UNAVAILABLE)
    assert is_a_meaning(text)
    assert code.removeprefix("http_") in text or "mail server" in text
    assert is_a_sentence(fix(code, Reason.UNAVAILABLE, "smtp"))


@each("reason", list(Reason))
@each("code", ["some_new_word", "http_", "http_x", "0", "999999", "²³¹", "", "{setting}", "%s"])
def test_an_unknown_code_falls_back_to_its_reason(code, reason):
    assert meaning(code, reason) == meaning("another_new_word", reason)
    assert fix(code, reason) == fix("another_new_word", reason)
    assert is_a_meaning(meaning(code, reason))
    assert is_a_sentence(fix(code, reason))


def test_a_meaning_covers_every_case_of_its_code():
    assert "before the next attempt" in meaning("expired", Reason.EXPIRED), "an attempt may have failed before"
    assert "cut off or too long" in meaning("incomplete_reply", None), "a body over the limit is truncated"
    assert "headers, or a mail server's reply" in meaning("endless_reply", None)


def test_every_reason_has_a_meaning_of_its_own():
    assert len({meaning("some_new_word", reason) for reason in Reason}) == len(Reason)


def test_a_fix_of_the_connection_names_the_setting_of_its_provider():
    fixes = {provider: fix("dns_failure", "unavailable", provider) for provider in ("slack", "sendgrid", "smtp")}
    assert [variable in fixes[provider] for provider, variable in _SETTINGS.items()] == [True] * 3
    assert is_a_sentence(fix("dns_failure", "unavailable", None))


@each("code", ["bad_reply", "connect_timeout", "unreachable"])
def test_a_fix_over_smtp_names_no_http_proxy(code):
    assert "HTTPS_PROXY" in fix(code, ERROR_CODES[code].reason, "slack")
    assert "HTTPS_PROXY" not in fix(code, ERROR_CODES[code].reason, "smtp")


_SETTINGS = {"slack": "SLACK_API_URL", "sendgrid": "SENDGRID_API_URL", "smtp": "SMTP_HOST"}


def test_the_fix_of_a_missing_scope_names_the_scope_that_slack_needs():
    answer = '{"ok":false,"error":"missing_scope","needed":"users:read.email","provided":"chat:write"}'
    assert "Add the scope users:read.email (" in fix("missing_scope", Reason.CONFIG, "slack", answer=answer)
    for unknown in (None, "", '{"needed": "<b>{x}"}'):
        text = fix("missing_scope", Reason.CONFIG, "slack", answer=unknown)
        assert "Add the scope chat:write, or the one that the attempt's answer names (" in text


def test_the_fix_of_an_untrusted_certificate_keeps_the_systems_authorities():
    assert "with its certificate and the system's" in fix("tls_untrusted", Reason.CONFIG, "smtp")


def test_a_duplicate_names_the_earlier_event():
    assert EARLIER in fix(f"duplicate of {EARLIER}", None)


def test_a_delivery_that_a_route_suppresses_has_a_meaning_and_a_fix():
    assert meaning("route quiet", None) == "this route of the configuration sends such events to nobody (to = [])"
    assert fix("route quiet", None).startswith("Change the route")


def test_no_code_is_listed_twice():
    assert len(SLACK) == len(SLACK_CODES)
    assert [code for code, entry in ERROR_CODES.items() if code in SLACK and entry.reason is not SLACK[code]] == []


def test_the_table_has_the_reason_of_a_network_failure_before_the_request():
    raised = {exception_code(exc): smtp_error(exc, sent=False).reason for exc in failures()}
    assert list(raised.values()) == [*[Reason.CONFIG] * 3, Reason.LOCAL, Reason.UNAVAILABLE]
    for code, reason in raised.items():
        assert ERROR_CODES[code].reason in (None, reason)


@each("step", list(smtp_errors.SmtpStep))
@each("code", MAIL_REPLIES)
def test_the_table_has_the_reason_of_a_mail_reply(code, step):
    reason = ERROR_CODES[code].reason
    assert reason in (None, smtp_errors.smtp_reason(step, int(code))) or step is smtp_errors.SmtpStep.END


@pytest.mark.parametrize("reason", [Reason.CONFIG, Reason.LOCAL])
def test_a_fix_for_a_delivery_that_waits_asks_for_no_resend(reason):
    codes = [code for code, entry in ERROR_CODES.items() if entry.reason is reason]
    assert len(codes) > 4
    assert [code for code in codes if "log retry" in fix(code, reason, "slack") or "again." in fix(code, reason)] == []


@pytest.mark.parametrize("code", ["550", "551", "553", "571"])
def test_a_refusal_of_our_own_server_address_blames_no_recipient(code):
    assert "administrator" in fix(code, Reason.CONFIG, "smtp")
    assert meaning(code, Reason.CONFIG).startswith("the mail server refuses this machine or its sender")
    assert "Correct the address" in fix(code, Reason.BAD_ADDRESS, "smtp")
    assert "administrator" in fix(code, Reason.EXPIRED, "smtp", attempt_reason=Reason.CONFIG)
    assert "refuses this machine or its sender" in meaning(code, Reason.EXPIRED, Reason.CONFIG)


@pytest.mark.parametrize("code", ["550", "551", "552", "553", "554", "571"])
def test_a_refusal_of_the_message_blames_no_recipient(code):
    assert meaning(code, Reason.REJECTED) == "the mail server rejected the message (see the attempt's answer)"
    advice = "Check what the attempt's answer names, or ask the mail server's administrator."
    for final in (False, True):
        assert fix(code, Reason.REJECTED, "smtp", final=final) == advice
    assert "rejected the message" in meaning(code, Reason.EXPIRED, Reason.REJECTED)
    assert fix(code, Reason.EXPIRED, "smtp", attempt_reason=Reason.REJECTED) == advice


@pytest.mark.parametrize("code", ["530", "535", "message_refused", "invalid_blocks"])
def test_a_rejected_message_keeps_the_advice_of_a_code_with_one_meaning(code):
    assert meaning(code, Reason.REJECTED) == ERROR_CODES[code].meaning
