"""Indexes, counts and change numbers of the log; when an event was first published."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

INDEXES = {
    "ix_delivery_channel_status": ["channel", "status", "id"],
    "ix_delivery_channel_event_type": ["channel", "event_type", "id"],
    "ix_delivery_address_status": ["address_key", "status", "id"],
    "ix_delivery_address_event_type": ["address_key", "event_type", "id"],
    "ix_delivery_change": ["change", "id"],
}
PARTIAL = {
    "ix_delivery_address_error": (["address_key", "error", "id"], "error IS NOT NULL"),
    "ix_delivery_error": (["error", "id"], "error IS NOT NULL"),
    "ix_delivery_user": (["user_id", "id"], "user_id IS NOT NULL"),
    "ix_delivery_retrying": (["status", "next_attempt_at"], "status = 'failed' AND next_attempt_at IS NOT NULL"),
}


def upgrade() -> None:
    op.add_column("event", sa.Column("said_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("delivery", sa.Column("change", sa.BigInteger(), server_default="0", nullable=False))
    for name, columns in INDEXES.items():
        op.create_index(name, "delivery", columns)
    for name, (columns, condition) in PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, "delivery", columns, sqlite_where=where, postgresql_where=where)
    # An id's last eight characters are what people see and copy.
    op.create_index("ix_delivery_tail", "delivery", [sa.text("substr(id, 29)")])
    _tick()
    _tally()


def _tick() -> None:
    tick = op.create_table(
        "tick",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(tick, [{"id": 1, "number": 1}])


def _tally() -> None:
    op.create_table(
        "tally",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_type", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    statements = SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRES
    for statement in (*statements, BACKFILL):
        op.execute(sa.text(statement))


BACKFILL = """
INSERT INTO tally (event_type, channel, status, number)
SELECT event_type, channel, status, count(*) FROM delivery GROUP BY event_type, channel, status
"""
# One writer at a time: a row for each kind, counted up and down.
_ONE_MORE = """
INSERT INTO tally (event_type, channel, status, number) VALUES (new.event_type, new.channel, new.status, 1)
ON CONFLICT (event_type, channel, status) DO UPDATE SET number = number + 1;
"""
_ONE_LESS = """
UPDATE tally SET number = number - 1
WHERE event_type = old.event_type AND channel = old.channel AND status = old.status;
"""
_MOVED = f"""
WHEN (new.status, new.event_type, new.channel) <> (old.status, old.event_type, old.channel)
BEGIN {_ONE_LESS} {_ONE_MORE} END
"""
SQLITE = (
    "CREATE UNIQUE INDEX uq_tally_kind ON tally (event_type, channel, status)",
    f"CREATE TRIGGER tally_insert AFTER INSERT ON delivery BEGIN {_ONE_MORE} END",
    f"CREATE TRIGGER tally_delete AFTER DELETE ON delivery BEGIN {_ONE_LESS} END",
    f"CREATE TRIGGER tally_update AFTER UPDATE OF status, event_type, channel ON delivery {_MOVED}",
)
# Many writers at once: rows are only added, so that nobody waits for a counter. Now and then a writer replaces many
# rows, which nobody else is replacing, by their sum.
_FOLD = """
IF random() < 0.01 THEN
    WITH gone AS (
        DELETE FROM tally WHERE id IN (SELECT id FROM tally ORDER BY id LIMIT 2000 FOR UPDATE SKIP LOCKED)
        RETURNING event_type, channel, status, number
    )
    INSERT INTO tally (event_type, channel, status, number)
    SELECT event_type, channel, status, sum(number) FROM gone GROUP BY 1, 2, 3 HAVING sum(number) <> 0;
END IF;
"""
_COUNTED = "SELECT event_type, channel, status, count(*) AS n FROM {rows} GROUP BY 1, 2, 3"
_INSERT = "INSERT INTO tally (event_type, channel, status, number)"
_EACH = "FOR EACH STATEMENT EXECUTE FUNCTION alertctl_tally()"
_BOTH = f"NEW TABLE AS now_there {_EACH}"
POSTGRES = (
    f"""
CREATE FUNCTION alertctl_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {_INSERT} {_COUNTED.format(rows="now_there")};
    ELSIF TG_OP = 'DELETE' THEN
        {_INSERT} SELECT event_type, channel, status, -n FROM ({_COUNTED.format(rows="was_there")}) AS lost;
    ELSE
        {_INSERT}
        SELECT event_type, channel, status, sum(n) FROM (
            {_COUNTED.format(rows="now_there")}
            UNION ALL
            SELECT event_type, channel, status, -n FROM ({_COUNTED.format(rows="was_there")}) AS lost
        ) AS moved GROUP BY 1, 2, 3 HAVING sum(n) <> 0;
    END IF;
    {_FOLD}
    RETURN NULL;
END $$
""",
    f"CREATE TRIGGER tally_insert AFTER INSERT ON delivery REFERENCING NEW TABLE AS now_there {_EACH}",
    f"CREATE TRIGGER tally_delete AFTER DELETE ON delivery REFERENCING OLD TABLE AS was_there {_EACH}",
    f"CREATE TRIGGER tally_update AFTER UPDATE ON delivery REFERENCING OLD TABLE AS was_there {_BOTH}",
)
