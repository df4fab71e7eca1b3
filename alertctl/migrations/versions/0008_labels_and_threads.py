"""Labels of events, routes of deliveries, threads, people that a provider knows, and running daemons."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

MOMENT = sa.DateTime(timezone=True)
COLUMNS: tuple[tuple[str, sa.Column[Any]], ...] = (
    ("event", sa.Column("labels", sa.Text(), nullable=True)),
    ("event", sa.Column("subject_key", sa.String(length=64), nullable=True)),
    ("event", sa.Column("ends_subject", sa.Boolean(), nullable=False, server_default=sa.false())),
    ("delivery", sa.Column("route", sa.String(length=60), nullable=True)),
    ("delivery", sa.Column("options", sa.Text(), nullable=True)),
    ("delivery", sa.Column("thread_id", sa.String(length=36), nullable=True)),
    ("attempt", sa.Column("note", sa.Text(), nullable=True)),
)


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)
    # An email address of 253 characters, after the @ of a direct message.
    with op.batch_alter_table("preference") as preference:
        preference.alter_column("slack_channel", type_=sa.String(length=254), existing_type=sa.String(length=80))
    op.execute(sa.text("CREATE INDEX ix_delivery_thread ON delivery (thread_id) WHERE thread_id IS NOT NULL"))
    op.create_table(
        "event_label",
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("event_id", "name"),
    )
    op.create_index("ix_event_label", "event_label", ["name", "value", "event_id"])
    op.create_table(
        "thread",
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("address_key", sa.String(length=254), nullable=False),
        sa.Column("subject_key", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("claimed_at", MOMENT, nullable=False),
        sa.Column("claimed_until", MOMENT, nullable=True),
        sa.Column("provider_channel", sa.String(length=80), nullable=True),
        sa.Column("root_ts", sa.String(length=255), nullable=True),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("edit_due_at", MOMENT, nullable=True),
        sa.Column("next_edit_at", MOMENT, nullable=True),
        sa.Column("edit_failures", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("channel", "address_key", "subject_key"),
    )
    op.create_index("ix_thread_id", "thread", ["id"])
    op.execute(sa.text("CREATE INDEX ix_thread_edit ON thread (channel, edit_due_at) WHERE edit_due_at IS NOT NULL"))
    op.create_table(
        "person",
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("email_key", sa.String(length=254), nullable=False),
        sa.Column("provider_id", sa.String(length=80), nullable=True),
        sa.Column("looked_up_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("channel", "email_key"),
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("routes_hash", sa.String(length=64), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
