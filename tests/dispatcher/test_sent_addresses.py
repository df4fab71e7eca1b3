"""Addresses on their way from a publisher to a provider: each one reaches exactly the address that was written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alertctl.delivery_log import page
from alertctl.schemas import LogFilter
from tests.support.deliveries import announce, publication, row, rows


@pytest.mark.parametrize("provider", ["smtp", "sendgrid"])
def test_an_international_domain_is_sent_to_its_a_label(store, sandbox, run, clock, provider):
    announce(store, "email:ops@faß.example", now=clock())
    assert run(**sandbox.settings(provider)).success == 1
    kept = row(store)
    assert (kept.address, kept.address_key) == ("ops@faß.example", "ops@xn--fa-hia.example")
    if provider == "smtp":
        (message,) = sandbox.smtp.messages
        assert (message.rcpt_tos, message.parsed["To"]) == (["ops@xn--fa-hia.example"], "ops@xn--fa-hia.example")
    else:
        (mail,) = sandbox.sendgrid.messages
        assert mail.personalization["to"] == [{"email": "ops@xn--fa-hia.example"}]


def test_addresses_that_only_look_alike_are_deliveries_of_their_own(store, sandbox, run, clock):
    emails = ["weiss@corp.example", "weiß@corp.example", "ops@fass.example", "ops@faß.example", "\u212aai@x.example"]
    channels = ["#masse", "#maße"]
    announce(store, *(f"email:{entry}" for entry in emails), *(f"slack:{entry}" for entry in channels), now=clock())
    assert run().success == 7
    assert [message.channel for message in sandbox.slack.messages] == channels
    reached = sorted(message.rcpt_tos[0] for message in sandbox.smtp.messages)
    assert reached == sorted([*emails[:3], "ops@xn--fa-hia.example", emails[4]])


@pytest.mark.postgres
def test_addresses_that_reach_the_same_are_one_delivery(store, sandbox, run, clock):
    emails = ["ops@faß.example", "OPS@XN--FA-HIA.example", "ops@FAß.example"]
    channels = ["#Cafe\u0301", "café", "#CAFé"]
    announce(store, *(f"email:{entry}" for entry in emails), *(f"slack:{entry}" for entry in channels), now=clock())
    assert [entry.address for entry in rows(store)] == [emails[0], channels[0]]


def test_a_slack_channel_is_sent_as_slack_writes_it(store, sandbox, run, clock):
    announce(store, "slack:#cafe\u0301", now=clock())
    assert run().success == 1
    assert [message.channel for message in sandbox.slack.messages] == ["#caf\u00e9"]


def test_an_address_that_is_invalid_by_now_does_not_keep_the_event_from_the_others(store, sandbox, run, clock):
    """A preference may hold what an older version accepted."""
    from alertctl.publish import publish
    from alertctl.routing import Target

    to = tuple(Target("email", address, "named") for address in (f"a@{'ä' * 240}", "b@☃.example", "dev@corp.example"))
    prepared = replace(publication("generic_alert", {"title": "x"}), to=to)
    store.write(lambda connection: publish(connection, prepared, clock()))
    run()
    assert [(entry.status, entry.error) for entry in rows(store)] == [
        ("failed", "invalid_address"),
        ("failed", "invalid_address"),
        ("success", None),
    ]


@pytest.mark.parametrize("written", ["ops@faß.example", "OPS@xn--fa-hia.example"])
def test_the_log_finds_an_address_however_it_is_written(store, clock, written):
    announce(store, "email:ops@faß.example", "email:ops@fass.example", now=clock())
    with store.reading() as connection:
        shown = page(connection, LogFilter(to=written), limit=10)
    assert [entry.to for entry in shown.items] == ["ops@faß.example"]
