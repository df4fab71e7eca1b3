"""Read the delivery log: pages, one delivery in detail, changes, statistics, and the state of the queue."""

from alertctl.delivery_log.detail import detail, find_id, items_of, rendered
from alertctl.delivery_log.follow import changes, parse_position, position
from alertctl.delivery_log.pagination import page, parse_cursor
from alertctl.delivery_log.problems import ChannelProblem, find_problems
from alertctl.delivery_log.queue_status import last_success, paused, queue_status, status_report
from alertctl.delivery_log.stats import stats

__all__ = [
    "ChannelProblem",
    "changes",
    "detail",
    "find_id",
    "find_problems",
    "items_of",
    "last_success",
    "page",
    "parse_cursor",
    "parse_position",
    "paused",
    "position",
    "queue_status",
    "rendered",
    "stats",
    "status_report",
]
