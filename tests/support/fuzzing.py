"""Settings for tests that generate many values with hypothesis."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

LONG_FACTOR = 10

# No deadlines on a machine that others use too, and no files.
settings.register_profile("short", deadline=None, database=None, max_examples=100)
settings.register_profile("long", deadline=None, database=None, max_examples=100 * LONG_FACTOR)


def fixed_examples(count: int) -> settings:
    """Return settings for `count` values that are the same in every run. `--long` adds nine times as many."""
    factor = LONG_FACTOR if settings.get_current_profile_name() == "long" else 1
    return settings(
        max_examples=count * factor,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
