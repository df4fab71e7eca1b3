"""The reference pages have every command, setting, endpoint, error code, reason, status and exit code."""

from __future__ import annotations

import re
import shlex

import pytest

from alertctl import errors
from alertctl.channels.email.sendgrid import CODES as SENDGRID_CODES
from alertctl.channels.email.smtp_errors import SmtpStep, refusal_of
from alertctl.channels.http_errors import status_reason
from alertctl.channels.slack.errors import slack_reason
from alertctl.cli.commands.help import CODES
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import Reason
from alertctl.models import Status
from tests.docs.curl import Request
from tests.docs.pages import blocks, code_words, commands, section, table_rows
from tests.docs.reference import ACCEPTS_OTHERS, PARTS, STEPS, error_reasons, openapi, updated
from tests.ops.checkout import text


@pytest.mark.parametrize("page", [page for page, _ in PARTS.values()])
def test_the_generated_parts_are_up_to_date(page: str) -> None:
    # If this fails: scripts/docs
    assert updated(page) == text(page)


def test_every_error_code_has_the_reasons_that_the_page_gives() -> None:
    slack = {row[0] for row in table_rows(section("docs/errors.md", "Slack"))}
    wrong = {}
    for code, reasons, *_ in table_rows(section("docs/errors.md", "Error codes")):
        for reason, when in re.findall(r"`(\w+)` ?([^;|]*)", reasons):
            for step in when.split(" or "):
                real = slack_reason(code.strip("`")) if code in slack else _reason(code.strip("`"), step)
                if real not in (None, reason):
                    wrong[code] = real
    assert not wrong


def _reason(code: str, when: str) -> Reason | None:
    """Return the reason of an email, HTTP, network or own code; None if its table gives none."""
    if code in SENDGRID_CODES.values():
        return status_reason({name: status for status, name in SENDGRID_CODES.items()}[code])
    if code.startswith("http_"):
        return status_reason(int(code.removeprefix("http_")))
    if when == ACCEPTS_OTHERS:
        number, answer = (int(code), "") if code.isdecimal() else (530, "5.7.0 authentication required")
        return refusal_of(SmtpStep.RCPT, number, answer, accepts_others=True)[0]
    if code.isdecimal():
        # A login is refused at AUTH; a temporary refusal has the same reason at every step.
        step = STEPS[when][0] if when in STEPS else SmtpStep.AUTH if code >= "5" or code == "432" else SmtpStep.END
        return refusal_of(step, int(code), "")[0]
    return ERROR_CODES[code].reason


def test_a_mail_servers_code_has_the_reason_of_every_step() -> None:
    for code, entry in ERROR_CODES.items():
        if not code.isdecimal() or entry.reason is not None:
            continue
        listed = {
            step: reason
            for reason, when in error_reasons(entry).items()
            for label in when.split(" or ")
            for step in STEPS[label]
        }
        assert listed == {step: refusal_of(step, int(code), "")[0] for step in SmtpStep}


def test_every_error_code_is_on_the_page() -> None:
    listed = {row[0].strip("`") for row in table_rows(section("docs/errors.md", "Error codes"))} - {"code"}
    assert listed == set(ERROR_CODES)
    assert {reason for entry in ERROR_CODES.values() for reason in error_reasons(entry)} == set(Reason)


def test_every_reason_and_every_status_is_explained() -> None:
    reasons = {word for row in table_rows(section("docs/errors.md", "Reasons")) for word in code_words(row[0])}
    assert reasons == {str(reason) for reason in Reason}
    statuses = {word for row in table_rows(section("docs/errors.md", "Statuses")) for word in code_words(row[0])}
    assert statuses == {str(status) for status in Status}


def test_every_exit_code_is_explained() -> None:
    explained = {int(row[0]) for row in table_rows(section("docs/commands.md", "Exit codes")) if row[0].isdecimal()}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert raised <= {code for code, _ in CODES} == explained


def test_every_endpoint_has_a_curl_line() -> None:
    paths = openapi()["paths"]
    lines = [
        example.command
        for block in blocks("docs/http-api.md")
        if block.language == "console"
        for example in commands(block.text)
    ]
    shown = {_endpoint(line, list(paths)) for text in lines for line in re.findall(r"\bcurl [^|]*", text)}
    assert shown == {(method, path) for path, methods in paths.items() for method in methods}


def _endpoint(line: str, paths: list[str]) -> tuple[str, str]:
    """Return method and path, as the API describes them, of a curl line."""
    line = line.removesuffix(")").replace("$API", "/api/v1/notifications").replace("http://127.0.0.1:8000", "")
    request = Request(shlex.split(line.strip())[1:])
    path = request.url.partition("?")[0]
    if path in paths:
        return request.method.lower(), path
    patterns = {template: re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)) for template in paths}
    return request.method.lower(), next(name for name, pattern in patterns.items() if re.fullmatch(pattern, path))
