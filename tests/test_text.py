"""Text that has been cleaned, cut, escaped or redacted."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertctl.channels.slack.blocks import escape
from alertctl.text import MASK, Redactor, clean, cut, fit, one_line, safe_link, width
from tests.support.cases import each
from tests.support.fuzzing import fixed_examples
from tests.support.hostile_content import LINKS, NASTY, TEXTS

MANY = fixed_examples(100, long=2_500)
SECRET = "planted/Secret+value=1"


@MANY
@given(TEXTS, st.integers(1, 3000), st.booleans())
def test_fitted_text_fits_and_shows_a_cut(text: str, limit: int, line: bool) -> None:
    fitted = fit(text, limit, line=line)
    fitted.encode("utf-8")
    assert width(fitted) <= limit
    assert "\0" not in fitted
    assert not line or "\n" not in fitted
    complete = fit(text, 10**7, line=line)
    assert fitted == complete or fitted.endswith("…")


@MANY
@given(TEXTS, st.integers(1, 200))
def test_cutting_after_escaping_never_leaves_half_an_entity(text: str, limit: int) -> None:
    escaped = escape(text, limit)
    assert width(escaped) <= limit
    assert "&" not in escaped.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("abc &amp; d", 8, "abc…"),
        ("a&lt;&lt;", 6, "a&lt;…"),
        ("a&lt;&lt;", 5, "a…"),
        ("😀😀😀", 6, "😀😀😀"),
        ("😀😀😀", 5, "😀😀…"),
        ("😀😀😀", 4, "😀…"),
        ("x", 0, ""),
        ("xy", 1, "…"),
    ],
)
def test_cutting_keeps_what_fits(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected


@each("nasty", NASTY)
def test_one_line_contains_no_control_character(nasty: str) -> None:
    line = one_line(nasty)
    assert line.isprintable() or not set(line) & set("\r\n\0\x0b\x0c\x1b\x7f\x85\x9b\u2028\u2029\u202e\ufeff")
    line.encode("utf-8")


def test_cleaning_joins_surrogate_pairs_and_replaces_half_ones() -> None:
    assert clean("\ud83d\ude00") == "😀"
    assert clean("a\ud83db") == "a\ufffdb"


@MANY
@given(LINKS)
def test_a_link_is_safe_or_none(link: str | None) -> None:
    safe = safe_link(link)
    if safe is not None:
        assert urlsplit(safe).scheme in ("http", "https")
        assert not set(safe) & set('<>"\\ \r\n\t\0`')
        assert safe.isprintable() or not safe.isascii()


def test_a_token_in_a_link_is_masked() -> None:
    assert safe_link("https://x.example/?t=xoxb-1234567890-abcdef&u=1") == "https://x.example/?t=***&u=1"


@pytest.mark.parametrize(
    "link",
    [
        "https://x.example/a?b=1&c=2#d",
        "http://127.0.0.1:8000/",
        "https://[::1]/x",
        "HTTPS://X.example",
        "http://ü.example/ä",
    ],
)
def test_an_honest_link_stays_as_it_is(link: str) -> None:
    assert safe_link(link) == link


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        f"Authorization: Bearer {SECRET}",
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"\0{'mailer'}\0{SECRET}".encode()).decode(),
        "planted%2FSecret%2Bvalue%3D1",
    ],
)
def test_a_secret_is_masked_in_every_form_in_which_it_travels(echo: str) -> None:
    from alertctl.text import Redactor

    redacted = Redactor([SECRET], username="mailer")(f"no: {echo} is wrong")
    assert redacted.startswith("no: ")
    assert MASK in redacted
    assert echo not in redacted


@pytest.mark.parametrize("token", ["xoxb-123456789012-abcdef", "xapp-1-A1-abcdef", "SG.abcdef.ghijkl"])
def test_text_that_looks_like_a_token_is_masked(token: str) -> None:
    assert Redactor([])(f"got {token}!") == f"got {MASK}!"


@MANY
@given(TEXTS)
def test_stored_answers_are_short_and_printable_and_without_secrets(text: str) -> None:
    stored = Redactor([SECRET])(f"{text}{SECRET}{text}")
    assert len(stored.encode()) <= 2000
    assert SECRET not in stored
    assert not set(stored) & set("\0\x1b\x7f\x9b")
