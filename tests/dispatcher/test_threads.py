"""One conversation per subject in Slack: a root that shows the current state, and replies."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta

import pytest
from sqlalchemy.event import listen

from alertctl import delivery_log, outbox
from alertctl.channels.base import MessageOptions
from alertctl.channels.slack import message_text
from alertctl.outbox.tables import delivery, thread
from alertctl.publish import publish
from tests.support.deliveries import dispatching, publication, row, rows, settings_for, wall_clock
from tests.support.threads import steps
from tests.support.waiting import wait_until


def publish_event(store, event_type, now, to="slack:#ops", **fields) -> str:
    alert = publication(event_type, fields, to=[to])
    return store.write(lambda connection: publish(connection, alert, now)).event_id


def experiment(store, action, now, **more) -> str:
    return publish_event(store, "experiment_lifecycle", now, experiment="new-cta", action=action, **more)


def rollout(store, to, now, **more) -> str:
    return publish_event(store, "rollout_advance", now, feature_flag="checkout-v3", to_percentage=to, **more)


def root_text(message) -> str:
    """Return the text that a message shows now."""
    return message_text({"blocks": message.current.blocks})


@pytest.mark.postgres
def test_later_messages_reply_and_the_root_shows_all_steps(store, sandbox, run, clock):
    for action in ("started", "paused", "resumed", "completed"):
        experiment(store, action, clock())
        run()
        clock.advance(10)
    root, *replies = sandbox.slack.messages
    assert [reply.thread_ts for reply in replies] == [root.ts] * 3
    assert [reply.broadcast for reply in replies] == [True] * 3
    assert len(root.edits) == 3
    assert root_text(root).startswith("✅ Experiment completed: new-cta\n")
    assert steps(root) == ["Started", "Paused", "Resumed", "Completed"]
    assert {entry.thread_id for entry in rows(store)} == {row(store, thread).id}


def test_edits_of_one_root_are_five_seconds_apart_and_replies_in_between_share_one(store, sandbox, run, clock):
    for to in (10, 20, 30, 40):
        rollout(store, to, clock())
        run()
        clock.advance(1)
    root = sandbox.slack.messages[0]
    assert len(root.edits) == 1
    clock.advance(2)
    run()
    assert len(root.edits) == 2
    assert "40%" in root_text(root)
    clock.advance(60)
    run()
    assert len(root.edits) == 2


def test_an_old_retry_does_not_roll_the_state_back(store, sandbox, run, clock):
    began = clock()
    experiment(store, "started", began)
    run()
    sandbox.slack.faults.then("http_503")
    experiment(store, "resumed", clock.advance(10))
    run()
    experiment(store, "completed", clock.advance(0.5))
    run()
    clock.advance(10)
    run()
    root = sandbox.slack.messages[0]
    assert [message.text.split(": ")[1] for message in sandbox.slack.messages] == [
        "Experiment started",
        "Experiment completed",
        "Experiment resumed",
    ]
    assert root_text(root).startswith("✅ Experiment completed: new-cta\n")
    assert steps(root) == ["Started", "Resumed", "Completed"]


def test_an_event_from_a_clock_that_is_ahead_does_not_hold_the_state(store, sandbox, run, clock):
    rollout(store, 10, clock(), occurred_at=(clock() + timedelta(hours=7)).isoformat())
    run()
    for to in (20, 30):
        rollout(store, to, clock.advance(10))
        run()
    assert steps(sandbox.slack.messages[0]) == ["Rollout to 10%", "Rollout to 20%", "Rollout to 30%"]


def test_a_resend_does_not_roll_the_state_back(store, sandbox, run, clock):
    for action in ("started", "completed"):
        experiment(store, action, clock())
        run()
        clock.advance(10)
    first = rows(store)[0].id
    store.write(lambda connection: outbox.resend(connection, [first], "me", clock(), again=True))
    run()
    root, *replies = sandbox.slack.messages
    assert [reply.thread_ts for reply in replies] == [root.ts, root.ts]
    assert steps(root) == ["Started", "Completed"]


def test_a_deleted_root_ends_the_thread_and_the_next_message_is_a_new_root(store, sandbox, run, clock):
    rollout(store, 10, clock())
    run()
    sandbox.slack.delete_message(sandbox.slack.messages[0])
    for to in (20, 30, 40):
        rollout(store, to, clock.advance(10))
        run()
    _, outside, root, reply = sandbox.slack.messages
    assert (outside.thread_ts, root.thread_ts, reply.thread_ts) == (None, None, root.ts)
    assert [entry.thread_id for entry in rows(store)][1] is None


def test_a_deleted_root_that_left_a_tombstone_ends_the_thread_at_its_next_edit(store, sandbox, run, clock):
    for to in (10, 20):
        rollout(store, to, clock.advance(10))
        run()
    sandbox.slack.delete_message(sandbox.slack.messages[0])
    for to in (30, 40):
        rollout(store, to, clock.advance(10))
        run()
    first, _, reply, root = sandbox.slack.messages
    assert (reply.thread_ts, root.thread_ts) == (first.ts, None)


def test_a_thread_that_refuses_replies_never_fails_an_alert(store, sandbox, run, clock):
    rollout(store, 10, clock())
    run()
    sandbox.slack.faults.then("slack:restricted_action_thread_locked")
    rollout(store, 20, clock.advance(10))
    assert run().success == 1
    outside = sandbox.slack.messages[1]
    assert (outside.thread_ts, outside.payload["channel"]) == (None, "#ops")
    assert rows(store, thread) == []


def test_a_rate_limit_of_edits_pauses_edits_only(store, sandbox, run, clock):
    rollout(store, 10, clock())
    run()
    sandbox.slack.faults.at("chat.update", "429:30")
    rollout(store, 20, clock.advance(10))
    assert run().success == 1
    rollout(store, 30, clock.advance(10))
    assert run().success == 1
    assert row(store, thread).edit_due_at == clock() + timedelta(seconds=20)
    sandbox.slack.faults.clear()
    clock.advance(21)
    run()
    assert len(sandbox.slack.messages[0].edits) == 1


def test_an_edit_that_fails_is_tried_again_and_then_given_up(store, sandbox, run, clock):
    rollout(store, 10, clock())
    run()
    sandbox.slack.faults.at("chat.update", "http_503")
    rollout(store, 20, clock.advance(10))
    assert run().success == 1
    waits = []
    while (due := row(store, thread).edit_due_at) is not None:
        waits.append((due - clock()).total_seconds())
        clock.now = due
        run()
    assert waits == [5, 10, 20, 40, 80, 160, 320]
    assert [entry.status for entry in rows(store)] == ["success"] * 2


@pytest.mark.parametrize("code", ["cant_update_message", "edit_window_closed"])
def test_a_root_that_cannot_be_edited_still_takes_replies(store, sandbox, run, clock, code):
    rollout(store, 10, clock())
    run()
    sandbox.slack.faults.at("chat.update", f"slack:{code}")
    for to in (20, 30):
        rollout(store, to, clock.advance(10))
        assert run().success == 1
    root, *replies = sandbox.slack.messages
    assert [reply.thread_ts for reply in replies] == [root.ts] * 2
    assert row(store, thread).edit_due_at is None


@pytest.mark.long
def test_a_reply_during_an_edit_is_followed_by_another_edit(store, sandbox, daemon):
    with daemon(SLACK_PER_SECOND="0"):
        for to in (10, 20):
            rollout(store, to, wall_clock())
            sandbox.slack.faults.at("chat.update", "slow:1")
            wait_until(lambda to=to: len(rows(store, status="success")) == to / 10)
        wait_until(lambda: any("chat.update" in call.path for call in sandbox.slack.calls))
        rollout(store, 30, wall_clock())
        wait_until(lambda: len(rows(store, status="success")) == 3)
        assert row(store, thread).edit_due_at is not None
        sandbox.slack.faults.clear()
        wait_until(lambda: "30%" in root_text(sandbox.slack.messages[0]))
    assert len(sandbox.slack.messages[0].edits) == 2


def test_one_dispatch_sends_all_messages_of_a_subject(store, sandbox, database_url):
    for to in (10, 20, 30):
        rollout(store, to, wall_clock())
    with dispatching(store, settings_for(sandbox, database_url), wall_clock) as dispatcher:
        assert dispatcher.run_once().success == 3
    root, *replies = sandbox.slack.messages
    assert [reply.thread_ts for reply in replies] == [root.ts] * 2
    assert "30%" in root_text(root)


def send_as_a_command(store, settings, event) -> None:
    with dispatching(store, settings, wall_clock) as dispatcher:
        dispatcher.run_once(event)
        dispatcher.wait_for_edits()


def test_a_command_waits_for_the_time_between_two_edits_of_a_root(store, sandbox, database_url):
    for action in ("started", "paused", "completed"):
        event = experiment(store, action, wall_clock())
        send_as_a_command(store, settings_for(sandbox, database_url), event)
    root = sandbox.slack.messages[0]
    assert steps(root) == ["Started", "Paused", "Completed"]
    first, second = root.edits
    assert second.at - first.at >= outbox.EDIT_GAP
    assert row(store, thread).edit_due_at is None


def test_commands_that_wait_for_the_same_root_share_an_edit(store, sandbox, database_url):
    settings = settings_for(sandbox, database_url)
    for to in (10, 20):
        send_as_a_command(store, settings, rollout(store, to, wall_clock()))
    with ExitStack() as stack:
        commands = [stack.enter_context(dispatching(store, settings, wall_clock)) for _ in range(3)]
        for to, command in zip((30, 40, 50), commands, strict=True):
            command.run_once(rollout(store, to, wall_clock()))
        assert len(sandbox.slack.edits) == 1
        for command in commands:
            command.wait_for_edits()
    wait_until(lambda: row(store, thread).edit_due_at is None)
    first, second = sandbox.slack.messages[0].edits
    assert steps(sandbox.slack.messages[0])[-1] == "Rollout to 50%"
    assert second.at - first.at >= outbox.EDIT_GAP


def test_a_command_leaves_an_edit_that_it_would_have_to_wait_for_to_a_daemon(store, sandbox, database_url):
    instance = outbox.Instance.current()
    store.write(lambda connection: outbox.save_instance(connection, instance, "", wall_clock()))
    for action in ("started", "paused", "completed"):
        send_as_a_command(store, settings_for(sandbox, database_url), experiment(store, action, wall_clock()))
    assert steps(sandbox.slack.messages[0]) == ["Started", "Paused"]
    due = row(store, thread).edit_due_at
    assert due == row(store, thread).next_edit_at
    assert due > wall_clock()


def test_a_command_does_not_wait_for_an_edit_that_slack_limits(store, sandbox, database_url):
    sandbox.slack.faults.at("chat.update", "429:3")
    for to in (10, 20, 30):
        send_as_a_command(store, settings_for(sandbox, database_url), rollout(store, to, wall_clock()))
    assert len([call for call in sandbox.slack.calls if "chat.update" in call.path]) == 1
    assert row(store, thread).edit_due_at is not None


def test_a_reply_during_the_edit_of_another_command_is_shown_by_its_own_command(store, sandbox, database_url):
    settings = settings_for(sandbox, database_url)
    send_as_a_command(store, settings, rollout(store, 10, wall_clock()))
    sandbox.slack.faults.at("chat.update", "slow:1")
    with dispatching(store, settings, wall_clock) as first:
        first.run_once(rollout(store, 20, wall_clock()))
        wait_until(lambda: any("chat.update" in call.path for call in sandbox.slack.calls))
        send_as_a_command(store, settings, rollout(store, 30, wall_clock()))
    first_edit, second_edit = sandbox.slack.messages[0].edits
    assert steps(sandbox.slack.messages[0]) == ["Rollout to 10%", "Rollout to 20%", "Rollout to 30%"]
    assert second_edit.at - first_edit.at >= outbox.EDIT_GAP
    assert row(store, thread).edit_due_at is None


@pytest.mark.postgres
def test_a_command_that_waits_for_an_edit_in_progress_writes_nothing(store, sandbox, database_url):
    settings, commits = settings_for(sandbox, database_url), []
    send_as_a_command(store, settings, rollout(store, 10, wall_clock()))
    store.write(lambda connection: connection.execute(thread.update().values(edit_due_at=wall_clock())))
    store.write(lambda connection: outbox.claim_edit(connection, "slack", wall_clock(), 60))
    with dispatching(store, settings, wall_clock) as command:
        command.run_once(rollout(store, 20, wall_clock()))
        listen(store.engine, "commit", commits.append)
        time.sleep(1)
        assert row(store, thread).edit_due_at is not None
        command.stop_edits()
        command.wait_for_edits()
    assert commits == []


def test_an_edit_does_not_wait_for_a_time_of_a_clock_that_was_set_back(store, sandbox, run, clock):
    for to in (10, 20):
        rollout(store, to, clock())
        run()
    clock.advance(-3600)
    rollout(store, 30, clock())
    run()
    assert [len(step.split()) for step in steps(sandbox.slack.messages[0])] == [3, 3, 3]
    rollout(store, 40, clock.advance(1))
    run()
    assert len(sandbox.slack.messages[0].edits) == 2
    assert row(store, thread).edit_due_at == clock() + timedelta(seconds=4)


def test_the_detail_of_a_root_has_the_time_of_its_last_edit(store, sandbox, run, clock):
    rollout(store, 10, clock())
    run()
    root = rows(store)[0].id

    def edited_at(delivery_id=root):
        with store.reading() as connection:
            return delivery_log.detail(connection, delivery_id).edited_at

    assert edited_at() is None
    sandbox.slack.faults.at("chat.update", "slack:cant_update_message")
    rollout(store, 20, clock.advance(10))
    run()
    assert edited_at() is None
    sandbox.slack.faults.clear()
    for _ in range(2):
        rollout(store, 30, clock.advance(10))
        run()
        assert edited_at() == clock()
    assert edited_at(rows(store)[1].id) is None


def test_an_edited_root_keeps_the_style_of_its_route(store, sandbox, run, clock):
    rollout(store, 10, clock())
    options = MessageOptions(style="compact").to_json()
    store.write(lambda connection: connection.execute(delivery.update().values(options=options)))
    run()
    rollout(store, 20, clock.advance(10))
    run()
    (update,) = sandbox.slack.messages[0].edits
    assert message_text({"blocks": update.blocks}).splitlines() == [
        "⏩ Rollout advanced: checkout-v3",
        "Rollout to 10% · Rollout to 20%",
    ]


@pytest.mark.postgres
def test_a_command_waits_for_the_root_that_another_process_sends(store, sandbox, daemon, database_url):
    sandbox.slack.latency = 0.5
    with daemon():
        rollout(store, 10, wall_clock())
        wait_until(lambda: rows(store, status="sending"))
        second = rollout(store, 20, wall_clock())
        with dispatching(store, settings_for(sandbox, database_url), wall_clock) as dispatcher:
            dispatcher.run_once(second)
        wait_until(lambda: row(store, event_id=second).status == "success")
    root, reply = sandbox.slack.messages
    assert reply.thread_ts == root.ts


def test_threads_can_be_switched_off(store, sandbox, run, clock):
    for to in (10, 20):
        rollout(store, to, clock())
        run(SLACK_THREADS="off")
    assert [message.thread_ts for message in sandbox.slack.messages] == [None, None]
    assert not any("chat.update" in call.path for call in sandbox.slack.calls)
