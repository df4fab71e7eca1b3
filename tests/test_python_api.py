"""`from alertctl import notify`: it never raises, keeps its timeout, and reports what happened."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alertctl import Notified, notify
from alertctl.client import connect
from alertctl.python_api import NO_DAEMON
from alertctl.sandbox import Sandbox
from alertctl.schemas import LogFilter
from alertctl.spool import Spool
from tests.support import cli_process
from tests.support.machines import free_port
from tests.support.threads import steps
from tests.support.waiting import wait_until

SHORT_TIMEOUT = 3.0
"""Seconds for a call that should fail: enough to spool its event on a busy machine."""
LONG_TIMEOUT = 60.0
"""Seconds for a call that should get through, on a machine that is busy with other things."""


@pytest.fixture(autouse=True)
def _a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/alertctl.db")


@pytest.fixture
def log_on(monkeypatch: pytest.MonkeyPatch, database_url: str) -> str:
    """The delivery log on each kind of database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> Sandbox:
    for name, value in {**sandbox.settings(), "NOTIFICATION_ADMIN_EMAILS": "", "SLACK_PER_SECOND": "0"}.items():
        monkeypatch.setenv(name, value)
    return sandbox


@pytest.fixture
def on_sqlite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that another process can lock; made."""
    file = tmp_path / "locked.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{file}")
    assert notify("safety_rollback", timeout=LONG_TIMEOUT).recorded
    return file


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def recorded() -> int:
    with connect() as client:
        return client.log(LogFilter()).total


def waiting() -> int:
    return Spool.of(os.environ).waiting()


def test_an_event_is_recorded_for_a_daemon_to_send(log_on, slack: Sandbox):
    result = notify("safety_rollback", feature_flag="checkout-v3", timeout=LONG_TIMEOUT)
    assert isinstance(result, Notified)
    assert (result.outcome, result.recorded, result.spooled, result.refused, result.error) == (
        "recorded",
        True,
        False,
        False,
        None,
    )
    assert [(item.to, item.status, item.event_id) for item in result.deliveries] == [
        ("#platform-alerts", "pending", result.event_id)
    ]
    assert "without environment" in result.warnings[0]
    assert slack.slack.messages == []


def test_with_deliver_it_is_also_sent(log_on, slack: Sandbox):
    result = notify(
        "generic_alert", title="Disk full", to=["slack:#ops", "slack:#x"], deliver=True, timeout=LONG_TIMEOUT
    )
    assert sorted((item.to, item.status) for item in result.deliveries) == [("#ops", "success"), ("#x", "success")]
    assert len(slack.slack.messages) == 2


def test_everything_that_the_command_line_takes(log_on, slack):
    result = notify(
        "generic_alert",
        title="Disk full",
        details={"host": "db7", "free": Decimal("0.5")},
        occurred_at=datetime(2026, 3, 2, 14, 32, tzinfo=UTC),
        winner=None,
        to="slack:#ops",
        channel="slack",
        idempotency_key="job 41",
        dedup_key="memory",
        dedup_window="30m",
        expires=timedelta(hours=2),
        timeout=LONG_TIMEOUT,
    )
    assert (result.outcome, result.warnings[0]) == ("recorded", "winner: generic_alert has no such field, left out")
    fields = {"title": "Disk full", "details": {"host": "db7"}, "dedup_key": "disk", "actor": None}
    more = {"to": "slack:#ops", "channel": "slack", "dedup_window": "30m", "expires": timedelta(hours=2)}
    first = notify("generic_alert", **fields, **more, idempotency_key="job 42", timeout=LONG_TIMEOUT)
    again = notify("generic_alert", **fields, **more, idempotency_key="job 42", timeout=LONG_TIMEOUT)
    later = notify("generic_alert", **fields, **more, timeout=LONG_TIMEOUT)
    assert [item.outcome for item in (first, again, later)] == ["recorded", "repeated", "recorded"]
    assert again.event_id == first.event_id
    assert later.deliveries[0].error == f"duplicate of {first.event_id}"


class Strange:
    def __str__(self) -> str:
        raise RuntimeError("not even a text")


@pytest.mark.parametrize(
    ("event_type", "more", "message"),
    [
        ("nonsense", {}, "event_type: 'nonsense' is not an event type"),
        ("safety_rollbak", {}, "did you mean safety_rollback?"),
        (None, {}, "event_type: should be text"),
        (Strange(), {}, "event_type: should be text"),
        ("generic_alert", {}, "title: is missing; generic_alert requires it"),
        ("safety_rollback", {"value": "much"}, "value: "),
        ("safety_rollback", {"value": float("nan")}, "fields: cannot be written as JSON"),
        ("safety_rollback", {"value": object()}, "fields: cannot be written as JSON: object is not text"),
        ("safety_rollback", {"details": {"a": {1, "x"}}}, "fields: cannot be written as JSON"),
        ("safety_rollback", {"to": "ops"}, "to: 'ops' is not a target"),
        ("safety_rollback", {"to": 5}, "to: should be targets"),
        ("safety_rollback", {"to": [5]}, "to: should be targets"),
        ("safety_rollback", {"channel": 5}, "channel: should be text"),
        ("safety_rollback", {"channel": "pigeon"}, "channel: 'pigeon' is not a channel"),
        ("safety_rollback", {"idempotency_key": ""}, "idempotency_key: should be 1 to 255"),
        ("safety_rollback", {"idempotency_key": b"x"}, "idempotency_key: should be text"),
        ("safety_rollback", {"dedup_window": 60}, "dedup_window: requires a dedup_key"),
        ("safety_rollback", {"expires": "soon"}, 'expires: "soon" is not a duration'),
        ("safety_rollback", {"expires": -1}, "expires: "),
        ("safety_rollback", {"expires": [1]}, "expires: "),
    ],
)
def test_a_mistake_in_the_call_is_refused_with_one_line_and_one_warning(event_type, more, message, caplog):
    with caplog.at_level(logging.WARNING, "alertctl"):
        result = notify(event_type, **more, timeout=LONG_TIMEOUT)
    assert (result.outcome, result.event_id) == ("refused", None)
    assert message in str(result.error)
    assert "\n" not in str(result.error)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert waiting() == 0


@pytest.mark.parametrize("timeout", ["5", None, 0, -1, float("nan"), float("inf"), True, object()])
def test_a_wrong_timeout_does_not_stop_the_event(timeout):
    assert notify("safety_rollback", timeout=timeout).outcome in ("recorded", "spooled")


def test_a_wrong_channel_setting_is_a_warning(monkeypatch, slack: Sandbox):
    monkeypatch.setenv("SLACK_API_URL", "nonsense")
    result = notify("safety_rollback", timeout=LONG_TIMEOUT)
    assert result.recorded
    assert result.warnings[0].startswith("SLACK_API_URL: ")


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL: "),
        ({"ALERTCTL_CONFIG": "/no/such.toml"}, "ALERTCTL_CONFIG: "),
        ({"SLACK_DEFAULT_CHANNEL": "not a channel"}, "SLACK_DEFAULT_CHANNEL: "),
        ({"ALERTCTL_SERVER": "nonsense", "ALERTCTL_TOKEN": "actl_x"}, "ALERTCTL_SERVER: "),
        ({"ALERTCTL_SERVER": "http://127.0.0.1:1"}, "ALERTCTL_TOKEN is not set"),
    ],
)
def test_settings_that_do_not_let_an_event_through_mean_the_spool(monkeypatch, environment, error):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = notify("safety_rollback", timeout=LONG_TIMEOUT)
    assert result.spooled
    assert str(result.error).startswith(error)
    assert waiting() == 1
    assert notify("nonsense", timeout=LONG_TIMEOUT).refused
    assert waiting() == 1


def test_a_database_that_is_away_means_the_spool(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'gone.db'}/alertctl.db")
    (tmp_path / "gone.db").write_text("")
    result = notify("safety_rollback", feature_flag="checkout-v3", timeout=LONG_TIMEOUT)
    assert (result.outcome, result.event_id, result.deliveries) == ("spooled", None, ())
    assert "gone.db" in str(result.error)
    assert waiting() == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    result = notify("safety_rollback", timeout=LONG_TIMEOUT)
    assert result.outcome == "lost"
    assert "/proc/none" in str(result.error)


def test_a_server_that_refuses_connections_is_the_cause(monkeypatch):
    port = free_port()
    monkeypatch.setenv("ALERTCTL_SERVER", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("ALERTCTL_TOKEN", "actl_x")
    # Long enough that it still retries when notify's time is up.
    monkeypatch.setenv("ALERTCTL_TIMEOUT", "7")
    result = notify("safety_rollback", timeout=SHORT_TIMEOUT)
    # The call goes on after its timeout. Its thread must not disturb other tests.
    wait_until(lambda: "alertctl-notify" not in {thread.name for thread in threading.enumerate()})
    assert result.outcome == "spooled"
    assert str(result.error).startswith(f"http://127.0.0.1:{port} can't be reached: ")
    assert str(result.error).endswith("; no answer in time")


def test_a_database_that_hangs_costs_the_timeout_and_no_more(on_sqlite: Path):
    with locked(on_sqlite):
        # It returns while the lock is held.
        result = notify("safety_rollback", timeout=SHORT_TIMEOUT)
    assert (result.outcome, result.error) == ("spooled", "no answer in time")
    assert waiting() == 1


def test_a_call_that_continues_and_the_spool_record_the_event_once(on_sqlite: Path):
    before = recorded()
    with locked(on_sqlite):
        assert notify("safety_rollback", timeout=SHORT_TIMEOUT).spooled
    wait_until(lambda: recorded() > before)
    flush = [sys.executable, "-m", "alertctl", "spool", "flush"]
    flushed = cli_process.run(flush, capture_output=True, text=True, check=True)
    assert flushed.stdout == "1 published, 0 refused, 0 remaining\n"
    assert recorded() == before + 1


def test_calls_that_hang_never_pile_up(on_sqlite: Path):
    # Each writes to the spool in half a second, at the same time.
    with locked(on_sqlite), ThreadPoolExecutor(48) as pool:
        results = list(pool.map(lambda number: notify("safety_rollback", value=number, timeout=4), range(48)))
        running = sum(thread.name == "alertctl-notify" for thread in threading.enumerate())
    assert {item.outcome for item in results} == {"spooled"}
    assert any("calls are already running" in str(item.error) for item in results)
    assert running <= 32
    assert waiting() == 48


@pytest.mark.postgres
def test_many_threads_at_once(log_on, slack: Sandbox):
    with ThreadPoolExecutor(16) as pool:
        event_ids = list(
            pool.map(lambda number: notify("safety_rollback", value=number, timeout=LONG_TIMEOUT).event_id, range(32))
        )
    assert len(set(event_ids)) == 32
    assert None not in event_ids
    assert recorded() == 32


FORKING = """
import os
from alertctl import notify

assert notify("safety_rollback", timeout=60).recorded
child = os.fork()
if child == 0:
    os._exit(0 if notify("safety_rollback", timeout=60).recorded else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert notify("safety_rollback", timeout=60).recorded
"""


@pytest.mark.postgres
def test_a_forked_child_has_connections_of_its_own(log_on):
    # In a process of its own: here, other tests' threads may be inside SQLite, whose locks a fork copies as they are.
    cli_process.run([sys.executable, "-c", FORKING], check=True, timeout=180)
    assert recorded() == 3


def test_settings_that_change_lead_to_the_other_database(log_on, monkeypatch, tmp_path):
    assert notify("safety_rollback", timeout=LONG_TIMEOUT).recorded
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    assert notify("safety_rollback", timeout=LONG_TIMEOUT).recorded
    assert recorded() == 1


EXPERIMENT = """
from alertctl import notify

for action in ("started", "paused", "completed"):
    sent = notify(
        "experiment_lifecycle", experiment="new-cta", action=action, to="slack:#ops", deliver=True, timeout=60
    )
    assert [delivery.status for delivery in sent.deliveries] == ["success"], sent
print("sent", flush=True)
"""


def test_a_program_ends_after_the_edits_of_threads_that_its_calls_do_not_wait_for(log_on, slack: Sandbox):
    program = subprocess.run([sys.executable, "-c", EXPERIMENT], stdout=subprocess.PIPE, timeout=120, check=True)
    assert program.stdout == b"sent\n"
    assert steps(slack.slack.messages[0]) == ["Started", "Paused", "Completed"]


def test_a_program_ends_when_it_likes_to(on_sqlite: Path):
    """A call that continues after its timeout blocks nothing, and a call at exit still publishes."""
    program = (
        "import atexit\n"
        "from alertctl import notify\n"
        f"atexit.register(lambda: print(notify('safety_rollback', timeout={SHORT_TIMEOUT}).outcome))\n"
        f"print(notify('safety_rollback', timeout={SHORT_TIMEOUT}).outcome)\n"
    )
    with locked(on_sqlite):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "spooled\nspooled\n")
    assert "Traceback" not in ended.stderr


def test_importing_alertctl_imports_no_submodule():
    program = "import sys, alertctl; print([name for name in sys.modules if name.startswith('alertctl.')])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


def test_type_checkers_see_what_it_returns():
    import alertctl

    folder = Path(alertctl.__file__).parent
    assert (folder / "py.typed").exists()
    assert notify.__annotations__["return"] == "Notified"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = alertctl.nonsense


def test_a_recorded_event_without_a_daemon_is_a_warning(log_on, slack, caplog):
    recorded = notify("generic_alert", title="x", timeout=LONG_TIMEOUT)
    assert (recorded.outcome, recorded.warnings) == ("recorded", (NO_DAEMON,))
    assert f"notify: generic_alert recorded only: {NO_DAEMON}" in caplog.text
    sent = notify("generic_alert", title="x", deliver=True, timeout=LONG_TIMEOUT)
    assert sent.warnings == ()
    with connect() as client:
        client.dispatch()
    assert notify("generic_alert", title="x", timeout=LONG_TIMEOUT).warnings == ()


def test_labels_are_recorded_with_the_event(log_on, slack: Sandbox):
    labels = {"team": "growth", "canary": True, "cost": Decimal("0.5"), "none": None}
    notified = notify("generic_alert", title="Disk full", labels=labels, to="slack:#a", timeout=LONG_TIMEOUT)
    assert notified.deliveries[0].labels == {"team": "growth", "canary": "true", "cost": "0.5"}
    with connect() as client:
        assert len(client.log(LogFilter(labels={"team": "growth"})).items) == 1


@pytest.mark.parametrize("labels", [{"my team": "x"}, ["team=growth"], {"team": object()}])
def test_a_wrong_label_is_refused(labels):
    notified = notify("generic_alert", title="Disk full", labels=labels, timeout=LONG_TIMEOUT)
    assert notified.refused
    assert "label" in (notified.error or "") or "JSON" in (notified.error or "")


def test_a_wrong_route_is_a_warning(slack, tmp_path):
    (tmp_path / "alertctl.toml").write_text('[[routes]]\nname = "a"\nmatch.flag = "x"\nto = ["#a"]\n')
    notified = notify("generic_alert", title="x", deliver=True, timeout=LONG_TIMEOUT)
    assert [(item.to, item.status) for item in notified.deliveries] == [("#platform-alerts", "success")]
    assert notified.warnings[0].startswith("routes.a.match.flag: ")
