"""Claim due deliveries, send them with a few threads per channel, and record the results."""

from alertctl.dispatcher.dispatcher import Dispatcher
from alertctl.dispatcher.options import DispatchOptions
from alertctl.dispatcher.worker import Observe

__all__ = ["DispatchOptions", "Dispatcher", "Observe"]
