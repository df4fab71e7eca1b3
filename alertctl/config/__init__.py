"""Settings from flags, environment, `.env` and TOML.

`load` returns checked `Settings`. `read` returns the raw values without importing pydantic, for a fast start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alertctl.config.durations import duration_between, duration_of, parse_duration
from alertctl.config.folders import ends_with_machine, state_folder
from alertctl.config.sources import Sources, Value, gather, read, read_readable
from alertctl.config.urls import is_loopback

if TYPE_CHECKING:
    from alertctl.config.checks import SettingProblem, check
    from alertctl.config.loading import load
    from alertctl.config.settings import Settings, reference

__all__ = [
    "SettingProblem",
    "Settings",
    "Sources",
    "Value",
    "check",
    "duration_between",
    "duration_of",
    "ends_with_machine",
    "gather",
    "is_loopback",
    "load",
    "parse_duration",
    "read",
    "read_readable",
    "reference",
    "state_folder",
]

_WITH_PYDANTIC = {
    "SettingProblem": "alertctl.config.checks",
    "Settings": "alertctl.config.settings",
    "check": "alertctl.config.checks",
    "load": "alertctl.config.loading",
    "reference": "alertctl.config.settings",
}


def __getattr__(name: str) -> Any:
    """Import pydantic only when it is needed (PEP 562): `read` alone takes a tenth of the time."""
    if name not in _WITH_PYDANTIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WITH_PYDANTIC[name]), name)
