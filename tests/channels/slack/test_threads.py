"""The edited message of a thread's root."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import ThreadRoot
from alertctl.channels.slack import block_text
from alertctl.channels.slack.threads import reply_arguments, root_update
from alertctl.content import Content, Severity
from alertctl.sandbox.block_kit import check_blocks
from alertctl.text import mask_tokens
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import LINKS, TEXTS

ROOT = ThreadRoot("C0123456789", "1772461920.000100")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ELEMENTS = {"plain_text", "text", "date", "link"}
"""Elements in which Slack reads no markup."""


def content(step, minutes=0, severity=Severity.INFO, title="Rollout advanced: checkout-v3", link=None, **more):
    moment = NOON + timedelta(minutes=minutes)
    more = {"subject": "checkout-v3 in production", **more}
    return Content("rollout_advance", "e", title, "It advanced.", severity, (), moment, link, step=step, **more)


def lines(update) -> list[str]:
    return [line for block in update["blocks"] for line in block_text(block).split("\n")]


def elements(block) -> list[dict[str, str]]:
    if block["type"] == "rich_text":
        return [element for section in block["elements"] for element in section["elements"]]
    return block.get("elements") or [block["text"]]


def test_the_root_shows_the_newest_title_a_line_for_each_step_and_the_newest_link():
    update = root_update(
        ROOT,
        [
            content("Rollout 10% → 25%", link="https://flags.corp.example/old"),
            content("Rollout 25% → 50%", 5, link="https://flags.corp.example/a?b=1&c=2"),
            content("Rolled back", 9, Severity.CRITICAL, "Safety rollback: checkout-v3"),
        ],
        3,
    )
    assert (update["channel"], update["ts"]) == ("C0123456789", "1772461920.000100")
    assert lines(update) == [
        "🚨 Critical: Safety rollback: checkout-v3",
        "… 3 earlier",
        "2026-03-02 12:00 UTC  Rollout 10% → 25%",
        "2026-03-02 12:05 UTC  Rollout 25% → 50%",
        "2026-03-02 12:09 UTC  🚨 Critical: Rolled back",
        "Open on flags.corp.example https://flags.corp.example/a?b=1&c=2",
        "checkout-v3 in production",
    ]
    assert update["text"] == "🚨 Critical: Safety rollback: checkout-v3. It advanced."


def test_the_title_has_a_mark_of_the_state():
    done = content("Completed", title="Experiment completed: new-cta", state_mark="✅")
    assert lines(root_update(ROOT, [done], 0))[0] == "✅ Experiment completed: new-cta"
    rolled_back = content("Rolled back", severity=Severity.CRITICAL, title="Safety rollback", state_mark="✅")
    assert lines(root_update(ROOT, [done, rolled_back], 0))[0] == "🚨 Critical: Safety rollback"


def test_a_compact_root_keeps_two_lines_with_the_newest_steps():
    root = replace(ROOT, style="compact")
    started = content("Started", link="https://flags.corp.example/new-cta")
    done = content("Completed", title="Experiment completed: new-cta", state_mark="✅")
    assert lines(root_update(root, [started, done], 2)) == [
        "✅ Experiment completed: new-cta",
        "… 2 earlier · Started · Completed · Open on flags.corp.example https://flags.corp.example/new-cta",
    ]
    steps = [content(f"{number} {'x' * 98}") for number in range(5)]
    shown = lines(root_update(root, steps, 0))[1]
    assert shown.startswith("… 3 earlier · 3 xxx")
    assert " · 4 xxx" in shown


def test_the_time_of_a_step_is_in_the_readers_zone():
    (_, time, _) = elements(root_update(ROOT, [content("Rolled back")], 1)["blocks"][1])
    assert time == {
        "type": "date",
        "timestamp": 1772452800,
        "format": "{date_short_pretty} {time}",
        "fallback": "2026-03-02 12:00 UTC",
    }


def test_a_reply_names_the_channel_as_slack_returned_it():
    assert reply_arguments(ROOT, broadcast=False) == {"channel": ROOT.provider_channel, "thread_ts": ROOT.root_ts}
    assert reply_arguments(ROOT, broadcast=True)["reply_broadcast"] is True


@fixed_examples(50, long=10_000)
@given(
    st.lists(st.tuples(TEXTS, TEXTS, TEXTS, LINKS), min_size=1, max_size=10),
    st.integers(0, 10**6),
    st.sampled_from(["full", "compact"]),
)
def test_no_text_of_an_event_mentions_anybody_or_breaks_a_limit(events, earlier, style):
    contents = [content(step, title=title, subject=subject, link=link) for step, title, subject, link in events]
    update = root_update(replace(ROOT, style=style), contents, earlier)
    check_blocks(update["blocks"])
    assert "<" not in update["text"]
    assert {element["type"] for block in update["blocks"] for element in elements(block)} <= ELEMENTS
    assert mask_tokens(str(update)) == str(update)
