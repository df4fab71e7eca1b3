"""The data that the API, the command line and `notify` exchange: plain dataclasses without SQL or pydantic.

Each is imported when it is first used, so that a command that only calls a server starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alertctl.serialization import Moment, as_json, from_json, parse_moment, stamp

if TYPE_CHECKING:
    from alertctl.schemas.deliveries import AttemptItem, DeliveryDetail, DeliveryItem, EventSummary
    from alertctl.schemas.events import (
        BODY_OPTIONS,
        ConnectivityTestResult,
        EventReceipt,
        EventState,
        EventTypeInfo,
        PublishRequest,
        Rendered,
        with_current_names,
    )
    from alertctl.schemas.log import Count, Dispatched, LogFilter, Page, Pruned, ResendResult, Stats
    from alertctl.schemas.routes import (
        PreferenceVerdict,
        RoutedTarget,
        RouteItem,
        RouteList,
        RouteTestResult,
        RouteVerdictItem,
    )
    from alertctl.schemas.status import InstanceItem, Paused, StatusReport
    from alertctl.schemas.users import Prefs, TokenItem, UserItem

_NAMES = {
    "deliveries": ("AttemptItem", "DeliveryDetail", "DeliveryItem", "EventSummary"),
    "events": (
        "BODY_OPTIONS",
        "ConnectivityTestResult",
        "EventReceipt",
        "EventState",
        "EventTypeInfo",
        "PublishRequest",
        "Rendered",
        "with_current_names",
    ),
    "log": ("Count", "Dispatched", "LogFilter", "Page", "Pruned", "ResendResult", "Stats"),
    "status": ("InstanceItem", "Paused", "StatusReport"),
    "routes": ("PreferenceVerdict", "RouteItem", "RouteList", "RouteTestResult", "RouteVerdictItem", "RoutedTarget"),
    "users": ("Prefs", "TokenItem", "UserItem"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module that defines this name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
