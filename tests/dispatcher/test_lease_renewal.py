"""A lease is renewed while its attempt is alive: a mail server that takes long gets every alert once."""

from __future__ import annotations

import pytest

from alertctl.outbox.tables import delivery
from tests.support.deliveries import EMAIL, announce, attempts, claim, row, wall_clock
from tests.support.waiting import wait_until

SLOW = {"ALERTCTL_DEADLINE": "500ms", "ALERTCTL_LEASE": "1500ms", "SMTP_FINAL_TIMEOUT": "10", "RETRY_SCHEDULE": "100ms"}


@pytest.mark.parametrize("queued", [1, 3])
def test_a_server_that_needs_longer_than_the_lease_gets_each_alert_once(store, sandbox, daemon, queued):
    sandbox.smtp.faults.always("slow_dot:2.5")
    ids = [announce(store, f"email:u{n}@corp.example", now=wall_clock()) for n in range(queued)]
    with daemon(**SLOW, ALERTCTL_SENDERS="1") as first, daemon(**SLOW) as second:
        wait_until(lambda: {row(store, event_id=event_id).status for event_id in ids} == {"success"})
        assert first.alive
        assert second.alive
    assert sorted(message.rcpt_tos[0] for message in sandbox.smtp.messages) == [
        f"u{n}@corp.example" for n in range(queued)
    ]
    assert [row(store, event_id=event_id).ambiguous for event_id in ids] == [False] * queued


def test_a_command_waits_for_such_a_server(store, sandbox, run, clock):
    sandbox.smtp.faults.always("slow_dot:2")
    event_id = announce(store, "email:dev@corp.example", now=clock())
    assert run(event_id, **SLOW).success == 1
    (tried,) = attempts(store, row(store, event_id=event_id).id)
    assert tried.duration_ms >= 2000
    assert len(sandbox.smtp.messages) == 1


@pytest.mark.postgres
def test_a_lease_that_another_process_took_is_not_renewed(store):
    from datetime import timedelta

    from alertctl import outbox

    now = wall_clock()
    announce(store, "email:dev@corp.example", now=now)
    (lost,) = claim(store, EMAIL, now=now).taken
    later = now + timedelta(seconds=31)
    (held,) = claim(store, EMAIL, now=later).taken
    end = later + timedelta(seconds=60)
    assert store.write(lambda connection: outbox.renew(connection, [lost], end)) == set()
    assert store.write(lambda connection: outbox.renew(connection, [held], end)) == {held.delivery_id}
    assert row(store, delivery).next_attempt_at == end


def test_a_stalled_sender_leaves_waiting_deliveries_to_another_process(store, sandbox, daemon):
    sandbox.smtp.faults.then("slow_dot:8")
    stalled = announce(store, "email:stalled@corp.example", now=wall_clock())
    with daemon(**SLOW, ALERTCTL_SENDERS="1"):
        wait_until(lambda: row(store, event_id=stalled).status == "sending")
        ids = [announce(store, f"email:u{n}@corp.example", now=wall_clock()) for n in range(2)]
        with daemon(**SLOW):
            wait_until(lambda: {row(store, event_id=event_id).status for event_id in ids} == {"success"})
            assert row(store, event_id=stalled).status == "sending"
    assert [row(store, event_id=event_id).ambiguous for event_id in (*ids, stalled)] == [False] * 3
