from __future__ import annotations

from typing import Any

import pytest

from alertctl.sandbox import Sandbox
from tests.support.cases import each
from tests.support.sandbox_clients import mail_payload, send_mail, send_one_request

TEXT = {"type": "text/plain", "value": "t"}
HTML = {"type": "text/html", "value": "h"}


def to(*emails: str, **more: Any) -> dict[str, Any]:
    return {"to": [{"email": email} for email in emails], **more}


def test_a_mail_is_taken_with_an_id_and_an_empty_body(sandbox: Sandbox) -> None:
    reply = send_mail(sandbox)

    (message,) = sandbox.sendgrid.messages
    assert (reply.status, reply.body) == (202, b"")
    assert reply.headers["x-message-id"] == message.message_id != ""
    assert message.to == "dev@corp.example"
    assert message.payload == mail_payload()


def test_every_personalization_is_a_message_of_one_request(sandbox: Sandbox) -> None:
    people = [to(f"p{n}@corp.example", custom_args={"delivery_id": str(n)}) for n in range(1000)]

    assert send_mail(sandbox, mail_payload(personalizations=people)).status == 202

    messages = sandbox.sendgrid.messages
    assert [message.to for message in messages] == [f"p{n}@corp.example" for n in range(1000)]
    assert messages[7].personalization["custom_args"] == {"delivery_id": "7"}
    assert len({message.message_id for message in messages}) == 1
    assert sandbox.sendgrid.requests == 1


def test_each_recipient_gets_their_own_substitutions(sandbox: Sandbox) -> None:
    people = [to(f"p{n}@corp.example", substitutions={"-name-": f"P{n}"}) for n in range(2)]
    content = [{"type": "text/plain", "value": "Hello -name-"}, {"type": "text/html", "value": "<p>-name-</p>"}]

    send_mail(sandbox, mail_payload(personalizations=people, subject="For -name-", content=content))

    messages = sandbox.sendgrid.messages
    assert [message.subject for message in messages] == ["For P0", "For P1"]
    assert messages[1].parts == {"text/plain": "Hello P1", "text/html": "<p>P1</p>"}


@pytest.mark.parametrize("key", ["", "SG.other"])
def test_without_the_right_key_it_is_unauthorized(sandbox: Sandbox, key: str) -> None:
    reply = send_mail(sandbox, key=key)

    assert reply.status == 401
    assert sandbox.sendgrid.messages == []


def test_a_bad_key_is_refused_in_sendgrids_words(sandbox: Sandbox) -> None:
    message = "The provided authorization grant is invalid, expired, or revoked"

    assert send_mail(sandbox, key="SG.other").json == {"errors": [{"message": message, "field": None, "help": None}]}


def test_an_auth_error_can_be_set(sandbox: Sandbox) -> None:
    sandbox.sendgrid.auth_error = "Maximum credits exceeded"

    reply = send_mail(sandbox)

    assert (reply.status, reply.json["errors"][0]["message"]) == (401, "Maximum credits exceeded")


def test_scopes_are_listed_and_obeyed(sandbox: Sandbox) -> None:
    sandbox.sendgrid.scopes = ("user.profile.read",)

    listed = send_one_request(sandbox.sendgrid_api_url, "/v3/scopes", method="GET", key=sandbox.sendgrid.api_key)

    assert listed.json == {"scopes": ["user.profile.read"]}
    assert send_mail(sandbox).status == 403


BAD = [
    (mail_payload("not-an-address"), "personalizations.0.to.0.email"),
    (mail_payload("refused@corp.example"), "personalizations.0.to.0.email"),
    (mail_payload("a@corp.example, b@corp.example"), "personalizations.0.to.0.email"),
    (mail_payload(personalizations=[to("a@b.example")] * 3 + [to("nobody")]), "personalizations.3.to.0.email"),
    (mail_payload(personalizations=[to("a@b.example", "A@b.example")]), "personalizations.0"),
    (mail_payload(personalizations=[to("a@b.example", cc=[{"email": "a@b.example"}])]), "personalizations.0"),
    (mail_payload(personalizations=[to("a@b.example", bcc=[{"email": "nobody"}])]), "personalizations.0.bcc.0.email"),
    (mail_payload(personalizations=[]), "personalizations"),
    (mail_payload(personalizations=None), "personalizations"),
    (mail_payload(personalizations={}), "personalizations"),
    (mail_payload(personalizations=["a@b.example"]), "personalizations.0"),
    (mail_payload(personalizations=[to(f"p{n}@b.example") for n in range(1001)]), "personalizations"),
    (mail_payload(personalizations=[to(*(f"p{n}@b.example" for n in range(1001)))]), "personalizations"),
    (mail_payload(personalizations=[{"to": []}]), "personalizations.0.to"),
    (mail_payload(personalizations=[{"subject": "x"}]), "personalizations.0.to"),
    (mail_payload(personalizations=[to("a@b.example", custom_args={"n": 1})]), "personalizations.0.custom_args"),
    (
        mail_payload(personalizations=[to("a@b.example", custom_args={"n": "x" * 10_000})]),
        "personalizations.0.custom_args",
    ),
    (mail_payload(personalizations=[to("a@b.example", substitutions={"-n-": 1})]), "personalizations.0.substitutions"),
    (
        mail_payload(personalizations=[to("a@b.example", substitutions={"-n-": "x" * 10_000})]),
        "personalizations.0.substitutions",
    ),
    (
        mail_payload(personalizations=[to("a@b.example", substitutions={f"-{n}-": "" for n in range(101)})]),
        "personalizations.0.substitutions",
    ),
    (
        mail_payload(personalizations=[to("a@b.example", headers={"To": "x@y.example"})]),
        "personalizations.0.headers.To",
    ),
    (mail_payload(personalizations=[to("a@b.example", shout=True)]), "personalizations.0.shout"),
    (
        mail_payload(personalizations=[{"to": [{"email": "a@b.example", "name": "A, B"}]}]),
        "personalizations.0.to.0.name",
    ),
    (mail_payload(custom_args={"n": "1"}), "custom_args"),
    (mail_payload(**{"from": None}), "from.email"),
    (mail_payload(**{"from": {"email": "nobody"}}), "from.email"),
    (mail_payload(subject=None), "subject"),
    (mail_payload(subject=""), "subject"),
    (mail_payload(content=None), "content"),
    (mail_payload(content=[]), "content"),
    (mail_payload(content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
    (mail_payload(content=[{"type": "", "value": "x"}]), "content.0.type"),
    (mail_payload(content=[HTML, TEXT]), "content"),
    (mail_payload(headers={"X-Number": 7}), "headers.X-Number"),
    (mail_payload(headers=[]), "headers"),
]


@each(("payload", "field"), BAD)
def test_a_mail_that_sendgrid_would_refuse_is_refused_with_the_field(
    sandbox: Sandbox, payload: dict[str, Any], field: str
) -> None:
    reply = send_mail(sandbox, payload)

    assert reply.status == 400
    assert [error["field"] for error in reply.json["errors"]] == [field]
    assert all(error["message"] for error in reply.json["errors"])
    assert sandbox.sendgrid.messages == []


@pytest.mark.parametrize(
    "payload",
    [
        mail_payload(subject=None, personalizations=[to("a@b.example", subject="own")]),
        mail_payload(personalizations=[to("a@b.example", headers={"Message-ID": "<1@b.example>"})]),
        mail_payload(content=[HTML]),
        mail_payload(content=[TEXT, HTML, {"type": "text/calendar", "value": "c"}]),
        mail_payload(tracking_settings={"click_tracking": {"enable": False}}),
    ],
)
def test_a_mail_that_sendgrid_would_take_is_taken(sandbox: Sandbox, payload: dict[str, Any]) -> None:
    assert send_mail(sandbox, payload).status == 202


def test_sandbox_mode_answers_200_and_sends_nothing(sandbox: Sandbox) -> None:
    reply = send_mail(sandbox, mail_payload(mail_settings={"sandbox_mode": {"enable": True}}))

    assert reply.status == 200
    assert sandbox.sendgrid.messages == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b'{"a":"' + b"x" * (30 * 1024 * 1024) + b'"}', {}, 413),
    ],
    ids=["broken", "array", "type", "size"],
)
def test_a_body_that_is_no_mail_gets_its_status(
    sandbox: Sandbox, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert send_mail(sandbox, body, headers=headers).status == status


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/v3/else", 404), ("GET", "/v3/mail/send", 405)])
def test_other_paths_and_methods_are_refused(sandbox: Sandbox, method: str, path: str, status: int) -> None:
    reply = send_one_request(sandbox.sendgrid_api_url, path, method=method, key=sandbox.sendgrid.api_key)

    assert reply.status == status


def test_a_flaky_address_fails_once_and_then_works(sandbox: Sandbox) -> None:
    assert [send_mail(sandbox, mail_payload("flaky@corp.example")).status for _ in range(2)] == [503, 202]
