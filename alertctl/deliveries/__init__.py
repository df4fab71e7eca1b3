"""The delivery log's readers: pages of it, one delivery's whole story, what changes, and the log in numbers."""

from alertctl.deliveries.details import detail, find_id, items_of, rendered
from alertctl.deliveries.follow import changes, position, the_position
from alertctl.deliveries.numbers import Queue, last_success, paused, queue, standing, stats
from alertctl.deliveries.pages import page, the_cursor

__all__ = [
    "Queue",
    "changes",
    "detail",
    "find_id",
    "items_of",
    "last_success",
    "page",
    "paused",
    "position",
    "queue",
    "rendered",
    "standing",
    "stats",
    "the_cursor",
    "the_position",
]
