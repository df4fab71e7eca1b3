"""JWT users are (issuer, subject); a user may have no email."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    pass
