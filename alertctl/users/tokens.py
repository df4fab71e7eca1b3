"""alertctl's own access tokens: `actl_` and a random secret, of which only the SHA-256 is stored."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, insert, or_, select, update

from alertctl.errors import InvalidEvent, NotAllowed, NotFound
from alertctl.ids import new_id
from alertctl.models import Token, columns_for, table_of
from alertctl.routing import RecipientPolicy
from alertctl.schemas import TokenItem
from alertctl.users.accounts import ANY_RECIPIENT, add_user, find_user, users
from alertctl.users.roles import PUBLISH, Caller, Role, parse_role

token = table_of(Token)

PREFIX = "actl_"
SECRET_BYTES = 32
"""Random bytes of a secret: 43 characters that can't be guessed, so a plain hash without salt is enough."""
HINT_LENGTH = 4
"""Last characters of a secret that a list shows, so that a person can recognize the token in a file."""
USE_INTERVAL = timedelta(minutes=1)
"""`last_used_at` is written at most this often."""
MAX_LIFETIME = timedelta(days=36_500)


def create_token(
    connection: Connection,
    user: str,
    role: str | None,
    expires: timedelta | None,
    now: datetime,
    *,
    scope: str | None = None,
    policy: RecipientPolicy = ANY_RECIPIENT,
) -> tuple[TokenItem, str]:
    """Create a token; return it and its secret, which is never shown again. A new user gets the role too.

    It has either a role or the scope PUBLISH, which requires a developer. Raises InvalidEvent for a role above the
    user's or a new user's address that is bad or not allowed, NotFound for an unknown id.
    """
    if scope not in (None, PUBLISH):
        raise InvalidEvent("scope", f"{str(scope)[:60]!r} is not a scope ({PUBLISH})")
    if (role is None) == (scope is None):
        raise InvalidEvent("role", f"give the token either a role or the scope {PUBLISH}")
    token_role = Role.DEVELOPER if role is None else parse_role(role)
    if expires is not None and not timedelta(0) < expires <= MAX_LIFETIME:
        raise InvalidEvent("expires_in", "should be a time from now on, at most 36500d (90d, 12h)")
    owner = _owner(connection, user, token_role, now, policy)
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token_id = new_id(now)
    row = {
        "id": token_id,
        "user_id": owner,
        # A scope is stored as a role: versions without scopes take an unknown role for the lowest.
        "role": scope or token_role.value,
        "token_hash": hash_token(secret),
        "hint": secret[-HINT_LENGTH:],
        "created_at": now,
        "expires_at": None if expires is None else now + expires,
    }
    connection.execute(insert(token), row)
    return _item(connection, token_id), secret


def _owner(connection: Connection, user: str, role: Role, now: datetime, policy: RecipientPolicy) -> str:
    """Return the id of the token's user, who is registered if new."""
    try:
        owner = find_user(connection, user)
    except NotFound:
        if "@" not in user:
            raise
        return add_user(connection, user, role, now, policy).id
    if owner.disabled:
        raise InvalidEvent("user", f"{owner.name} is disabled and could not use the token; enable the user first")
    if not Role.of(owner.role).reaches(role):
        raise InvalidEvent(
            "role", f"{owner.name} is {owner.role}; first run alertctl user set-role {owner.name} {role}"
        )
    return owner.id


def list_tokens(connection: Connection, *, before: str = "", limit: int | None = None) -> list[TokenItem]:
    """Return the tokens without their secrets, newest first; only those older than the id `before` if it is set."""
    query = _LISTED.where(token.c.id < before.replace("\0", "")) if before else _LISTED
    return [_item_of(row) for row in connection.execute(query.order_by(token.c.id.desc()).limit(limit))]


def any_token(connection: Connection, now: datetime) -> bool:
    """Return whether any token would be accepted now."""
    return bool(connection.execute(select(exists(_VALID)), {"now": now}).scalar())


def revoke_token(connection: Connection, token_id: str, now: datetime) -> TokenItem:
    """Revoke a token from the next call on. Raises NotFound unless a token has exactly this id."""
    full_id = find_token(connection, token_id)
    if full_id != token_id.strip().lower():
        raise NotFound(f"{token_id!r} is only a part of a token's id; give the complete one")
    not_revoked = update(token).where(token.c.id == full_id, token.c.revoked_at.is_(None))
    connection.execute(not_revoked.values(revoked_at=now))
    return _item(connection, full_id)


def find_token(connection: Connection, part: str) -> str:
    """Return the id of the only token whose id contains this part. Raises NotFound."""
    word = part.strip().lower()
    if not word or len(word) > 36 or set(word) - set("0123456789abcdef-"):
        raise NotFound(f"{part[:60]!r} is not a token's id or a part of one; list them with alertctl token list")
    ids = connection.execute(select(token.c.id).where(token.c.id.contains(word)).limit(3)).scalars().all()
    if len(ids) > 1 and word not in ids:
        raise NotFound(f"{part!r} matches more than one token ({ids[0]}, {ids[1]}, …); give more of the id")
    if not ids:
        raise NotFound(f"no token has an id that contains {part!r}; list them with alertctl token list")
    return word if word in ids else str(ids[0])


def hash_token(secret: str) -> str:
    """Return the stored form of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def verify(connection: Connection, secret: str, now: datetime) -> Caller:
    """Return the caller with this token. Raises NotAllowed, with the same message for every unknown secret."""
    row = _find_token_hash(connection, hash_token(secret))
    if row.revoked_at is not None:
        raise NotAllowed("the token was revoked; ask an admin for a new one", caller=_name(row))
    if row.expires_at is not None and row.expires_at <= now:
        raise NotAllowed("the token has expired; ask an admin for a new one", caller=_name(row))
    return _caller(row)


def owner_of_token_hash(connection: Connection, token_hash: str) -> Caller:
    """Return the token's user, also when it was revoked or has expired. Raises NotAllowed."""
    return _caller(_find_token_hash(connection, token_hash))


def _find_token_hash(connection: Connection, token_hash: str) -> Any:
    columns = (token.c.id, token.c.expires_at, token.c.revoked_at, token.c.last_used_at, token.c.role)
    owner = (users.c.id.label("user_id"), users.c.email, users.c.role.label("limit"), users.c.disabled)
    joined = select(*columns, *owner).join(users, users.c.id == token.c.user_id)
    row = connection.execute(joined.where(token.c.token_hash == token_hash)).first()
    if row is None:
        raise NotAllowed("the token is unknown; ask an admin of this server for one")
    return row


def _caller(row: Any) -> Caller:
    if row.disabled:
        raise NotAllowed(f"{_name(row)} is disabled; ask an admin to enable the user")
    scope = PUBLISH if row.role == PUBLISH else None
    own_role = Role.DEVELOPER if scope else Role.of(row.role)
    role = min(own_role, Role.of(row.limit), key=lambda role: role.rank)
    return Caller(row.user_id, row.email, role, row.id, row.last_used_at, scope)


def _name(row: Any) -> str:
    return str(row.email or row.user_id)


def should_record_use(caller: Caller, now: datetime) -> bool:
    """Return whether to record this use of a token: the last recorded one is at least a minute ago."""
    return caller.token_id is not None and (caller.last_used_at is None or now - caller.last_used_at >= USE_INTERVAL)


def touch(connection: Connection, uses: Sequence[tuple[Caller, datetime]]) -> list[None]:
    """Record the uses of tokens. A job for `Writer`: one result for each."""
    for caller, now in {caller.token_id: (caller, now) for caller, now in uses}.values():
        connection.execute(update(token).where(token.c.id == caller.token_id).values(last_used_at=now))
    return [None] * len(uses)


def still_allowed(connection: Connection, callers: Iterable[Caller], needed: Role, now: datetime) -> set[Caller]:
    """Return the verified callers who still reach the role `needed`, with two queries at most."""
    unique = set(callers)
    tokens = [caller.token_id for caller in unique if caller.token_id]
    people = [caller.user_id for caller in unique if not caller.token_id]
    enough = [role.value for role in Role if role.reaches(needed)]
    allowed: set[str] = set()
    if tokens:
        parameters = {"now": now, "tokens": tokens, "roles": enough}
        allowed.update(connection.execute(_STILL_ALLOWED, parameters).scalars())
    if people:
        enabled = select(users.c.id).where(users.c.id.in_(people), users.c.disabled.is_(False))
        allowed.update(connection.execute(enabled).scalars())
    return {caller for caller in unique if (caller.token_id or caller.user_id) in allowed}


_VALID = (
    select(token.c.id)
    .join(users, users.c.id == token.c.user_id)
    .where(
        token.c.revoked_at.is_(None),
        or_(token.c.expires_at.is_(None), token.c.expires_at > bindparam("now")),
        users.c.disabled.is_(False),
    )
)
_STILL_ALLOWED = _VALID.where(
    token.c.id.in_(bindparam("tokens", expanding=True)), users.c.role.in_(bindparam("roles", expanding=True))
)
"""Built once: it is executed in every transaction that publishes."""
_user = func.coalesce(users.c.email, users.c.id).label("user")
_LISTED = select(*columns_for(TokenItem, token), _user).join(users, users.c.id == token.c.user_id)


def _item(connection: Connection, token_id: str) -> TokenItem:
    return _item_of(connection.execute(_LISTED.where(token.c.id == token_id)).one())


def _item_of(row: Any) -> TokenItem:
    item = TokenItem(**row._asdict())
    return replace(item, role=Role.DEVELOPER.value, scope=PUBLISH) if item.role == PUBLISH else item
