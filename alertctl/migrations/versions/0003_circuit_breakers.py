"""Circuit breakers live in the process that was refused; the database keeps one report per instance."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
