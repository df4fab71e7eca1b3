"""Address keys of non-ASCII addresses, recomputed; dedup windows per target.

Keys used to be made by `str.casefold` (deliveries) and `str.lower` (users), which make `weiß` and `weiss`, or the
Kelvin sign and `k`, the same. `_key` is a copy of `addresses.address_key` as it was when this migration was written:
the module may change, what this migration does may not.
"""

import re
import unicodedata
from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BATCH = 1000


def upgrade() -> None:
    op.add_column("delivery", sa.Column("dedup_hash", sa.String(length=64), nullable=True))
    where = sa.text("dedup_hash IS NOT NULL AND status <> 'suppressed'")
    op.create_index(
        "ix_delivery_dedup", "delivery", ["dedup_hash", "updated_at"], sqlite_where=where, postgresql_where=where
    )
    _recompute_deliveries()
    _recompute_users()


_DELIVERY = """
UPDATE delivery SET address_key = :new
WHERE id = :id AND NOT EXISTS (
    SELECT 1 FROM delivery AS other
    WHERE other.event_id = :event_id AND other.channel = :channel AND other.address_key = :new
)
"""


def _recompute_deliveries() -> None:
    """One event may have two deliveries whose new keys are equal (`faß.example`, `xn--fa-hia.example`): the later one
    keeps its old key. A pause of an old key may have been meant for another address: it is forgotten."""
    connection = op.get_bind()
    for rows in _not_ascii("delivery", "address", "event_id, channel, address_key"):
        changes = [
            {"id": row.id, "event_id": row.event_id, "channel": row.channel, "old": row.address_key, "new": new}
            for row in rows
            if (new := _key(row.channel, row.address)) != row.address_key
        ]
        if changes:
            connection.execute(sa.text(_DELIVERY), changes)
            forgotten = [{"old": key} for key in {change["old"] for change in changes}]
            connection.execute(sa.text("DELETE FROM pause WHERE address_key = :old"), forgotten)


_USER = "UPDATE users SET email = :new WHERE id = :id AND NOT EXISTS (SELECT 1 FROM users WHERE email = :new)"


def _recompute_users() -> None:
    connection = op.get_bind()
    for rows in _not_ascii("users", "email", "email"):
        for row in rows:
            connection.execute(sa.text(_USER), {"id": row.id, "new": _key("email", row.email)})


def _not_ascii(table: str, address: str, more: str) -> Iterator[list[Any]]:
    """Yield the rows whose address has more octets than characters, in batches."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    octets = f"length(CAST({address} AS BLOB))" if sqlite else f"octet_length({address})"
    query = sa.text(
        f"SELECT id, {address}, {more} FROM {table} WHERE id > :last AND {octets} <> length({address})"
        f" ORDER BY id LIMIT {BATCH}"
    )
    last = ""
    while rows := list(connection.execute(query, {"last": last})):
        yield rows
        last = rows[-1].id


_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_BECOMES_ASCII = re.compile("([\u037e\u1fef\u212a])")


def _key(channel: str, address: str) -> str:
    local, at, domain = address.rpartition("@")
    if channel == "email" and at:
        address = f"{_nfc(local)}@{_ascii_domain(domain)}"
    return _nfc(_nfc(address).translate(_LOWER))[:254]


def _ascii_domain(domain: str) -> str:
    import idna

    try:
        return domain if domain.isascii() else idna.encode(domain, uts46=True, transitional=False).decode()
    except UnicodeError:
        return domain


def _nfc(text: str) -> str:
    return "".join(
        part if _BECOMES_ASCII.fullmatch(part) else unicodedata.normalize("NFC", part)
        for part in _BECOMES_ASCII.split(text)
    )
