"""The version is in the table alertctl_version: `db.migrate` renames the old one, because Alembic reads it first."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    pass
