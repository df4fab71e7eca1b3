"""What each error means and what to do about it: a sentence for every code that can stand in the log."""

from __future__ import annotations

import ast
import errno
import ssl
from pathlib import Path

import pytest

import alertctl
from alertctl.catalogue import _DO, BY_NETWORK, MEANINGS, REPAIRS, meaning, remedy
from alertctl.channels import http_errors, network_errors, slack_errors, smtp_errors
from alertctl.channels.credentials import credential
from alertctl.channels.network_errors import Stage, network_code, network_error
from alertctl.errors import DeliveryError, Reason
from alertctl.http.errors import CODES, CONFIG_CODES, ERRNO_CODES, LOCAL_CODES
from alertctl.outbox.rows import INTERRUPTED

PACKAGE = Path(alertctl.__file__).parent
EARLIER = "01900000-0000-7000-8000-000000000000"
RAISING = sorted(file for folder in ("channels", "dispatcher", "http") for file in PACKAGE.glob(f"{folder}/*.py"))
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
    arguments = [one.args[CODE_ARGUMENT[one.func.id] :][:1] for one in calls if isinstance(one.func, ast.Name)]
    codes = {value.value for values in arguments for value in values if isinstance(value, ast.Constant)}
    assert len(codes) > 10
    return codes


def network_codes() -> set[str]:
    certificates = [ssl.SSLCertVerificationError(1, "no") for _ in range(3)]
    for one, verify_code in zip(certificates, (10, 62, 18), strict=True):
        one.verify_code = verify_code
    raised = (
        *certificates,
        OSError(errno.ENETUNREACH, "no way"),
        KeyError("odd"),
    )
    waiting = network_error(TimeoutError(), Stage.BEFORE, connecting=True).code
    by_smtp = {*map(network_code, raised), *network_errors.CODES.values(), waiting, "tls_not_spoken"}
    by_http = {*CODES.values(), *ERRNO_CODES.values(), *CONFIG_CODES, *LOCAL_CODES, "network_error", "connect_timeout"}
    return by_smtp | by_http


def credential_codes() -> set[str]:
    bad = [credential(secret, "X", missing=missing) for secret, missing in (("", "not_authed"), ("a b", ""))]
    return {one.code for one in bad if isinstance(one, DeliveryError)}


OURS = {INTERRUPTED, "expired", "slack_disabled", "email_disabled", f"duplicate of {EARLIER}", "bad_ca_bundle"}
KNOWN = sorted(
    named_where_raised()
    | network_codes()
    | credential_codes()
    | slack_errors.TABLE.keys()
    | set(smtp_errors.EXCEPTIONS.values())
    | set(http_errors.NAMES.values())
    | {*MAIL_REPLIES, *OURS}
)
NUMBERS = ["http_301", "http_404", "http_407", "http_413", "http_429", "http_500", "http_502", "http_599", "503", "571"]


def is_a_meaning(text: str) -> bool:
    return bool(text) and text == text.strip() and not text.endswith(".") and ". " not in text and "\n" not in text


def is_a_sentence(text: str) -> bool:
    return text[:1].isupper() and text.endswith(".") and ". " not in text and not set("{}\n") & set(text)


@pytest.mark.parametrize("code", KNOWN)
def test_every_code_has_a_meaning_of_its_own_and_a_remedy(code):
    told = meaning(code, None)
    assert is_a_meaning(told)
    assert told != meaning("some_new_word", None), "nobody wrote down what it means"
    for reason in (None, *Reason):
        for final in (False, True):
            assert is_a_sentence(remedy(code, reason, "slack", final=final))


@pytest.mark.parametrize(
    "code", sorted({*slack_errors.TABLE, *network_codes(), *http_errors.NAMES.values(), *MAIL_REPLIES})
)
def test_a_remedy_never_promises_a_new_try_where_none_comes(code):
    reasons = [slack_errors.TABLE[code]] if code in slack_errors.TABLE else list(Reason)
    assert all("by itself" not in remedy(code, reason, "smtp", final=True) for reason in reasons)


@pytest.mark.parametrize("code", NUMBERS)
def test_a_status_without_a_name_is_told_as_one(code):
    told = meaning(code, Reason.UNAVAILABLE)
    assert is_a_meaning(told)
    assert code.removeprefix("http_") in told or "mail server" in told
    assert is_a_sentence(remedy(code, Reason.UNAVAILABLE, "smtp"))


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("code", ["some_new_word", "http_", "http_x", "0", "999999", "²³¹", "", "{setting}", "%s"])
def test_an_unknown_code_falls_back_to_its_reason(code, reason):
    assert meaning(code, reason) == meaning("another_new_word", reason)
    assert remedy(code, reason) == remedy("another_new_word", reason)
    assert is_a_meaning(meaning(code, reason))
    assert is_a_sentence(remedy(code, reason))


def test_reasons_say_different_things():
    assert len({meaning("some_new_word", reason) for reason in Reason}) == len(Reason)


def test_the_way_there_names_the_setting_of_its_provider():
    told = {provider: remedy("dns_failure", "unavailable", provider) for provider in ("slack", "sendgrid", "smtp")}
    assert [variable in told[provider] for provider, variable in _SETTINGS.items()] == [True] * 3
    assert is_a_sentence(remedy("dns_failure", "unavailable", None))


_SETTINGS = {"slack": "SLACK_API_URL", "sendgrid": "SENDGRID_API_URL", "smtp": "SMTP_HOST"}


def test_a_duplicate_names_the_earlier_event():
    assert EARLIER in remedy(f"duplicate of {EARLIER}", None)


def test_what_has_a_remedy_has_a_meaning():
    told_as_status = {code for code in (*REPAIRS, *_DO, *BY_NETWORK) if code.startswith("http_")}
    assert ({*REPAIRS, *_DO, *BY_NETWORK} - told_as_status) <= MEANINGS.keys()
