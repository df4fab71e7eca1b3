"""alertctl: alerts from experiments and feature flags to Slack and email, with a searchable delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alertctl.python_api import Notified, notify

__all__ = ["Notified", "__version__", "notify"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Load what a Python program uses only for those who do: the command line starts without it (PEP 562)."""
    if name not in ("Notified", "notify"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from alertctl import python_api

    return getattr(python_api, name)
