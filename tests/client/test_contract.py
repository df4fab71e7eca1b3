"""The contract of every client: on SQLite, on Postgres and through a server, with the same results and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alertctl.client import Client
from alertctl.client.local import LocalClient
from alertctl.client.remote import OTHER_PUBLISHER, RemoteClient
from alertctl.client.server_config import ServerConfig
from alertctl.errors import Conflict, InvalidEvent, NotFound
from alertctl.sandbox import Sandbox
from alertctl.schemas import DeliveryItem, LogFilter, PublishRequest, RouteList
from tests.support.clients import ADMIN, ClientPair, Refused, now, outcome, rollback, serving, settings_on, token_for

EVERYTHING = LogFilter()


def opened(stack: ExitStack, url: str, sandbox: Sandbox, *, remote: bool) -> Any:
    settings = settings_on(url, sandbox.settings())
    if not remote:
        return stack.enter_context(LocalClient(settings))
    address = stack.enter_context(serving(settings))
    return stack.enter_context(RemoteClient(ServerConfig(address, token_for(url, ADMIN, "admin"), timeout=20)))


@pytest.fixture(params=["sqlite", "postgres", "server"])
def client(request: pytest.FixtureRequest, tmp_path, sandbox: Sandbox) -> Iterator[Client]:
    on_postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres_url" if on_postgres else "sqlite_url")
    with ExitStack() as stack:
        yield opened(stack, url, sandbox, remote=request.param == "server")


@pytest.fixture
def clients(tmp_path, sandbox: Sandbox) -> Iterator[ClientPair]:
    """A local and a remote client of one log with deliveries of every kind."""
    url = f"sqlite:///{tmp_path / 'alertctl.db'}"
    with ExitStack() as stack:
        both = ClientPair(opened(stack, url, sandbox, remote=False), opened(stack, url, sandbox, remote=True))
        deliver_examples(both.local)
        yield both


def deliver_examples(client: Client) -> list[list[DeliveryItem]]:
    """Publish and deliver three events: one to Slack and email, one to a missing channel, and a custom alert."""
    requests = (
        rollback("slack:#ops", "email:ana@corp.example", labels={"team": "growth", "note": "a & b=c"}),
        rollback("slack:#missing", fields={"feature_flag": "other"}, labels={"team": "growth"}),
        PublishRequest(event_type="generic_alert", fields={"title": "Disk 91%"}, to=["slack:#ops"]),
    )
    return [client.deliver(client.publish(item).event_id) for item in requests]


def test_an_event_is_recorded_sent_and_listed(client: Client, sandbox: Sandbox):
    receipt = client.publish(rollback("slack:#ops", "email:ana@corp.example"))
    assert (receipt.created, {item.to for item in receipt.deliveries}) == (True, {"#ops", "ana@corp.example"})
    assert {item.status for item in receipt.deliveries} == {"pending"}
    assert [item.status for item in client.deliver(receipt.event_id)] == ["success", "success"]
    assert (len(sandbox.slack.messages), len(sandbox.smtp.messages)) == (1, 1)
    assert {item.id for item in client.log(EVERYTHING).items} == {item.id for item in receipt.deliveries}


def test_a_key_makes_a_repeat_harmless_and_another_body_under_it_is_refused(client: Client, sandbox: Sandbox):
    first = client.publish(rollback("slack:#ops", idempotency_key="job-1"))
    again = client.publish(rollback("slack:#ops", idempotency_key="job-1"))
    assert (again.event_id, first.created, again.created) == (first.event_id, True, False)
    with pytest.raises(Conflict):
        client.publish(rollback("slack:#elsewhere", idempotency_key="job-1"))
    client.deliver(first.event_id)
    assert len(sandbox.slack.messages) == 1


def test_a_publish_token_repeats_the_event_of_another_user(tmp_path, sandbox: Sandbox):
    url = f"sqlite:///{tmp_path / 'alertctl.db'}"
    request = rollback("slack:#ops", fields={"dedup_key": "checkout"})
    with serving(settings_on(url, sandbox.settings())) as address, ExitStack() as stack:
        admin = stack.enter_context(RemoteClient(ServerConfig(address, token_for(url, ADMIN, "admin"))))
        _, token = admin.create_token("ci@corp.example", None, None, "publish")
        job = stack.enter_context(RemoteClient(ServerConfig(address, token)))
        first, again = admin.publish(request), job.publish(request)
        assert (again.event_id, again.created, again.warnings) == (first.event_id, False, [OTHER_PUBLISHER])
        assert ([item.to for item in again.deliveries], again.is_current) == (["#ops"], False)


def test_duplicates_within_a_window_are_recorded_and_suppressed(client: Client):
    request = rollback("slack:#ops", fields={"dedup_key": "checkout"}, dedup_window=600.0)
    first, later = client.publish(request), client.publish(replace(request, idempotency_key="another"))
    assert [item.status for item in client.deliver(first.event_id)] == ["success"]
    (suppressed,) = client.deliver(later.event_id)
    assert (suppressed.status, suppressed.error) == ("suppressed", f"duplicate of {first.event_id}")


def test_an_expired_event_is_not_sent(client: Client, sandbox: Sandbox):
    (item,) = client.deliver(client.publish(rollback("slack:#ops", expires_at=now() - timedelta(seconds=1))).event_id)
    assert (item.status, item.error) == ("failed", "expired")
    assert sandbox.slack.messages == []


def test_a_preview_shows_the_message_and_records_nothing(client: Client, sandbox: Sandbox):
    previews = client.preview(rollback("slack:#ops", "email:ana@corp.example", fields={"flag": "x"}))
    slack, mail = previews.items
    assert [warning for warning in previews.warnings if warning.startswith("flag: ")]
    assert (slack.to, mail.to) == ("#ops", "ana@corp.example")
    assert "checkout-v3" in str(slack.message["blocks"])
    assert "checkout-v3" in mail.message["headers"]["Subject"]
    assert {"text", "html"} < set(mail.message)
    assert (client.log(EVERYTHING).total, sandbox.slack.messages) == (0, [])


def test_a_test_message_reports_its_result(client: Client):
    success = client.test("slack", "#ops")
    assert (success.success, "#ops" in success.message, success.error) == (True, True, None)
    refused = client.test("slack", "#missing")
    assert (refused.success, refused.error) == (False, "channel_not_found")
    assert client.show(refused.delivery_id).event.is_test
    everyone = client.test("email", None, all_defaults=True)
    assert everyone.message == "Test notification sent to admin@corp.example"


FILTERS: list[tuple[LogFilter, int]] = [
    (LogFilter(), 4),
    (LogFilter(status="failed"), 1),
    (LogFilter(event_type="generic_alert"), 1),
    (LogFilter(channel="slack"), 3),
    (LogFilter(channel="slack", status="success"), 2),
    (LogFilter(to="#OPS"), 2),
    (LogFilter(to="Ana@Corp.example"), 1),
    (LogFilter(error="channel_not_found"), 1),
    (LogFilter(flag="checkout-v3"), 2),
    (LogFilter(experiment="checkout-v3"), 0),
    (LogFilter(labels={"team": "growth"}), 3),
    (LogFilter(labels={"team": "growth", "note": "a & b=c"}), 2),
    (LogFilter(labels={"team": "growth"}, status="failed"), 1),
    (LogFilter(labels={"team": "other"}), 0),
    (LogFilter(grep="disk 91%"), 1),
    (LogFilter(user="nobody@corp.example"), 0),
    (LogFilter(retrying=True), 0),
    (LogFilter(final=True), 4),
    (LogFilter(since=now() - timedelta(hours=1)), 4),
    (LogFilter(until=now() - timedelta(hours=1)), 0),
]


@pytest.mark.postgres
def test_every_filter_finds_what_it_says(client: Client):
    deliver_examples(client)
    for where, expected in FILTERS:
        page = client.log(where)
        assert (len(page.items), page.total) == (expected, expected), where


def test_a_cursor_walks_through_the_complete_log_newest_first(client: Client):
    deliver_examples(client)
    ids, cursor = [], None
    while True:
        page = client.log(EVERYTHING, limit=3, cursor=cursor)
        ids += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert ids == sorted(ids, reverse=True)
    assert ids == [item.id for item in client.log(EVERYTHING, limit=100).items]


def test_a_detail_has_the_event_the_rule_every_attempt_and_the_other_deliveries(client: Client):
    (slack, mail), (missing,), _ = deliver_examples(client)
    detail = client.show(slack.id)
    assert (detail.routing_reason, detail.event.fields["feature_flag"]) == ("named", "checkout-v3")
    assert [item.outcome for item in detail.attempt_log] == ["success"]
    assert [item.id for item in detail.others] == [mail.id]
    (attempt,) = client.show(missing.id).attempt_log
    assert (attempt.outcome, attempt.code, attempt.reason) == ("failed", "channel_not_found", "bad_address")
    assert client.rendered(mail.id).message["headers"]["To"] == "ana@corp.example"


def test_following_yields_earlier_and_new_deliveries(client: Client):
    deliver_examples(client)
    items = client.follow(LogFilter(since=now() - timedelta(hours=1)))
    before = [next(filter(None, items)).id for _ in range(4)]
    assert sorted(before) == sorted(item.id for item in client.log(EVERYTHING).items)
    event_id = client.publish(rollback("slack:#late")).event_id
    client.deliver(event_id)
    states = []
    while "success" not in states:
        item = next(filter(None, items))
        assert item.to == "#late"
        states.append(item.status)
    assert len(states) == len(set(states))
    items.close()  # type: ignore[attr-defined]


def test_following_labels_yields_only_deliveries_of_events_with_all_of_them(client: Client):
    deliver_examples(client)
    labels = {"team": "growth", "note": "a & b=c"}
    items = client.follow(LogFilter(since=now() - timedelta(hours=1), labels=labels))
    assert [next(filter(None, items)).labels for _ in range(2)] == [labels] * 2
    client.deliver(client.publish(rollback("slack:#other", labels={"team": "growth"})).event_id)
    client.deliver(client.publish(rollback("slack:#late", labels=labels)).event_id)
    assert next(filter(None, items)).to == "#late"
    items.close()  # type: ignore[attr-defined]


def test_routes_are_listed_and_tested_alike(client: Client):
    client.add_user("ana@corp.example", "viewer")
    assert client.routes() == RouteList(items=[], default=["slack:#platform-alerts", "email:admin@corp.example"])
    request = PublishRequest(event_type="safety_rollback", labels={"slack": "#extra", "team": "x" * 300})
    result = client.test_routes(request, "ana@corp.example")
    assert [(item.to, item.source, item.user) for item in result.targets] == [
        ("#platform-alerts", "SLACK_DEFAULT_CHANNEL", None),
        ("admin@corp.example", "NOTIFICATION_ADMIN_EMAILS", None),
        ("#extra", "label slack", None),
        ("ana@corp.example", "preferences", "ana@corp.example"),
    ]
    assert [(item.channel, item.notifies) for item in result.preferences] == [("slack", False), ("email", True)]
    assert (result.notes, result.warnings) == ([], ["labels.team: is longer than 255 characters and was cut"])
    with pytest.raises(NotFound, match="nobody"):
        client.test_routes(request, "nobody@corp.example")
    with pytest.raises(InvalidEvent, match="did you mean safety_rollback"):
        client.test_routes(replace(request, event_type="safety_rolback"), None)


def test_the_log_in_numbers(client: Client):
    deliver_examples(client)
    stats = client.stats(EVERYTHING, "channel")
    assert [(item.key, item.total, item.success, item.failed) for item in stats.items] == [
        ("slack", 3, 2, 1),
        ("email", 1, 1, 0),
    ]
    assert [item.key for item in client.stats(LogFilter(status="failed"), "error").items] == ["channel_not_found"]


def test_old_and_final_deliveries_are_taken_out(client: Client):
    deliver_examples(client)
    assert client.prune(timedelta(days=1)).deliveries == 0
    rehearsed = client.prune(timedelta(0), dry_run=True)
    assert (rehearsed.deliveries, rehearsed.dry_run, client.log(EVERYTHING).total) == (4, True, 4)
    assert client.prune(timedelta(0)).deliveries == 4
    assert client.log(EVERYTHING).total == 0


def test_a_failed_delivery_is_resent_and_a_delivered_one_only_with_again(client: Client, sandbox: Sandbox):
    (slack, _), (missing,), _ = deliver_examples(client)
    sandbox.slack.faults.at("#missing", "ok")
    done = client.resend([missing.id, slack.id])
    assert [item.id for item in done] == [missing.id, slack.id]
    assert done[0].problem is None
    assert "arrived" in (done[1].problem or "")
    wait_for_status(client, missing.id, "success")
    detail = client.show(missing.id)
    assert [item.requested_by is not None for item in detail.attempt_log] == [False, True]
    assert [item.problem for item in client.resend([slack.id], again=True)] == [None]


def wait_for_status(client: Client, delivery_id: str, status: str) -> None:
    """Dispatch until a delivery has this status; this process or a daemon sends it."""
    for _ in range(100):
        client.dispatch()
        if client.show(delivery_id).status == status:
            return
    raise AssertionError(client.show(delivery_id))


@pytest.mark.postgres
def test_due_deliveries_are_dispatched(client: Client, sandbox: Sandbox):
    sandbox.slack.faults.always("http_503")
    (item,) = client.deliver(client.publish(rollback("slack:#ops")).event_id)
    assert (item.status, item.error) == ("failed", "http_503")
    sandbox.slack.faults.clear()
    wait_for_status(client, item.id, "success")
    assert len(sandbox.slack.messages) == 1


def test_the_status_says_where_and_how_it_stands(client: Client):
    deliver_examples(client)
    status = client.status()
    assert status.depth == {"slack": 0, "email": 0}
    assert all(status.last_success.values())
    assert status.paused == []


def test_preferences_are_read_changed_listed_and_reset(client: Client):
    client.add_user("ana@corp.example", "viewer")
    standard = client.preferences("ana@corp.example")
    assert (standard["notify_on_rollout_advance"], standard["slack_channel"]) == (False, None)
    changed = client.set_preferences("ana@corp.example", {"notify_on_rollout_advance": True, "slack_channel": "#ana"})
    assert changed == {**standard, "notify_on_rollout_advance": True, "slack_channel": "#ana"}
    assert changed in client.all_preferences(1, 100)
    with pytest.raises(InvalidEvent, match=r"^slack_channel"):
        client.set_preferences("ana@corp.example", {"slack_channel": "two words"})
    assert client.reset_preferences("ana@corp.example") == standard
    with pytest.raises(NotFound):
        client.preferences("nobody@corp.example")


def test_users_and_tokens_come_and_go(client: Client):
    added = client.add_user("ana@corp.example", "viewer")
    assert (added.role, added.disabled) == ("viewer", False)
    assert client.change_user("ana@corp.example", role="analyst").role == "analyst"
    token, secret = client.create_token("ana@corp.example", "viewer", timedelta(days=90))
    assert secret.startswith("actl_")
    assert token.id in {item.id for item in client.tokens()}
    assert client.revoke_token(token.id).revoked_at is not None
    assert client.change_user("ana@corp.example", disabled=True).disabled
    assert not client.change_user("ana@corp.example", disabled=False).disabled
    assert "ana@corp.example" in {item.email for item in client.users()}
    assert client.change_user(added.id, email="Ana@New.Example").email == "ana@new.example"
    assert client.unlink_user(added.id).subject is None
    assert client.remove_user("ana@new.example").id == added.id
    assert added.id not in {item.id for item in client.users()}
    assert token.id not in {item.id for item in client.tokens()}


def test_the_event_types_are_those_of_the_registry(client: Client):
    assert [item.event_type for item in client.event_types()] == [
        "safety_rollback",
        "experiment_lifecycle",
        "rollout_advance",
        "generic_alert",
    ]


# What the command line itself checks (states, event types, what to count by) doesn't come this far.
WRONG: list[tuple[str, Callable[[Any], Any]]] = [
    ("an event of no type", lambda it: it.publish(PublishRequest(event_type="safety_rolback"))),
    ("a wrong value", lambda it: it.publish(rollback("slack:#x", fields={"value": "high"}))),
    ("a wrong value", lambda it: it.publish(rollback("slack:#x", fields={"value": "much"}))),
    ("a required field", lambda it: it.publish(PublishRequest(event_type="generic_alert"))),
    ("a target", lambda it: it.publish(rollback("pager:x"))),
    ("an address", lambda it: it.publish(rollback("email:ana"))),
    ("a channel", lambda it: it.publish(PublishRequest(event_type="safety_rollback", channel="pager"))),
    ("a preview", lambda it: it.preview(rollback("pager:x"))),
    ("a test's address", lambda it: it.test("slack", "two words")),
    ("an id that isn't", lambda it: it.show("ffffffff")),
    ("an id that is not an id", lambda it: it.show("not an id/?#")),
    ("an id of many", lambda it: it.show("-7")),
    ("the message of none", lambda it: it.rendered("ffffffff")),
    ("a resend of none", lambda it: it.resend(["ffffffff"])),
    ("nobody's preferences", lambda it: it.preferences("nobody@corp.example")),
    ("no preference", lambda it: it.set_preferences(ADMIN, {"notify": True})),
    ("no boolean", lambda it: it.set_preferences(ADMIN, {"slack_enabled": "yes"})),
    ("a user twice", lambda it: it.add_user(ADMIN, "viewer")),
    ("no email", lambda it: it.add_user("ana", "viewer")),
    ("no role", lambda it: it.add_user("ana@corp.example", "boss")),
    ("nobody's email", lambda it: it.change_user("nobody@corp.example", email="ana@corp.example")),
    ("another email that is none", lambda it: it.change_user(ADMIN, email="ana")),
    ("nobody's identity", lambda it: it.unlink_user("nobody@corp.example")),
    ("a removal of nobody", lambda it: it.remove_user("nobody@corp.example")),
    ("a removal of the last admin", lambda it: it.remove_user(ADMIN)),
    ("nobody's role", lambda it: it.change_user("nobody@corp.example", role="viewer")),
    ("a token for no role", lambda it: it.create_token(ADMIN, "boss", None)),
    ("a token that has ended", lambda it: it.create_token(ADMIN, "viewer", timedelta(seconds=-1))),
    ("no token", lambda it: it.revoke_token("ffffffff")),
]


def test_errors_have_the_same_message_on_both_clients(clients: ClientPair):
    different = {}
    for name, action in WRONG:
        local_outcome, remote_outcome = outcome(action, clients.local), outcome(action, clients.remote)
        if local_outcome != remote_outcome or not isinstance(local_outcome, Refused):
            different[name] = (local_outcome, remote_outcome)
    assert different == {}, "".join(
        f"\n{name}:\n  {local_outcome}\n  {remote_outcome}"
        for name, (local_outcome, remote_outcome) in different.items()
    )


def test_both_clients_return_the_same_for_one_log(clients: ClientPair):
    ids = [item.id for item in clients.local.log(EVERYTHING).items]
    for action in (
        *(lambda it, where=where: it.log(where) for where, _ in FILTERS),
        *(lambda it, item=item: it.show(item) for item in ids),
        *(lambda it, item=item: it.rendered(item) for item in ids),
        *(lambda it, by=by: it.stats(EVERYTHING, by) for by in ("event", "channel", "to", "error")),
        lambda it: it.log(EVERYTHING, limit=2, cursor=ids[1]),
        lambda it: it.prune(timedelta(0), dry_run=True),
        lambda it: it.event_types(),
        lambda it: it.users(),
        lambda it: it.preferences(ADMIN),
        lambda it: it.all_preferences(1, 20),
        lambda it: replace(it.status(), where="", daemon=True),
    ):
        assert not isinstance(clients.same(action), Refused)
