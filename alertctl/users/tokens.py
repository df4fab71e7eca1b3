"""Access tokens of our own: `actl_` and a random secret, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, exists, insert, or_, select, update
from sqlmodel import SQLModel

from alertctl.errors import InvalidEvent, NotAllowed, NotFound
from alertctl.ids import new_id
from alertctl.models import Token
from alertctl.schemas import TokenItem
from alertctl.users.accounts import add_user, find_user, users
from alertctl.users.roles import Caller, Role, parse_role

token = SQLModel.metadata.tables[str(Token.__tablename__)]

PREFIX = "actl_"
SECRET_BYTES = 32
"""Random bytes of a secret: 43 characters, beyond guessing, so that a plain hash without salt or work is enough."""
HINT = 4
"""Last characters of a secret that a list shows, so that a person can tell which token a file holds."""
USE_KEPT = timedelta(minutes=1)
"""`last_used_at` is written at most so often."""
LONGEST = timedelta(days=36_500)


def create_token(
    connection: Connection, user: str, role: str, expires: timedelta | None, now: datetime
) -> tuple[TokenItem, str]:
    """A new token and its secret, which is never shown again. A user who doesn't exist yet gets the role too.

    Raises InvalidEvent for a role above the user's, NotFound for an unknown id.
    """
    wanted = parse_role(role)
    owner = _owner(connection, user, wanted, now)
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    row = {
        "id": new_id(now),
        "user_id": owner,
        "role": wanted.value,
        "digest": digest_of(secret),
        "hint": secret[-HINT:],
        "created_at": now,
        "expires_at": _expiry(expires, now),
    }
    connection.execute(insert(token), row)
    return _one(connection, token.c.id == row["id"]), secret


def _expiry(expires: timedelta | None, now: datetime) -> datetime | None:
    if expires is None:
        return None
    if not timedelta(0) < expires <= LONGEST:
        raise InvalidEvent("expires", "should be a time from now on, at most 36500d (90d, 12h)")
    return now + expires


def _owner(connection: Connection, user: str, wanted: Role, now: datetime) -> str:
    """The id of the token's user, who may have come into being just now."""
    try:
        found = find_user(connection, user)
    except NotFound:
        if "@" not in user:
            raise
        return add_user(connection, user, wanted, now).id
    if found.disabled:
        raise InvalidEvent("user", f"{found.name} is disabled: no token of theirs would be accepted")
    if not Role.of(found.role).reaches(wanted):
        raise InvalidEvent(
            "role", f"{found.name} is {found.role}: first run alertctl user set-role {found.name} {wanted}"
        )
    return found.id


def list_tokens(connection: Connection, *, before: str = "", limit: int | None = None) -> list[TokenItem]:
    """All tokens, the newest first, without their secrets; or a part of them: those behind `before`, an id."""
    part = _listed().where(token.c.id < before.replace("\0", "")) if before else _listed()
    return [_item(row) for row in connection.execute(part.order_by(token.c.id.desc()).limit(limit))]


def any_token(connection: Connection, now: datetime) -> bool:
    """Whether some token would be accepted now."""
    return bool(connection.execute(select(exists(_valid(now)))).scalar())


def revoke_token(connection: Connection, id_part: str, now: datetime) -> TokenItem:
    """Accept a token no more, from the next call on. Raises NotFound when no id, or more than one, has that part."""
    found = _find(connection, id_part)
    revoked = update(token).where(token.c.id == found, token.c.revoked_at.is_(None)).values(revoked_at=now)
    connection.execute(revoked)
    return _one(connection, token.c.id == found)


def _find(connection: Connection, part: str) -> str:
    word = part.strip().lower()
    if not word or len(word) > 36 or set(word) - set("0123456789abcdef-"):
        raise NotFound(f"{part[:60]!r} is not a token's id or a part of one: alertctl token list shows them")
    ids = connection.execute(select(token.c.id).where(token.c.id.contains(word)).limit(3)).scalars().all()
    if len(ids) > 1 and word not in ids:
        raise NotFound(f"{part!r} fits more than one token ({ids[0]}, {ids[1]}, …): give more of the id")
    if not ids:
        raise NotFound(f"no token has an id with {part!r} in it: alertctl token list shows them")
    return word if word in ids else str(ids[0])


def digest_of(secret: str) -> str:
    """What is stored of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def verify(connection: Connection, secret: str, now: datetime) -> Caller:
    """Whose token this is. Raises NotAllowed, with the same words for every secret that isn't one."""
    return verify_digest(connection, digest_of(secret), now)


def verify_digest(connection: Connection, digest: str, now: datetime) -> Caller:
    """The same from what is stored of a secret."""
    found = _find_digest(connection, digest)
    if found.revoked_at is not None:
        raise NotAllowed("the token was revoked: make a new one with alertctl token create")
    if found.expires_at is not None and found.expires_at <= now:
        raise NotAllowed("the token has expired: make a new one with alertctl token create")
    return _caller(found)


def owner_of_digest(connection: Connection, digest: str) -> Caller:
    """Return whose token it is or was, also when it was revoked or has expired since. Raises NotAllowed."""
    return _caller(_find_digest(connection, digest))


def _find_digest(connection: Connection, digest: str) -> Any:
    columns = (token.c.id, token.c.expires_at, token.c.revoked_at, token.c.last_used_at, token.c.role)
    owner = (users.c.id.label("user_id"), users.c.email, users.c.role.label("limit"), users.c.disabled)
    joined = select(*columns, *owner).join(users, users.c.id == token.c.user_id)
    found = connection.execute(joined.where(token.c.digest == digest)).first()
    if found is None:
        raise NotAllowed("the token isn't known: make one with alertctl token create")
    return found


def _caller(found: Any) -> Caller:
    if found.disabled:
        raise NotAllowed(f"{found.email or found.user_id} is disabled: an admin can enable them again")
    role = Role.of(found.role).capped(Role.of(found.limit))
    return Caller(found.user_id, found.email, role, found.id, found.last_used_at)


def use_is_news(caller: Caller, now: datetime) -> bool:
    """Whether this use of a token should be noted: the last one was a minute ago or longer."""
    return caller.token_id is not None and (caller.last_used_at is None or now - caller.last_used_at >= USE_KEPT)


def touch(connection: Connection, uses: Sequence[tuple[Caller, datetime]]) -> list[None]:
    """Note that tokens were used. A `Writer`'s work: one answer for each."""
    for caller, now in {caller.token_id: (caller, now) for caller, now in uses}.values():
        connection.execute(update(token).where(token.c.id == caller.token_id).values(last_used_at=now))
    return [None] * len(uses)


def still_allowed(connection: Connection, callers: Iterable[Caller], needed: Role, now: datetime) -> set[Caller]:
    """Those of the callers who, verified a moment ago, may still do what needs `needed`; two queries at most."""
    asked = set(callers)
    tokens = [caller.token_id for caller in asked if caller.token_id]
    people = [caller.user_id for caller in asked if not caller.token_id]
    enough = [role.value for role in Role if role.reaches(needed)]
    good: set[str] = set()
    if tokens:
        asked_for = {"now": now, "tokens": tokens, "roles": enough}
        good.update(connection.execute(_STILL_ALLOWED, asked_for).scalars())
    if people:
        here = select(users.c.id).where(users.c.id.in_(people), users.c.disabled.is_(False))
        good.update(connection.execute(here).scalars())
    return {caller for caller in asked if (caller.token_id or caller.user_id) in good}


def _valid(now: datetime) -> Select[Any]:
    living = and_(token.c.revoked_at.is_(None), or_(token.c.expires_at.is_(None), token.c.expires_at > now))
    return select(token.c.id).join(users, users.c.id == token.c.user_id).where(living, users.c.disabled.is_(False))


_STILL_ALLOWED = (
    select(token.c.id)
    .join(users, users.c.id == token.c.user_id)
    .where(
        token.c.revoked_at.is_(None),
        or_(token.c.expires_at.is_(None), token.c.expires_at > bindparam("now")),
        users.c.disabled.is_(False),
        token.c.id.in_(bindparam("tokens", expanding=True)),
        users.c.role.in_(bindparam("roles", expanding=True)),
    )
)
"""Made once: it is asked in every transaction that publishes."""


def _listed() -> Select[Any]:
    return select(token, users.c.email).join(users, users.c.id == token.c.user_id)


def _one(connection: Connection, condition: ColumnElement[bool]) -> TokenItem:
    return _item(connection.execute(_listed().where(condition)).one())


def _item(row: Row[Any]) -> TokenItem:
    return TokenItem(
        id=row.id,
        user=row.email or row.user_id,
        role=row.role,
        hint=row.hint,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
