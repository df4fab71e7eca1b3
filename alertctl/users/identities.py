"""JWT users: find and register the identity that a token of the platform names.

A JWT user is an identity (issuer, subject). An email alone never identifies a token's user.
- The first login registers the identity as a new viewer. An email that another user has isn't registered.
- A subject that was recorded before issuers were is bound to the issuer of its next login.
- With JWT_LINK_BY_EMAIL, a verified email gives the identity to the account that has that email and no identity yet.
  The identity gets the account's preferences, not its role: that counts for the account's own tokens until an admin
  sets a role anew.
- A token's role counts for that token and is never stored. Without one the stored role counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, and_, select

from alertctl.db import insert_new
from alertctl.ids import new_id
from alertctl.users.accounts import update_unless_taken, users
from alertctl.users.roles import Role


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity in a JWT. `issuer` is empty for a token without `iss`."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class JwtUser:
    """The registered user of an identity. `role` is that of a token without a role."""

    id: str
    email: str | None
    disabled: bool
    role: Role


class JwtChange(StrEnum):
    """What a JWT changed about its user, as a participle for the audit log."""

    REGISTERED = "registered as"
    BOUND = "bound to"
    """A user that was recorded without an issuer, with the role that they have."""
    LINKED = "linked to"
    """An account with the same verified email, without its role."""
    EMAIL = "given another email"


def find_identity(connection: Connection, identity: Identity) -> JwtUser | None:
    """Return the user of an identity, None before the first login."""
    known = (users.c.issuer == identity.issuer, users.c.subject == identity.subject)
    row = connection.execute(select(users).where(*known)).first()
    if row is None:
        return None
    return JwtUser(row.id, row.email, row.disabled, Role.VIEWER if row.linked else Role.of(row.role))


def is_email_free(connection: Connection, email: str) -> bool:
    """Return whether no user has this normalized address."""
    return connection.execute(select(users.c.id).where(users.c.email == email)).first() is None


def ensure_user(
    connection: Connection, identity: Identity, email: str | None, now: datetime, *, link: bool = False
) -> tuple[JwtUser, list[JwtChange]]:
    """Return the user of an identity, registered if it is new, and the changes.

    The user gets this email, unless another user has it or the user is disabled. `link`: the email is verified and may
    name an account without an identity. Of two daemons that see an identity first at the same moment, one registers it.
    """
    changes = []
    user = find_identity(connection, identity)
    if user is None:
        changes += _register(connection, identity, email, now, link=link)
        user = find_identity(connection, identity)
        assert user is not None, "another call has registered it"
    is_new_email = not user.disabled and email not in (None, user.email)
    if is_new_email and update_unless_taken(connection, users.c.id == user.id, {"email": email}):
        user = find_identity(connection, identity) or user
        changes.append(JwtChange.EMAIL)
    return user, changes


def _register(
    connection: Connection, identity: Identity, email: str | None, now: datetime, *, link: bool
) -> list[JwtChange]:
    """Register an identity, and return how; nothing if another call has done it."""
    both = {"issuer": identity.issuer, "subject": identity.subject}
    unbound = and_(users.c.subject == identity.subject, users.c.issuer.is_(None))
    if update_unless_taken(connection, unbound, both):
        return [JwtChange.BOUND]
    account = and_(users.c.email == email, users.c.subject.is_(None))
    if link and email is not None and update_unless_taken(connection, account, {**both, "linked": True}):
        return [JwtChange.LINKED]
    row = {**both, "id": new_id(now), "email": email, "role": Role.VIEWER.value, "disabled": False, "created_at": now}
    # If not, another user has the email, or another daemon has just registered the identity.
    is_new = insert_new(connection, users, [row]) or insert_new(connection, users, [{**row, "email": None}])
    return [JwtChange.REGISTERED] if is_new else []
