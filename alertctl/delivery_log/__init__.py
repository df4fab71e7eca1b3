"""The delivery log's readers: pages of it, one delivery's whole story, what changes, and the log in numbers."""

from alertctl.delivery_log.detail import detail, find_id, items_of, rendered
from alertctl.delivery_log.follow import changes, position, parse_position
from alertctl.delivery_log.pagination import page, parse_cursor
from alertctl.delivery_log.stats import Queue, last_success, paused, queue, stats, status_report

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
    "stats",
    "status_report",
    "the_cursor",
    "the_position",
]
