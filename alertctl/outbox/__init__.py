"""The life of a delivery: enqueue, claim, record, release, resend. The only writer of `status`.

    enqueue --> pending --claim--> sending --record--> success
       |                  ^           |
       |                  |           +---record--> failed, next_attempt_at set --claim--> sending
       |                  resend      +---record--> failed, for good
       +-----> suppressed

`next_attempt_at` is the queue. A claim pushes it past a lease, raises `attempts` and writes the attempt's row before
anything is sent. `attempts` is the fencing token: a result counts only while it still is the claim's number.
"""

from alertctl.outbox.breaker_reports import (
    REPORT_SECONDS,
    Instance,
    Report,
    live_reports,
    probe_request_number,
    remove_report,
    request_probes,
    save_report,
)
from alertctl.outbox.change_sequence import carry_on
from alertctl.outbox.claim import Claim, Lane, Pace, claim, is_due, release, unpaced
from alertctl.outbox.duplicates import DedupScope, DedupWindows
from alertctl.outbox.enqueue import Resent, Routed, enqueue, resend
from alertctl.outbox.expire import expire
from alertctl.outbox.prune import ages, prune, prune_by
from alertctl.outbox.record import Ended, record
from alertctl.outbox.tables import INTERRUPTED, Claimed

__all__ = [
    "INTERRUPTED",
    "REPORT_SECONDS",
    "Claim",
    "Claimed",
    "DedupScope",
    "DedupWindows",
    "Ended",
    "Instance",
    "Lane",
    "Pace",
    "Report",
    "Resent",
    "Routed",
    "ages",
    "carry_on",
    "claim",
    "enqueue",
    "expire",
    "is_due",
    "live_reports",
    "probe_request_number",
    "prune",
    "prune_by",
    "record",
    "release",
    "remove_report",
    "request_probes",
    "resend",
    "save_report",
    "unpaced",
]
