"""The spool: an event that reaches neither the database nor a server is published later, once."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alertctl.config import gather
from alertctl.sandbox import Sandbox
from alertctl.schemas import PublishRequest
from alertctl.spool import MOST_EVENTS, Destination, Spool, Spooled
from tests.support.cli import COMMAND, data, messages, process, run, start, unmeasured
from tests.support.terminal import on_terminal

TITLED = ("send", "--event", "generic_alert", "--title")
DELIVERED_TWICE_AT_MOST = 1
"""A sender that is killed while a provider answers can't know: that one message may arrive twice."""


def titles(sandbox: Sandbox) -> list[str]:
    """Return the titles of the alerts that Slack received, in order."""
    return [message.text.split("Info: ")[1].split(".")[0] for message in sandbox.slack.messages]


def spool() -> Spool:
    return Spool.of(os.environ)


def keep(*titles: str, event_type: str = "generic_alert", to: str = "slack:#ops", late: float = 0.0) -> list[Spooled]:
    """Spool events for this test's database."""
    moment = datetime.now(UTC) - timedelta(seconds=late)
    here = Destination.of(gather(), os.environ)
    return [
        spool().keep(
            PublishRequest(event_type=event_type, fields={"title": title}, to=[to], idempotency_key=f"key {title}"),
            here,
            "the database was away",
            moment,
        )
        for title in titles
    ]


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Use a database that can't be reached until its folder, which is a file, becomes one."""
    folder = tmp_path / "away"
    folder.write_text("")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{folder}/alertctl.db")
    return folder


def back(folder: Path) -> None:
    folder.unlink()
    folder.mkdir()


def test_an_event_is_spooled_and_reported_while_the_database_is_away(away):
    ran = run(*TITLED, "Disk full")
    assert (ran.exit_code, ran.stdout) == (0, "")
    first, second = ran.stderr.splitlines()
    assert first.startswith(f"alertctl: database {away}/alertctl.db: ")
    (event,) = spool().entries()[0]
    assert second == (
        f"alertctl: spooled as {event.id}; the next command that uses sqlite:///{away}/alertctl.db publishes it, "
        "and so does its `alertctl serve`, if it runs as the same user on this machine (see alertctl spool --help)"
    )
    assert (event.request.fields, event.destination) == ({"title": "Disk full"}, f"sqlite:///{away}/alertctl.db")
    (file,) = spool().folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool().folder.stat().st_mode) == 0o700
    assert run(*TITLED, "Disk full", "--strict").exit_code == 5


@pytest.mark.parametrize("url", ["sqlite:///{folder}/no.db", "postgresql://nobody@127.0.0.1:1/none"])
def test_an_event_is_spooled_for_every_failure_of_the_database(monkeypatch, tmp_path, url):
    (tmp_path / "no.db").write_text("this is not a database, but a text that somebody wrote")
    monkeypatch.setenv("DATABASE_URL", url.format(folder=tmp_path))
    ran = run(*TITLED, "Disk full")
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (0, "", 2)
    assert spool().waiting() == 1


def test_json_output_marks_a_spooled_event(away):
    sent = data(*TITLED, "Disk full", "--wait")
    assert (sent["spooled"], sent["event_id"], sent["created"], sent["deliveries"]) == (True, None, False, [])
    assert sent["lost"] is False
    (listed,) = data("spool", "list")["items"]
    assert (listed["id"], listed["fields"], listed["refused"]) == (sent["spool_id"], {"title": "Disk full"}, None)
    assert sent["spool_id"] in run("spool", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--event", "nonsense"), {}),
        (("--event", "generic_alert", "--set", "nonsense=1"), {}),
        (("--event", "generic_alert"), {}),
        (("--event", "generic_alert", "--title", "x", "--to", "nobody"), {}),
        (("--event", "generic_alert", "--title", "x", "--dedup-window", "30m"), {}),
        (("--event", "generic_alert"), {"SMTP_PORT": "none"}),
        (("--event", "generic_alert"), {"DATABASE_URL": "nonsense"}),
    ],
)
def test_an_invalid_event_is_not_spooled_with_any_settings(away, monkeypatch, arguments, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run("send", *arguments).exit_code == 2
    assert not spool().folder.exists()


def test_the_next_successful_command_publishes_it_once(away, slack_and_email: Sandbox):
    keep("Disk full", late=31 * 60)
    assert run("log").exit_code == 5
    back(away)
    ran = run("log", "-o", "jsonl")
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert messages(ran.stderr) == [("info", "published 1 event from the spool")]
    assert run("log").stderr == ""
    (message,) = slack_and_email.slack.messages
    assert "delayed 31 min" in json.dumps(message.blocks)
    (item,) = data("log")["items"]
    happened = data("log", "show", item["id"])["event"]["occurred_at"]
    late = datetime.now(UTC) - datetime.fromisoformat(happened)
    assert timedelta(minutes=31) <= late < timedelta(minutes=33)


def test_a_later_send_publishes_spooled_events_after_its_own(away, slack_and_email: Sandbox):
    run(*TITLED, "first", "--to", "slack:#ops")
    back(away)
    run(*TITLED, "second", "--to", "slack:#ops")
    assert titles(slack_and_email) == ["second", "first"]


def test_flushing_after_a_command_changes_neither_its_output_nor_its_exit_code(slack_and_email: Sandbox):
    keep("waits")
    assert data("log")["items"] == []
    keep("waits too")
    ran = run(*TITLED, "x", "--to", "slack:#missing", "--strict")
    assert ran.exit_code == 3
    assert len(slack_and_email.slack.messages) == 2
    keep("waits still")
    ran = run("log", "show", "ffffffff")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "ffffffff" in ran.stderr
    assert "published 1 event from the spool" in ran.stderr
    assert len(slack_and_email.slack.messages) == 3


def test_an_event_for_another_database_is_not_published_here(away, slack_and_email: Sandbox, monkeypatch, tmp_path):
    (kept,) = keep("not for you")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    assert "spool" not in run("log").stderr
    ran = run("spool", "flush")
    assert (ran.exit_code, ran.stdout) == (0, "0 published, 0 refused, 0 remaining\n")
    assert f"not published: 1 event for sqlite:///{away}/alertctl.db" in ran.stderr
    assert slack_and_email.slack.messages == []
    assert run("spool", "flush", kept.id).stdout == "1 published, 0 refused, 0 remaining\n"
    keep("nor this")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/third.db")
    assert data("spool", "flush", "--all") == {"published": 1, "refused": 0, "remaining": 0}
    assert len(slack_and_email.slack.messages) == 2


def test_a_relative_path_means_the_same_database_in_every_folder(slack_and_email: Sandbox, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///relative.db")
    keep("here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run("log")
    assert spool().waiting() == 1
    monkeypatch.chdir(tmp_path)
    run("log")
    assert spool().waiting() == 0


def test_a_server_is_the_same_one_with_and_without_its_routes(monkeypatch):
    places = set()
    for more in ("", "/", "/api/v1/notifications", "/api/v1/notifications/"):
        monkeypatch.setenv("ALERTCTL_SERVER", f"http://alerts.corp.example{more}")
        places.add(Destination.of(gather(), os.environ).address)
    assert places == {"http://alerts.corp.example"}


def test_a_refused_event_is_set_aside_and_does_not_block_others(slack_and_email: Sandbox):
    (wrong,) = keep("from the future", event_type="unheard_of")
    keep("fine")
    ran = run("log", "-o", "id")
    assert f"spool: unheard_of {wrong.id} was refused and set aside: event_type: 'unheard_of' is not" in ran.stderr
    assert len(slack_and_email.slack.messages) == 1
    assert ("spool" in run("log").stderr, spool().waiting()) == (False, 0)
    (listed,) = data("spool", "list")["items"]
    assert "is not an event type" in listed["refused"]
    assert "refused: " in run("spool", "list").stdout
    assert data("spool", "flush", wrong.id) == {"published": 0, "refused": 1, "remaining": 0}
    assert data("spool", "drop", wrong.id) == {"dropped": 1}
    assert data("spool", "list")["items"] == []
    assert run("spool", "list").stderr == "the spool is empty\n"


def test_an_event_that_version_0_1_spooled_keeps_its_time(slack_and_email: Sandbox):
    (spooled,) = keep("old", late=7200)
    (file,) = spool().folder.glob("*.json")
    content = json.loads(file.read_text())
    content["request"]["said_at"] = content["request"].pop("originally_published_at")
    file.write_text(json.dumps(content))
    run("spool", "flush")
    (item,) = data("log")["items"]
    event = data("log", "show", item["id"])["event"]
    assert event["occurred_at"][:19] == spooled.kept_at.isoformat()[:19]


def test_a_key_that_was_used_for_something_else_is_refused(slack_and_email: Sandbox):
    run(*TITLED, "other", "--to", "slack:#ops", "--idempotency-key", "key taken")
    keep("taken")
    assert "was already used for a different event" in run("log").stderr
    assert len(slack_and_email.slack.messages) == 1


def test_damaged_and_foreign_files_are_no_trouble(slack_and_email: Sandbox):
    (kept,) = keep("damaged")
    folder = spool().folder
    (folder / kept.name).write_text('{"id": "half')
    for number, content in enumerate(["", "[]", "{}", '{"request": []}', "[" * 100_000, '{"id": 1, "request": {}}']):
        (folder / f"20260302T143200Z-0000000{number}.json").write_text(content)
    (folder / "20260302T143200Z-000000aa.json").symlink_to("/dev/zero")
    (folder / "README").write_text("not ours")
    keep("whole")
    ran = run("log", "-o", "id")
    assert ran.stderr.count(": set aside\n") == 8
    assert len(slack_and_email.slack.messages) == 1
    assert run("log").stderr == ""
    assert run("spool", "list").stderr.count("not an alertctl event, or damaged") == 8
    assert data("spool", "drop", "--yes") == {"dropped": 8}
    assert [file.name for file in folder.iterdir() if file.is_file()] == ["README"]


def test_a_full_spool_reports_that_the_event_is_not_recorded(away):
    keep("first")
    for number in range(MOST_EVENTS):
        os.mknod(spool().folder / f"20260302T143200Z-{number:08x}.json")
    ran = run(*TITLED, "too many")
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (0, "", 1)
    assert ran.stderr.startswith("LOST: neither recorded nor spooled: database ")
    assert f"full ({MOST_EVENTS + 1} events" in ran.stderr
    assert run(*TITLED, "too many", "--strict").exit_code == 5
    answer = data(*TITLED, "too many")
    assert (answer["spooled"], answer["lost"]) == (False, True)
    run("spool", "drop", "--yes")
    (first,) = keep("large")
    os.truncate(spool().folder / first.name, 50_000_000)
    assert "full (1 events, 50 MB)" in run(*TITLED, "too much").stderr


@pytest.mark.parametrize("state", ["/proc/none", "/dev/null"])
def test_a_state_folder_that_cannot_be_written_is_one_line(away, monkeypatch, state):
    monkeypatch.setenv("XDG_STATE_HOME", state)
    ran = run(*TITLED, "lost")
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (0, "", 1)
    assert ran.stderr.startswith("LOST: ")
    assert f"; spool {state}/alertctl/spool: " in ran.stderr
    for arguments in (("spool", "list"), ("spool", "flush"), ("spool", "drop", "--yes")):
        assert run(*arguments).exit_code == (5 if "flush" in arguments and state == "none" else 0)


def test_a_full_disk_leaves_no_half_event(away):
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *COMMAND, *TITLED, "x" * 3000],
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (limited.returncode, limited.stderr.count("\n")) == (0, 1)
    assert limited.stderr.startswith("LOST: ")
    assert "File too large" in limited.stderr
    assert list(spool().folder.iterdir()) == []


def test_clocks_that_jump_neither_stop_the_spool_nor_reach_the_message(slack_and_email: Sandbox):
    keep("from tomorrow", late=-86400)
    keep("from long ago", late=400 * 86400)
    run("log")
    texts = [json.dumps(message.blocks) for message in slack_and_email.slack.messages]
    assert ["delayed" in text for text in texts] == [False, True]


def test_an_event_that_expired_in_the_spool_is_recorded_and_not_sent(away, slack_and_email: Sandbox):
    run(*TITLED, "old news", "--expires", "10ms", "--to", "slack:#ops")
    back(away)
    run("log")
    (item,) = data("log")["items"]
    assert (item["status"], item["error"], item["next_attempt_at"]) == ("failed", "expired", None)
    assert slack_and_email.slack.messages == []


def test_flush_exits_with_5_while_the_destination_is_unreachable(away):
    keep("one", "two", "three")
    ran = run("spool", "flush")
    assert (ran.exit_code, ran.stdout) == (5, "0 published, 0 refused, 3 remaining\n")
    assert ran.stderr.count("\n") == 1
    assert "spool: 3 events remaining: database " in ran.stderr


def test_a_dry_run_publishes_no_spooled_event(slack_and_email: Sandbox):
    keep("one")
    assert run(*TITLED, "two", "--dry-run").exit_code == 0
    assert (spool().waiting(), slack_and_email.slack.messages) == (1, [])


def test_drop_asks_on_a_terminal_and_elsewhere_needs_yes_or_ids(away):
    kept = keep("one", "two", "three")
    ran = run("spool", "drop")
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "--yes: is required without a terminal; it confirms the loss of 3 events" in ran.stderr
    refused = on_terminal(60, "spool", "drop", typed="n\n")
    assert (refused.code, "Drop 3 events without publishing?" in refused.words) == (1, True)
    assert run("spool", "drop", "0" * 9).exit_code == 2
    # Each file's name has a time with a T; an id has none.
    assert "no spooled event has an id that contains 'T'" in run("spool", "drop", "T").stderr
    assert spool().waiting() == 3
    assert run("spool", "drop", kept[0].id).stdout == "1 event dropped\n"
    done = on_terminal(60, "spool", "drop", typed="y\n")
    assert (done.code, "2 events dropped" in done.words) == (0, True)
    assert run("spool", "drop").stdout == "0 events dropped\n"
    assert run("spool", "drop", "--yes").exit_code == 0


@pytest.mark.postgres
def test_two_concurrent_flushes_publish_each_event_once(log_on, slack_and_email: Sandbox):
    keep(*(f"n{number}" for number in range(30)))
    both = [start("spool", "flush"), start("spool", "flush")]
    ended = [each.communicate(timeout=60) for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sum(int(stdout.split()[0]) for stdout, _ in ended) == 30
    counts = Counter(titles(slack_and_email))
    assert (len(counts), set(counts.values())) == (30, {1})
    assert data("log")["total"] == 30


def test_a_flush_that_is_killed_is_taken_up_by_the_next_one(log_on, slack_and_email: Sandbox, long: bool, monkeypatch):
    monkeypatch.setenv("SLACK_ENABLED", "false")
    kills = 12 if long else 2
    keep(*(f"n{number}" for number in range(40 * kills)))
    for number in range(kills):
        flushing = start("spool", "flush")
        while spool().waiting() > 40 * (kills - number) - 10 - number:
            assert flushing.poll() is None
            time.sleep(0.001)
        flushing.send_signal(signal.SIGKILL)
        flushing.communicate()
    assert spool().waiting() > 0
    assert process("spool", "flush").returncode == 0
    assert data("log")["total"] == 40 * kills


def test_a_flush_that_is_killed_while_it_sends_doubles_nothing_but_that_one(slack_and_email: Sandbox, monkeypatch):
    monkeypatch.setenv("ALERTCTL_LEASE", "0.6")
    monkeypatch.setenv("ALERTCTL_DEADLINE", "0.5")
    slack_and_email.slack.latency = 0.05
    keep(*(f"n{number}" for number in range(12)))
    flushing = start("spool", "flush")
    slack_and_email.slack.wait_for(4, 30)
    flushing.send_signal(signal.SIGKILL)
    flushing.communicate()
    assert process("spool", "flush").returncode == 0
    time.sleep(0.7)
    run("dispatch", "--once")
    counts = Counter(titles(slack_and_email))
    assert len(counts) == 12
    assert counts.total() <= 12 + DELIVERED_TWICE_AT_MOST
    assert data("log")["total"] == 12


def test_while_one_process_flushes_a_command_does_not_wait_for_it(slack_and_email: Sandbox):
    slack_and_email.slack.faults.then("stall")
    keep("stalls", "waits")
    flushing = start("spool", "flush", env={**os.environ, "ALERTCTL_DEADLINE": "3"})
    while not slack_and_email.slack.connections:
        assert flushing.poll() is None
        time.sleep(0.01)
    ran = run("log", "-o", "id")
    assert ran.exit_code == 0
    assert "remaining: another process is flushing it" in ran.stderr
    flushing.communicate(timeout=60)
    assert (flushing.returncode, data("log")["total"], spool().waiting()) == (0, 2, 0)


def test_labels_survive_the_spool(away):
    assert run(*TITLED, "Disk full", "--label", "team=growth", "--label", "canary=true").exit_code == 0
    back(away)
    assert run("spool", "flush").exit_code == 0
    assert data("log", "--label", "team=growth")["items"][0]["labels"] == {"team": "growth", "canary": "true"}


def test_a_wrong_label_is_refused_before_it_is_spooled(away):
    ran = run(*TITLED, "Disk full", "--label", "my team=growth")
    assert (ran.exit_code, spool().waiting()) == (2, 0)
