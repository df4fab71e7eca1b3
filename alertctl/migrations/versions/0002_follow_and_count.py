"""What following and counting the log need: change numbers, exact counters, the indexes of pairs; and when an event was
first said."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("event", sa.Column("said_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("delivery", sa.Column("change", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_delivery_change", "delivery", ["change", "id"])
    _tick()


def _tick() -> None:
    tick = op.create_table(
        "tick",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(tick, [{"id": 1, "number": 1}])
