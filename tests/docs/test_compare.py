"""The comparison of shown and real output: equal but for ids, times and `…`."""

from __future__ import annotations

import pytest

from tests.docs.compare import same_output

ROW = "ID        WHEN      STATUS  ERROR\n52712680  00:30:36  failed  channel_not_found\n"


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        (ROW, ROW.replace("52712680", "7dc2720d").replace("00:30:36", "21:48:32")),
        ("a\n…\nd", "a\nb\nc\nd\n"),
        ("a\n…", "a\n"),
        ("size  …  kB", "size  217 things  kB"),
        ("after 5 ms, 217 kB, http://127.0.0.1:8000/", "after 1.3 s, 1 MB, http://127.0.0.1:41234/"),
        ("duplicate of 01a22944-0…  #ops", "duplicate of 01a2294d-6bed-7…  #ops"),
        ('{"a": 1, "…": "…"}', '{"a": 1, "b": [2]}'),
        ('{"items": [{"a": 1}, "…"]}', '{"items": [{"a": 1}, {"a": 2}]}'),
        ('{"duration_ms": 5}', '{"duration_ms": 17}'),
    ],
)
def test_outputs_that_differ_only_in_what_may_differ_are_the_same(shown, real):
    assert same_output(shown, real)


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        (ROW, ROW.replace("failed", "success")),
        (ROW, ROW + "one more line\n"),
        (ROW + "one more line\n", ROW),
        ("", "Traceback\n"),
        ("a\n…\nd", "a\nb\nc\n"),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": 1, "b": 2}', '{"a": 1}'),
        ('{"a": 1, "…": "…"}', '{"a": 2}'),
        ('{"a": null}', '{"a": 0}'),
        ('{"items": [{"a": 1}]}', '{"items": [{"a": 1}, {"a": 2}]}'),
        ('{"a": 1}', "alertctl: no such delivery"),
    ],
)
def test_other_outputs_are_not(shown, real):
    assert not same_output(shown, real)


def test_only_the_beginning_of_a_command_that_goes_on_is_compared():
    assert same_output("a\nb", "a\nb\nc\n", beginning=True)
    assert not same_output("a\nb", "a\nbc\n", beginning=True)
