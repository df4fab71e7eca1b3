"""A circuit breaker lives in the process that was refused: the database holds one report per instance and provider.

Priority classes survive retries, and only temporary failures count against RETRY_SCHEDULE.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

WAITING = "next_attempt_at IS NOT NULL"
CRITICAL = "event_id IN (SELECT id FROM event WHERE severity = 'critical')"


def upgrade() -> None:
    op.create_table(
        "breaker_report",
        sa.Column("instance_id", sa.String(length=36), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=100), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_probe_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "provider"),
    )
    op.create_table(
        "probe_request",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider"),
    )
    op.add_column("delivery", sa.Column("schedule_step", sa.Integer(), server_default="0", nullable=False))
    # What a shared breaker had paused goes on at once, in each process with its own credentials.
    op.execute(sa.text("DELETE FROM pause WHERE reason <> 'rate_limited'"))
    op.execute(sa.text(f"UPDATE delivery SET schedule_step = attempts - round_start WHERE {WAITING}"))
    # 0 critical, 1 fresh, 2 retry -> 0 critical, 1 critical retry, 2 normal, 3 normal retry
    op.execute(sa.text(f"UPDATE delivery SET urgency = 3 WHERE urgency = 2 AND {WAITING} AND NOT ({CRITICAL})"))
    op.execute(sa.text(f"UPDATE delivery SET urgency = 1 WHERE urgency = 2 AND {WAITING} AND {CRITICAL}"))
    op.execute(sa.text(f"UPDATE delivery SET urgency = 2 WHERE urgency = 1 AND {WAITING} AND NOT ({CRITICAL})"))
