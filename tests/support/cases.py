"""Many small cases as one test: hundreds of tests of a millisecond each cost seconds of collection and reports."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any


def each(
    names: str | tuple[str, ...], cases: Collection[Any] | Callable[[], Iterable[Any]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for all cases, then report each that failed.

    As `parametrize`, but the cases share their fixtures, and a function makes them when the test runs.
    """
    arguments = (names,) if isinstance(names, str) else names

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run_all(**fixtures: Any) -> None:
            failures, count = [], 0
            for count, case in enumerate(cases() if callable(cases) else cases, 1):  # noqa: B007
                values = (case,) if isinstance(names, str) else case
                try:
                    test(**dict(zip(arguments, values, strict=True)), **fixtures)
                except Exception as failure:
                    failure.add_note(f"case: {case!r}")
                    failures.append(failure)
            if failures:
                raise ExceptionGroup(f"{len(failures)} of {count} cases failed", failures)

        signature = inspect.signature(test)
        fixtures = [item for name, item in signature.parameters.items() if name not in arguments]
        run_all.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return run_all

    return decorate
