"""The edited text of a thread's root."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.base import ThreadRoot
from alertctl.channels.slack.threads import reply_arguments, root_update
from alertctl.content import Content, Severity
from alertctl.sandbox.block_kit import check_blocks
from tests.support.hostile_content import LINKS, TEXTS

ROOT = ThreadRoot("C0123456789", "1772461920.000100")
OURS = re.compile(
    r"<!date\^1772452800\^{date_short_pretty} {time}\|2026-03-02 12:00 UTC>|<https?://[^<>|]+\|[^<>|]+>", re.I
)
"""Markup of alertctl's own: the times and the link."""
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def content(step, minutes=0, severity=Severity.INFO, title="Rollout advanced: checkout-v3", link=None, **more):
    moment = NOON + timedelta(minutes=minutes)
    more = {"subject": "checkout-v3 in production", **more}
    return Content("rollout_advance", "e", title, "It advanced.", severity, (), moment, link, step=step, **more)


def texts(update) -> list[str]:
    header, steps, *rest = update["blocks"]
    return [
        header["text"]["text"],
        *steps["text"]["text"].split("\n"),
        *(block["elements"][0]["text"] for block in rest),
    ]


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
    assert texts(update) == [
        "🚨 Critical: Safety rollback: checkout-v3",
        "… 3 earlier",
        "<!date^1772452800^{date_short_pretty} {time}|2026-03-02 12:00 UTC>  Rollout 10% → 25%",
        "<!date^1772453100^{date_short_pretty} {time}|2026-03-02 12:05 UTC>  Rollout 25% → 50%",
        "<!date^1772453340^{date_short_pretty} {time}|2026-03-02 12:09 UTC>  🚨 Critical: Rolled back",
        "checkout-v3 in production · <https://flags.corp.example/a?b=1&amp;c=2|Open on flags.corp.example>",
    ]
    assert update["text"] == "🚨 Critical: Safety rollback: checkout-v3. It advanced."


def test_a_reply_names_the_channel_as_slack_returned_it():
    assert reply_arguments(ROOT, broadcast=False) == {"channel": ROOT.provider_channel, "thread_ts": ROOT.root_ts}
    assert reply_arguments(ROOT, broadcast=True)["reply_broadcast"] is True


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, LINKS), min_size=1, max_size=10), st.integers(0, 10**6))
def test_no_text_of_an_event_mentions_anybody_or_breaks_a_limit(events, earlier):
    contents = [content(step, title=title, subject=subject, link=link) for step, title, subject, link in events]
    update = root_update(ROOT, contents, earlier)
    check_blocks(update["blocks"])
    shown = OURS.sub("", "\n".join([*texts(update), update["text"]]))
    assert "<" not in shown
    assert "xoxb-" not in shown
    assert len(texts(update)) <= 13
