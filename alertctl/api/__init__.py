"""The HTTP API: who is calling, what they may do, and the routes, one router for each noun."""

from alertctl.api.app import create_app
from alertctl.api.deps import Services

__all__ = ["Services", "create_app"]
