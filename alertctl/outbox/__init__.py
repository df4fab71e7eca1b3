"""Enqueue, claim, record, release and resend deliveries. The only writer of `status`.

    enqueue --> pending --claim--> sending --record--> success
       |                  ^           |
       |                  |           +---record--> failed, next_attempt_at set --claim--> sending
       |                  resend      +---record--> failed, final
       +-----> suppressed

`next_attempt_at` is the queue. A claim moves it past a lease, increments `attempts` and inserts the attempt's row
before anything is sent. `attempts` is the fencing token: a result counts only while it equals the claim's number.
"""

from alertctl.outbox.breaker_reports import (
    REPORT_SECONDS,
    live_reports,
    probe_request_number,
    remove_report,
    request_probes,
    save_report,
)
from alertctl.outbox.change_sequence import resume_sequence_after_restore
from alertctl.outbox.claim import Claim, ClaimScope, claim, is_due
from alertctl.outbox.clock_skew import correct_future_times
from alertctl.outbox.duplicates import DedupScope, DedupWindows
from alertctl.outbox.enqueue import enqueue, new_delivery
from alertctl.outbox.expire import expire
from alertctl.outbox.instances import Instance, beat, has_daemon, live_instances, remove_instance, save_instance
from alertctl.outbox.lease import release, renew
from alertctl.outbox.prune import KNOWN_FOR, ages, prune, prune_by
from alertctl.outbox.record import AttemptResult, record
from alertctl.outbox.resend import resend
from alertctl.outbox.tables import Claimed
from alertctl.outbox.thread_edits import (
    EDIT_GAP,
    RootEdit,
    claim_edit,
    end_edit,
    next_edit_due_at,
    postpone_edit,
    record_edit,
    remove_thread,
)
from alertctl.outbox.threads import RETRY_SECONDS, ROOT_WAIT_SECONDS

__all__ = [
    "EDIT_GAP",
    "KNOWN_FOR",
    "REPORT_SECONDS",
    "RETRY_SECONDS",
    "ROOT_WAIT_SECONDS",
    "AttemptResult",
    "Claim",
    "ClaimScope",
    "Claimed",
    "DedupScope",
    "DedupWindows",
    "Instance",
    "RootEdit",
    "ages",
    "beat",
    "claim",
    "claim_edit",
    "correct_future_times",
    "end_edit",
    "enqueue",
    "expire",
    "has_daemon",
    "is_due",
    "live_instances",
    "live_reports",
    "new_delivery",
    "next_edit_due_at",
    "postpone_edit",
    "probe_request_number",
    "prune",
    "prune_by",
    "record",
    "record_edit",
    "release",
    "remove_instance",
    "remove_report",
    "remove_thread",
    "renew",
    "request_probes",
    "resend",
    "resume_sequence_after_restore",
    "save_instance",
    "save_report",
]
