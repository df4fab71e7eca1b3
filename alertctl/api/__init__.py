"""The HTTP API: authentication, roles, and one router for each noun."""

from alertctl.api.app import create_app
from alertctl.api.deps import Services

__all__ = ["Services", "create_app"]
