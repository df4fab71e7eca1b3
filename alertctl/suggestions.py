"""Suggestions for a mistyped word."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean failed?` for the closest known word, "" if none is close."""
    import difflib

    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def suggest(word: str, known: Collection[str]) -> str:
    """Return the closest known word as a question, or the list of all of them: `; use slack or email`."""
    *others, last = known
    return did_you_mean(word, known) or f"; use {', '.join(others)} or {last}"
