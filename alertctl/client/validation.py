"""Checks of an event without a database or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alertctl.schemas import PublishRequest


def check_event(request: PublishRequest) -> None:
    """Check what database and server would refuse; costs the imports of both. Raises InvalidEvent."""
    from alertctl.publish import prepare
    from alertctl.routing import Audience

    prepare(request, Audience())
