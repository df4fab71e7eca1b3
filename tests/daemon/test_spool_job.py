"""The daemon publishes the events that `send` spooled while it, or its database, was away."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from alertctl import users
from alertctl.config import load
from alertctl.daemon.spool_job import SpoolJob
from alertctl.db import Store, Writer
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest
from alertctl.spool import Destination, Spool, database_address
from alertctl.spool.destination import caller_of
from tests.support.waiting import wait_until

PUBLIC = "https://alerts.corp.example"
DAY = timedelta(days=1)
NOBODY = 65534


def keep(destination: str, *titles: str, caller: str | None = None) -> Spool:
    spool = Spool.of(os.environ)
    for title in titles:
        fields = {"title": title}
        asked = PublishRequest(
            event_type="generic_alert", fields=fields, to=["slack:#ops"], idempotency_key=f"job {title}"
        )
        late = datetime.now(UTC) - timedelta(minutes=31)
        spool.keep(asked, Destination(destination, bool(caller), caller), "away", late)
    return spool


@pytest.mark.postgres
def test_events_for_its_database_are_published_at_the_start_and_later(
    serve, settings, database_url, sandbox: Sandbox, call
):
    spool = keep(database_address(database_url), *(f"n{number}" for number in range(20)))
    for other in ("sqlite:////somewhere/else.db", "the destination that DATABASE_URL names"):
        keep(other, f"not mine: {other}")
    daemon = serve()
    sandbox.slack.wait_for(20, 30)
    assert all("delayed 31 min" in json.dumps(message.blocks) for message in sandbox.slack.messages)
    wait_until(lambda: spool.waiting() == 2)
    keep(database_address(database_url), "later")
    sandbox.slack.wait_for(21, 30)
    wait_until(lambda: spool.waiting() == 2)
    assert call(daemon, "GET", "delivery-log")[1]["total"] == 21
    assert "published 20 spooled events" in "".join(daemon.log)


def test_an_event_spooled_for_the_daemon_is_published_as_its_callers_call(serve, sandbox: Sandbox, call):
    spool = keep(PUBLIC, "n1", caller=caller_of(call.token))
    daemon = serve(ALERTCTL_PUBLIC_URL=PUBLIC)
    sandbox.slack.wait_for(1, 30)
    wait_until(lambda: spool.waiting() == 0)
    body = {"event_type": "generic_alert", "title": "n1", "to": ["slack:#ops"]}
    status, again = call(daemon, "POST", "events", body, Idempotency_Key="job n1")
    (item,) = call(daemon, "GET", "delivery-log")[1]["items"]
    assert (status, again["event_id"]) == (202, item["event_id"])
    event = call(daemon, "GET", f"delivery-log/{item['id']}")[1]["event"]
    assert event["published_by"] == "admin@corp.example"


def test_an_event_with_a_refused_token_stays_and_is_logged_once(serve, sandbox: Sandbox, call, database_url):
    spool = keep(PUBLIC, "n1", caller=caller_of("actl_nobodys"))
    keep(database_address(database_url), "n2")
    daemon = serve(ALERTCTL_PUBLIC_URL=PUBLIC)
    sandbox.slack.wait_for(1, 30)
    wait_until(lambda: "spool: 1 event remaining: the token is unknown" in "".join(daemon.log))
    assert spool.waiting() == 1
    keep(database_address(database_url), "n3")
    sandbox.slack.wait_for(2, 30)
    assert "".join(daemon.log).count("event remaining") == 1


@pytest.mark.parametrize("change", ["revoked", "expired"])
def test_a_spooled_event_is_published_as_its_tokens_user_after_a_rotation(
    serve, sandbox: Sandbox, call, store: Store, change
):
    now = datetime.now(UTC)
    made = now - timedelta(days=2)
    item, secret = store.write(lambda it: users.create_token(it, "ci@corp.example", "developer", DAY, made))
    if change == "revoked":
        store.write(lambda it: users.revoke_token(it, item.id, now))
    spool = keep(PUBLIC, "n1", caller=caller_of(secret))
    daemon = serve(ALERTCTL_PUBLIC_URL=PUBLIC)
    sandbox.slack.wait_for(1, 30)
    wait_until(lambda: spool.waiting() == 0)
    (item,) = call(daemon, "GET", "delivery-log")[1]["items"]
    event = call(daemon, "GET", f"delivery-log/{item['id']}")[1]["event"]
    assert event["published_by"] == "ci@corp.example"


def test_a_spooled_event_that_is_not_allowed_waits_with_the_reason_and_blocks_no_other(
    serve, sandbox: Sandbox, call, store: Store
):
    now = datetime.now(UTC)
    viewer = store.write(lambda it: users.create_token(it, "viewer@corp.example", "viewer", None, now))[1]
    gone = store.write(lambda it: users.create_token(it, "gone@corp.example", "developer", None, now))[1]
    store.write(lambda it: users.change_user(it, "gone@corp.example", disabled=True))
    reasons = {
        "nobody's": "the token is unknown",
        "none": "it was spooled without a token",
        "viewer": "publishing requires the role developer, its token has viewer",
        "gone": "gone@corp.example is disabled",
    }
    keep(PUBLIC, "nobody's", caller=caller_of("actl_nobodys"))
    keep(PUBLIC, "none")
    keep(PUBLIC, "viewer", caller=caller_of(viewer))
    keep(PUBLIC, "gone", caller=caller_of(gone))
    spool = keep(PUBLIC, "good", caller=caller_of(call.token))
    serve(ALERTCTL_PUBLIC_URL=PUBLIC)
    sandbox.slack.wait_for(1, 30)
    wait_until(lambda: all("ALERTCTL_TOKEN publishes it" in item.cause for item in spool.entries()[0]))
    assert len(sandbox.slack.messages) == 1
    waiting = {item.request.fields["title"]: item for item in spool.entries()[0]}
    assert waiting.keys() == reasons.keys()
    assert all(waiting[title].cause.startswith(reason) for title, reason in reasons.items())
    assert [item.refused for item in waiting.values()] == [None] * 4


def test_a_refused_event_is_set_aside_and_logged(serve, sandbox: Sandbox, database_url):
    spool = keep(database_address(database_url), "x")
    (kept,) = spool.entries()[0]
    file = spool.folder / kept.name
    file.write_text(file.read_text().replace("generic_alert", "unheard_of"))
    daemon = serve()
    wait_until(lambda: f"spool: unheard_of {kept.id} was refused and set aside" in "".join(daemon.log))
    assert spool.waiting() == 0
    assert "is not an event type" in str(spool.entries()[0][0].refused)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_an_event_that_cannot_be_read_is_logged_once_and_published_later(database_url, store, caplog, monkeypatch):
    with tempfile.TemporaryDirectory() as folder, closing(Writer(store)) as writer:
        monkeypatch.setenv("XDG_STATE_HOME", folder)
        spool = keep(database_address(database_url), "n1")
        for path in (folder, spool.folder.parent, spool.folder):
            os.chown(path, NOBODY, NOBODY)
        (file,) = spool.folder.iterdir()
        settings = load({"DATABASE_URL": database_url})
        job = SpoolJob(spool, settings, (), store, writer, lambda: None, lambda: datetime.now(UTC))
        os.seteuid(NOBODY)
        try:
            job()
            job()
        finally:
            os.seteuid(0)
        assert list(spool.folder.iterdir()) == [file]
        job()
        assert spool.waiting() == 0
    cause = f"{file} cannot be read: Permission denied"
    assert caplog.messages == [f"spool: 1 event remaining: {cause}; retrying later"]
