"""Validate an event without a database or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alertctl.schemas import PublishRequest


def check_event(request: PublishRequest) -> None:
    """Raise InvalidEvent for an event that the database or server would refuse. Imports the database libraries."""
    from alertctl.publish import prepare
    from alertctl.routing import Audience

    prepare(request, Audience())
