"""Read and show times: local time on a terminal, UTC in data."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_AGE = re.compile(r"[0-9.]+\s*(ms|[smhdw])([0-9.]+(ms|[smhdw]))*", re.IGNORECASE)


class _Shown:
    """Whether times are shown in UTC (`--utc`) instead of the local zone."""

    utc = False


def show_utc(requested: bool) -> None:
    """Show times in UTC from now on in this process, if `requested`."""
    _Shown.utc = _Shown.utc or requested


def _shown(moment: datetime) -> datetime:
    if _Shown.utc:
        return moment.astimezone(UTC)
    try:
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        # POSIX has zones that Python rejects, such as UTC+24.
        return moment.astimezone(UTC)


def now() -> datetime:
    return datetime.now(UTC)


def parse_moment(text: str, moment: datetime) -> datetime:
    """Parse `2h` or `7d` (before `moment`), `2026-11-01`, `2026-11-01T14:30` or ISO 8601; local without a zone.

    Raises ValueError with the accepted forms.
    """
    word = text.strip()
    try:
        if _AGE.fullmatch(word):
            from alertctl.config import parse_duration

            return moment - timedelta(seconds=parse_duration(word))
        return datetime.fromisoformat(word).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text[:40]!r} is not a time: 2h, 30m, 7d (ago), 2026-11-01, 2026-11-01T14:30 or ISO 8601"
        ) from None


def duration_option(option: str, text: str | None, low: float = 0) -> timedelta | None:
    """Return the duration of an option, None without one. Raises typer.BadParameter."""
    if text is None:
        return None
    from alertctl.config import duration_between
    from alertctl.config.durations import MAX_SECONDS

    try:
        return timedelta(seconds=duration_between(low, MAX_SECONDS)(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def clock(when: datetime | None, moment: datetime) -> str:
    """Return the local time: 14:32:05 today, 11-02 14:32 this year, else 2025-11-02."""
    if when is None:
        return ""
    local, today = _shown(when), _shown(moment)
    if local.date() == today.date():
        return local.strftime("%H:%M:%S")
    return local.strftime("%m-%d %H:%M" if local.year == today.year else "%Y-%m-%d")


def moment_in_full(when: datetime | None) -> str:
    """Return the local time with its zone: 2026-11-02 14:32:05 CET; an empty text for None."""
    return _shown(when).strftime("%Y-%m-%d %H:%M:%S %Z") if when else ""


def until(when: datetime | None, moment: datetime) -> str:
    """Return `in 30s`, `in 4m` or `due`; an empty text for None."""
    if when is None:
        return ""
    seconds = (when - moment).total_seconds()
    return f"in {lapse(max(1, seconds))}" if seconds > 0 else "due"


def lapse(seconds: float) -> str:
    """Return a duration in its largest useful unit: 30s, 4m, 12h, 3d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
