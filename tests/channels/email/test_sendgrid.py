"""SendGrid: many deliveries in a request, each with its own result; no recipient sees the others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import OutgoingMessage, Receipt, SendResult
from alertctl.channels.email.sendgrid import errors_by_position, reason_slot
from alertctl.content import Content, Field
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import Response
from alertctl.sandbox import Sandbox
from alertctl.sandbox.faults import raw
from tests.support.cases import each
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import NASTY, content, contents
from tests.support.providers import ALERT, harnesses


def send(sandbox: Sandbox, addresses: list[str], alert: Content = ALERT, **options: Any) -> list[SendResult]:
    channel = harnesses(sandbox)["sendgrid"].channel(**options)
    try:
        return channel.send(alert, [OutgoingMessage(f"delivery-{n}", address) for n, address in enumerate(addresses)])
    finally:
        channel.close()


def codes(results: list[SendResult]) -> list[str]:
    return ["" if isinstance(result, Receipt) else result.code for result in results]


def test_a_thousand_deliveries_are_one_request_and_recipients_do_not_see_each_other(sandbox: Sandbox) -> None:
    addresses = [f"u{n}@corp.example" for n in range(1000)]
    results = send(sandbox, addresses)
    assert all(isinstance(result, Receipt) for result in results)
    assert len(sandbox.sendgrid.calls) == 1
    assert [message.to for message in sandbox.sendgrid.messages] == addresses
    for number, message in enumerate(sandbox.sendgrid.messages):
        assert message.personalization["to"] == [{"email": addresses[number]}]
        assert message.personalization["custom_args"] == {"delivery_id": f"delivery-{number}"}
        assert message.personalization["headers"]["Message-ID"] == f"<delivery-{number}@corp.example>"


def test_the_payload_is_what_sendgrid_wants(sandbox: Sandbox) -> None:
    send(sandbox, ["dev@corp.example"])
    payload = sandbox.sendgrid.messages[0].payload
    assert [part["type"] for part in payload["content"]] == ["text/plain", "text/html"]
    assert payload["tracking_settings"]["click_tracking"]["enable"] is False
    assert payload["tracking_settings"]["open_tracking"]["enable"] is False
    assert payload["from"] == {"email": "alerts@corp.example", "name": "Corp"}
    assert payload["subject"] == "[Critical] Safety rollback: checkout-v3"
    assert "custom_args" not in payload
    assert sandbox.sendgrid.messages[0].personalization["headers"]["Auto-Submitted"] == "auto-generated"


def test_each_recipient_of_a_request_reads_only_their_own_reason(sandbox: Sandbox) -> None:
    reasons = {
        "user_email": "your preferences include safety_rollback by email",
        "admin_email": "this address is a default recipient (NOTIFICATION_ADMIN_EMAILS)",
        "route": "the route pay-oncall sends safety_rollback to this address",
    }
    names = list(reasons)
    channel = harnesses(sandbox)["sendgrid"].channel()
    messages = [
        OutgoingMessage(f"d{n}", f"u{n}@corp.example", routing_reason=names[n % 3], route="pay-oncall")
        for n in range(1000)
    ]
    assert all(isinstance(result, Receipt) for result in channel.send(ALERT, messages))
    channel.close()
    assert sandbox.sendgrid.requests == 1
    for number, message in enumerate(sandbox.sendgrid.messages):
        because = reasons[names[number % 3]]
        text, html = message.parts["text/plain"], message.parts["text/html"]
        assert text.strip().endswith(f"You receive this because {because}.")
        assert f">You receive this because {because}.</p>" in html
        assert text.count("You receive this") == html.count("You receive this") == 1
        assert "reason-" not in text + html


def test_text_of_an_event_is_never_taken_for_the_slot_of_the_reason(sandbox: Sandbox) -> None:
    slot = reason_slot(ALERT)
    alert = replace(ALERT, title=slot, fields=(Field(slot, slot),))
    send(sandbox, ["dev@corp.example"], alert)
    (message,) = sandbox.sendgrid.messages
    assert f"{slot}: {slot}" in message.parts["text/plain"]
    assert message.subject == f"[Critical] {slot}"


def test_a_reason_is_safe_in_html(sandbox: Sandbox) -> None:
    channel = harnesses(sandbox)["sendgrid"].channel()
    channel.send(ALERT, [OutgoingMessage("d", "dev@corp.example", routing_reason="route", route='R&D <b onclick="x">')])
    channel.close()
    assert "the route R D b onclick= x sends" in sandbox.sendgrid.messages[0].parts["text/html"]


def test_messages_about_a_subject_are_one_thread(sandbox: Sandbox) -> None:
    send(sandbox, ["a@corp.example", "b@corp.example"], replace(ALERT, subject_key="ab12"))
    for message in sandbox.sendgrid.messages:
        headers = message.personalization["headers"]
        assert headers["References"] == headers["In-Reply-To"] == "<subject-ab12@corp.example>"


def test_an_address_named_in_a_400_fails_alone_and_the_others_are_sent_again(sandbox: Sandbox) -> None:
    addresses = ["a@corp.example", "refused@corp.example", "b@corp.example", "refused@x.example", "c@corp.example"]
    results = send(sandbox, addresses)
    assert codes(results) == ["", "invalid_address", "", "invalid_address", ""]
    assert all(error.reason is Reason.BAD_ADDRESS for error in results if isinstance(error, DeliveryError))
    assert len(sandbox.sendgrid.calls) == 2
    assert [message.to for message in sandbox.sendgrid.messages] == [addresses[0], addresses[2], addresses[4]]


def test_an_address_that_is_none_fails_without_a_call(sandbox: Sandbox) -> None:
    assert codes(send(sandbox, ["a@x.example, b@x.example", "nobody"])) == ["invalid_address"] * 2
    assert sandbox.sendgrid.calls == []


def test_a_failure_of_the_request_is_the_failure_of_all(sandbox: Sandbox) -> None:
    sandbox.sendgrid.faults.then("http_503")
    assert codes(send(sandbox, ["a@corp.example", "b@corp.example"])) == ["http_503"] * 2
    assert len(sandbox.sendgrid.calls) == 1


def test_plain_and_formatted_messages_of_an_event_are_sent_in_separate_requests(sandbox: Sandbox) -> None:
    channel = harnesses(sandbox)["sendgrid"].channel()
    messages = [
        OutgoingMessage("d0", "a@x.example"),
        OutgoingMessage("d1", "b@x.example", plain=True),
        OutgoingMessage("d2", "c@x.example"),
    ]
    assert all(isinstance(result, Receipt) for result in channel.send(ALERT, messages))
    channel.close()
    contents_of = {message.to: len(message.payload["content"]) for message in sandbox.sendgrid.messages}
    assert contents_of == {"a@x.example": 2, "b@x.example": 1, "c@x.example": 2}


@each("nasty", NASTY)
def test_hostile_content_is_taken(sandbox: Sandbox, nasty: str) -> None:
    assert codes(send(sandbox, ["dev@corp.example"], content(nasty, nasty, nasty, nasty))) == [""]


@fixed_examples(40)
@given(contents(), st.booleans())
def test_any_content_makes_a_payload(plain_sandbox: Sandbox, alert: Content, plain: bool) -> None:
    channel: Any = harnesses(plain_sandbox)["sendgrid"].channel()
    payload = channel.payload(alert, [OutgoingMessage("d", "dev@corp.example", plain)])
    json.dumps(payload, allow_nan=False).encode()
    assert payload["subject"].strip()
    assert all(part["value"].strip() for part in payload["content"])
    assert not set(payload["subject"]) & set("\r\n\0")


@pytest.mark.parametrize(
    ("fields", "count", "expected"),
    [
        (["personalizations.1.to.0.email"], 2, {1: Reason.BAD_ADDRESS}),
        (["personalizations[0].to[0].email"], 2, {0: Reason.BAD_ADDRESS}),
        (["personalizations.0.custom_args"], 2, {0: Reason.REJECTED}),
        (["personalizations.7.to"], 2, {}),
        (["personalizations.1.to", "subject"], 2, {}),
        (["personalizations"], 2, {}),
        ([None], 2, {}),
        ([], 2, {}),
    ],
)
def test_only_errors_that_name_a_personalization_of_ours_fail_it_alone(
    fields: list[str | None], count: int, expected: dict[int, Reason]
) -> None:
    body = json.dumps({"errors": [{"message": "no", "field": field} for field in fields]}).encode()
    errors = errors_by_position(Response(400, {}, body), count)
    assert {position: error.reason for position, error in errors.items()} == expected


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"errors":{}}', b'{"errors":["x"]}', b'{"errors":[{}]}', b"\xff"]
)
def test_a_400_without_details_names_no_address(body: bytes) -> None:
    assert errors_by_position(Response(400, {}, body), 3) == {}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_that_names_nobody_fails_the_message_at_fault_alone(sandbox: Sandbox, status: int) -> None:
    addresses = [f"u{n}@corp.example" for n in range(100)]
    sandbox.sendgrid.faults.at(addresses[37], f"http_{status}")
    results = send(sandbox, addresses)
    assert [n for n, code in enumerate(codes(results)) if code] == [37]
    assert codes(results)[37] == f"http_{status}"
    assert sorted(message.to for message in sandbox.sendgrid.messages) == sorted({*addresses} - {addresses[37]})
    assert len(sandbox.sendgrid.calls) == 13


def test_a_refusal_of_every_part_is_bounded_and_leaves_the_rest_for_later(sandbox: Sandbox) -> None:
    sandbox.sendgrid.faults.always("http_422")
    results = send(sandbox, [f"u{n}@corp.example" for n in range(100)])
    assert len(sandbox.sendgrid.calls) == 64
    assert set(codes(results)) == {"http_422", "batch_refused"}


def test_an_outage_while_a_batch_is_divided_ends_the_division(sandbox: Sandbox) -> None:
    sandbox.sendgrid.faults.then("http_422", "http_503")
    assert codes(send(sandbox, [f"u{n}@corp.example" for n in range(8)])) == ["http_503"] * 8
    assert len(sandbox.sendgrid.calls) == 2


def test_a_refusal_of_the_shared_part_is_not_divided(sandbox: Sandbox) -> None:
    body = json.dumps({"errors": [{"message": "no", "field": "from.email"}]})
    reply = f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    sandbox.sendgrid.faults.always(raw(reply.encode()))
    assert codes(send(sandbox, [f"u{n}@corp.example" for n in range(8)])) == ["http_400"] * 8
    assert len(sandbox.sendgrid.calls) == 1


def test_a_202_without_a_message_id_is_a_success_under_our_own_id(sandbox: Sandbox) -> None:
    sandbox.sendgrid.faults.always("no_message_id")
    results = send(sandbox, ["a@corp.example", "b@corp.example"])
    assert [result.provider_id for result in results if isinstance(result, Receipt)] == [
        "<delivery-0@corp.example>",
        "<delivery-1@corp.example>",
    ]


def test_rounds_are_bounded_when_every_request_is_refused(sandbox: Sandbox) -> None:
    body = json.dumps({"errors": [{"message": "no", "field": "personalizations.0.to.0.email"}]})
    reply = f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    sandbox.sendgrid.faults.always(raw(reply.encode()))
    results = send(sandbox, [f"u{n}@corp.example" for n in range(8)])
    assert codes(results) == ["invalid_address"] * 5 + ["batch_refused"] * 3
    assert len(sandbox.sendgrid.calls) == 5


def test_exceeded_credits_are_reported_in_sendgrids_own_words(sandbox: Sandbox) -> None:
    sandbox.sendgrid.auth_error = "Maximum credits exceeded"
    (result,) = send(sandbox, ["dev@corp.example"])
    sandbox.sendgrid.auth_error = None
    assert isinstance(result, DeliveryError)
    assert result.code == "unauthorized"
    assert "Maximum credits exceeded" in result.detail


@pytest.mark.parametrize(
    ("body", "code"), [(b"<html>log in", "http_401"), (b"", "unauthorized"), (b'{"error": "no"}', "unauthorized")]
)
def test_a_page_of_a_proxy_is_no_refusal_of_the_key(sandbox: Sandbox, body: bytes, code: str) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    sandbox.sendgrid.faults.always(raw(head + body))
    assert codes(send(sandbox, ["dev@corp.example"])) == [code]


def test_a_severity_in_the_subject(sandbox: Sandbox) -> None:
    send(sandbox, ["dev@corp.example"], replace(ALERT, title="a\r\nBcc: x@y.example"))
    assert sandbox.sendgrid.messages[0].payload["subject"] == "[Critical] a Bcc: x@y.example"
