"""Settings for tests that generate many values with hypothesis."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

LONG_FACTOR = 10

# No deadlines on a machine that others use too, and no files.
settings.register_profile("short", deadline=None, database=None, max_examples=100)
settings.register_profile("long", deadline=None, database=None, max_examples=100 * LONG_FACTOR)


def fixed_examples(count: int, long: int | None = None) -> settings:
    """Return settings for `count` values, the same in every run; with `--long` for `long` or ten times as many."""
    is_long = settings.get_current_profile_name() == "long"
    return settings(
        max_examples=(long or count * LONG_FACTOR) if is_long else count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
