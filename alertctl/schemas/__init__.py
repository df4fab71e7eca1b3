"""The data that the API, the command line and `notify` exchange: plain dataclasses without SQL or pydantic.

Each is imported when it is first used, so that a command that only calls a server starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alertctl.serialization import Moment as Moment
from alertctl.serialization import as_json as as_json
from alertctl.serialization import from_json as from_json
from alertctl.serialization import parse_moment as parse_moment
from alertctl.serialization import stamp as stamp

if TYPE_CHECKING:
    from alertctl.schemas.deliveries import DeliveryItem as DeliveryItem
    from alertctl.schemas.delivery_detail import AttemptItem as AttemptItem
    from alertctl.schemas.delivery_detail import DeliveryDetail as DeliveryDetail
    from alertctl.schemas.delivery_detail import EventSummary as EventSummary
    from alertctl.schemas.event_types import EventTypeInfo as EventTypeInfo
    from alertctl.schemas.events import BODY_OPTIONS as BODY_OPTIONS
    from alertctl.schemas.events import EventReceipt as EventReceipt
    from alertctl.schemas.events import EventState as EventState
    from alertctl.schemas.events import PublishRequest as PublishRequest
    from alertctl.schemas.events import with_current_names as with_current_names
    from alertctl.schemas.log import Count as Count
    from alertctl.schemas.log import Dispatched as Dispatched
    from alertctl.schemas.log import LogFilter as LogFilter
    from alertctl.schemas.log import Page as Page
    from alertctl.schemas.log import Pruned as Pruned
    from alertctl.schemas.log import ResendResult as ResendResult
    from alertctl.schemas.log import Stats as Stats
    from alertctl.schemas.messages import ConnectivityTestResult as ConnectivityTestResult
    from alertctl.schemas.messages import Previews as Previews
    from alertctl.schemas.messages import Rendered as Rendered
    from alertctl.schemas.routes import PreferenceVerdict as PreferenceVerdict
    from alertctl.schemas.routes import RoutedTarget as RoutedTarget
    from alertctl.schemas.routes import RouteItem as RouteItem
    from alertctl.schemas.routes import RouteList as RouteList
    from alertctl.schemas.routes import RouteTestResult as RouteTestResult
    from alertctl.schemas.routes import RouteVerdictItem as RouteVerdictItem
    from alertctl.schemas.status import InstanceItem as InstanceItem
    from alertctl.schemas.status import Paused as Paused
    from alertctl.schemas.status import StatusReport as StatusReport
    from alertctl.schemas.users import Prefs as Prefs
    from alertctl.schemas.users import TokenItem as TokenItem
    from alertctl.schemas.users import UserItem as UserItem

_NAMES = {
    "deliveries": ("DeliveryItem",),
    "delivery_detail": ("AttemptItem", "DeliveryDetail", "EventSummary"),
    "event_types": ("EventTypeInfo",),
    "events": ("BODY_OPTIONS", "EventReceipt", "EventState", "PublishRequest", "with_current_names"),
    "log": ("Count", "Dispatched", "LogFilter", "Page", "Pruned", "ResendResult", "Stats"),
    "messages": ("ConnectivityTestResult", "Previews", "Rendered"),
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
