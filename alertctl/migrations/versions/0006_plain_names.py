"""Columns and tables are renamed to the terms of docs/glossary.md. No row changes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

COLUMNS = (
    ("delivery", "rule", "routing_reason"),
    ("delivery", "urgency", "priority"),
    ("delivery", "waiting_since", "queued_at"),
    ("delivery", "round_start", "attempts_before_resend"),
    ("event", "said_at", "originally_published_at"),
    ("event_key", "digest", "body_hash"),
    ("event_preference", "wanted", "enabled"),
    ("token", "digest", "token_hash"),
)
TABLES = (("tick", "change_counter"), ("tally", "delivery_count"))
TRIGGERS = ("tally_insert", "tally_delete", "tally_update")


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for trigger in TRIGGERS:
        op.execute(sa.text(f"DROP TRIGGER {trigger}" if sqlite else f"DROP TRIGGER {trigger} ON delivery"))
    for table, old, new in COLUMNS:
        op.execute(sa.text(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}"))
    for old, new in TABLES:
        op.rename_table(old, new)
    for statement in SQLITE if sqlite else POSTGRES:
        op.execute(sa.text(statement))


# One writer at a time: a row for each kind, counted up and down.
_INCREMENT = """
INSERT INTO delivery_count (event_type, channel, status, number) VALUES (new.event_type, new.channel, new.status, 1)
ON CONFLICT (event_type, channel, status) DO UPDATE SET number = number + 1;
"""
_DECREMENT = """
UPDATE delivery_count SET number = number - 1
WHERE event_type = old.event_type AND channel = old.channel AND status = old.status;
"""
_CHANGED = """OF status, event_type, channel ON delivery
WHEN (new.status, new.event_type, new.channel) <> (old.status, old.event_type, old.channel)
"""
SQLITE = (
    "DROP INDEX uq_tally_kind",
    "CREATE UNIQUE INDEX uq_delivery_count ON delivery_count (event_type, channel, status)",
    f"CREATE TRIGGER delivery_count_insert AFTER INSERT ON delivery BEGIN {_INCREMENT} END",
    f"CREATE TRIGGER delivery_count_delete AFTER DELETE ON delivery BEGIN {_DECREMENT} END",
    f"CREATE TRIGGER delivery_count_update AFTER UPDATE {_CHANGED} BEGIN {_DECREMENT} {_INCREMENT} END",
)
# Many writers at once: each adds rows, so that none waits for a counter. In one of a hundred statements a writer
# replaces rows that no other writer is replacing by their sums.
_REPLACE_BY_SUMS = """
IF random() < 0.01 THEN
    WITH replaced AS (
        DELETE FROM delivery_count
        WHERE id IN (SELECT id FROM delivery_count ORDER BY id LIMIT 2000 FOR UPDATE SKIP LOCKED)
        RETURNING event_type, channel, status, number
    )
    INSERT INTO delivery_count (event_type, channel, status, number)
    SELECT event_type, channel, status, sum(number) FROM replaced GROUP BY 1, 2, 3 HAVING sum(number) <> 0;
END IF;
"""
_INSERT = "INSERT INTO delivery_count (event_type, channel, status, number)"
_NEW_COUNTS = "SELECT event_type, channel, status, count(*) AS number FROM new_rows GROUP BY 1, 2, 3"
_OLD_COUNTS = "SELECT event_type, channel, status, -count(*) AS number FROM old_rows GROUP BY 1, 2, 3"
_BOTH = "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"
_EXECUTE = "FOR EACH STATEMENT EXECUTE FUNCTION alertctl_count_deliveries()"
POSTGRES = (
    "DROP FUNCTION alertctl_tally()",
    f"""
CREATE FUNCTION alertctl_count_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {_INSERT} {_NEW_COUNTS};
    ELSIF TG_OP = 'DELETE' THEN
        {_INSERT} {_OLD_COUNTS};
    ELSE
        {_INSERT}
        SELECT event_type, channel, status, sum(number) FROM ({_NEW_COUNTS} UNION ALL {_OLD_COUNTS}) AS changed
        GROUP BY 1, 2, 3 HAVING sum(number) <> 0;
    END IF;
    {_REPLACE_BY_SUMS}
    RETURN NULL;
END $$
""",
    f"CREATE TRIGGER delivery_count_insert AFTER INSERT ON delivery REFERENCING NEW TABLE AS new_rows {_EXECUTE}",
    f"CREATE TRIGGER delivery_count_delete AFTER DELETE ON delivery REFERENCING OLD TABLE AS old_rows {_EXECUTE}",
    f"CREATE TRIGGER delivery_count_update AFTER UPDATE ON delivery {_BOTH} {_EXECUTE}",
    "ALTER INDEX IF EXISTS token_digest_key RENAME TO token_token_hash_key",
    "ALTER INDEX IF EXISTS tick_pkey RENAME TO change_counter_pkey",
    "ALTER INDEX IF EXISTS tally_pkey RENAME TO delivery_count_pkey",
    "ALTER SEQUENCE IF EXISTS tick_id_seq RENAME TO change_counter_id_seq",
    "ALTER SEQUENCE IF EXISTS tally_id_seq RENAME TO delivery_count_id_seq",
)
