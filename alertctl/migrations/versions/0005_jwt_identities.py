"""JWT users are (issuer, subject); a user may have no email."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

KEPT = "id, email, subject, role, disabled, created_at"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _recreate()
    else:
        _alter()


def _recreate() -> None:
    """Replace the table: SQLite can neither drop a constraint nor make a column nullable.

    The migration's connection has foreign keys off, so that dropping the old table deletes no token or preference.
    """
    op.create_table(
        "users_new",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("issuer", sa.String(length=255), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("linked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
        sa.UniqueConstraint("issuer", "subject", name="uq_users_identity"),
    )
    op.execute(sa.text(f"INSERT INTO users_new ({KEPT}) SELECT {KEPT} FROM users"))
    op.drop_table("users")
    op.rename_table("users_new", "users")


def _alter() -> None:
    op.add_column("users", sa.Column("issuer", sa.String(length=255), nullable=True))
    op.add_column("users", sa.Column("linked", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.alter_column("users", "email", existing_type=sa.String(length=254), nullable=True)
    op.drop_constraint("users_subject_key", "users", type_="unique")
    op.create_unique_constraint("uq_users_identity", "users", ["issuer", "subject"])
