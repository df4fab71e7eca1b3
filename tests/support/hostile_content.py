"""Hostile content, and content that is merely broken."""

from __future__ import annotations

from hypothesis import strategies as st

from alertctl.content import Content, Field, Severity
from tests.support.providers import WHEN

NASTY = [
    "<!channel> <!here> <@U1> <#C1|general> <!subteam^S1>",
    "<http://evil.example|https://bank.example>",
    "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>",
    "{{ 7*7 }} {% raw %} ${x} #{y} %s {0}",
    "a\r\nBcc: victim@corp.example\r\n\r\nbody",
    "nul\x00 esc\x1b[31m bell\x07 del\x7f csi\x9b vt\x0b ff\x0c",
    "line\u2028paragraph\u2029next\u0085line",
    "\u202egnp.exe \u2066isolated\u2069 \ufeff\u200b",
    "\ud83d half and \ude00\ud83d other way round",
    "&amp;&lt;&gt;& &#60; &;",
    "*bold* _it_ ~no~ `code` ```block``` > quote",
    ":fire::skin-tone-2: :100: @channel #general everyone@here\n- list\n1. one",
    "<!date^0^{date}|now> <mailto:a@b.example|x> <@W1|y> <!everyone>",
    "javascript:alert(1)",
    ".\r\n.\r\n..\n.",
    "SG.abcdefghij.klmnopqrstuvwxyz and xoxb-1234567890-abcdefghij",
    "=?utf-8?q?encoded?= <a@b.example>, c@d.example",
    "é" * 5000,
    "👩‍👩‍👧‍👦" * 2000,
    "&<>" * 5000,
    "x" * 100_000,
    " \n\t ",
    "",
]

_PIECES = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=30),
    st.sampled_from(NASTY),
    st.sampled_from("&<>\r\n\0\u2028😀\ud83d"),
)
_LONG = st.builds(lambda piece, size: (piece * (size // max(len(piece), 1) + 1))[:size], _PIECES, st.integers(0, 6000))
TEXTS = st.builds(lambda *pieces: "".join(pieces), _PIECES, _LONG)
LINKS = st.one_of(
    st.none(),
    TEXTS,
    st.builds(lambda tail: f"https://x.example/{tail}", TEXTS),
    st.sampled_from(["http://[::1]/", "https://a b/", "http://u:p@x/", "https://x:99999/", "HTTPS://X/"]),
)


def content(title: str, summary: str, field: str, note: str, link: str | None = None) -> Content:
    """Return content with the same hostile text in every field."""
    return Content(
        event_type="generic_alert",
        event_id=note[:50] or "event-1",
        title=title,
        summary=summary,
        severity=Severity.WARNING,
        fields=tuple(Field(field, field) for _ in range(12)),
        occurred_at=WHEN,
        link=link or field,
        notes=(note, note),
        labels=((field, note), (note, field)),
        subject_key=note,
    )


def contents() -> st.SearchStrategy[Content]:
    """Return content with one of a few hostile texts in each field."""
    texts = st.lists(TEXTS, min_size=1, max_size=4)
    return st.builds(_spread, texts, st.integers(0, 60), st.integers(0, 3), st.integers(0, 30), LINKS)


def _spread(texts: list[str], fields: int, notes: int, labels: int, link: str | None) -> Content:
    def text(position: int) -> str:
        return texts[position % len(texts)]

    return Content(
        event_type=text(3),
        event_id=text(2),
        title=text(0),
        summary=text(1),
        severity=list(Severity)[len(texts) % 4],
        fields=tuple(Field(text(position), text(position + 1), text(position)[:9]) for position in range(fields)),
        occurred_at=WHEN,
        link=link,
        notes=tuple(text(position + 2) for position in range(notes)),
        labels=tuple((text(position), text(position + 3)) for position in range(labels)),
        subject_key=text(1),
    )
