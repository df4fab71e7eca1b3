"""When a root was edited last, and when the time of its next edit was set."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("delivery", sa.Column("edited_at", MOMENT, nullable=True))
    op.add_column("thread", sa.Column("next_edit_set_at", MOMENT, nullable=True))
