"""Add, change, list and remove users."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from alertctl.addresses import check_address, email_key
from alertctl.db import insert_new
from alertctl.errors import InvalidEvent, NotFound
from alertctl.ids import new_id
from alertctl.models import User, columns_for, table_of
from alertctl.routing import RecipientPolicy
from alertctl.schemas import UserItem
from alertctl.users.roles import Role, parse_role

users = table_of(User)
ANY_RECIPIENT = RecipientPolicy()
_ITEM = columns_for(UserItem, users)


class EmailTaken(InvalidEvent):
    """The email address belongs to another user."""

    def __init__(self, email: str) -> None:
        super().__init__("email", f"{email} is already registered for another user")


def list_users(connection: Connection, *, after: str = "", limit: int | None = None) -> list[UserItem]:
    """Return all users by name (`UserItem.name`: the email, else the id), or those after the name `after`."""
    name = func.coalesce(users.c.email, users.c.id)
    # Postgres refuses to compare with NUL.
    query = select(*_ITEM).where(name > after.replace("\0", "")).order_by(name).limit(limit)
    return [UserItem(**row._asdict()) for row in connection.execute(query)]


def names(connection: Connection, user_ids: Collection[str]) -> dict[str, str]:
    """Return the names of users by id (`UserItem.name`)."""
    query = select(users.c.id, func.coalesce(users.c.email, users.c.id)).where(users.c.id.in_(user_ids))
    return {row[0]: row[1] for row in connection.execute(query)}


def find_user(connection: Connection, user: str) -> UserItem:
    """Return the user with this id or email. Raises NotFound."""
    word = email_key(user.strip())
    # Postgres refuses to compare with NUL.
    if not word or not word.isprintable():
        raise NotFound(f"{user[:80]!r} is not a user's id or email")
    row = connection.execute(select(*_ITEM).where(or_(users.c.email == word, users.c.id == word))).first()
    if row is None:
        raise NotFound(f"{user[:80]!r} is not a user's id or email; list them with alertctl user list")
    return UserItem(**row._asdict())


def add_user(
    connection: Connection, email: str, role: str, now: datetime, policy: RecipientPolicy = ANY_RECIPIENT
) -> UserItem:
    """Register a user. Raises InvalidEvent for a bad role or a bad or refused address, EmailTaken for a known one."""
    address = _checked_email(email, policy)
    row = {"id": new_id(now), "email": address, "role": parse_role(role).value, "disabled": False, "created_at": now}
    if not insert_new(connection, users, [row]):
        raise EmailTaken(address)
    return find_user(connection, address)


def change_user(
    connection: Connection,
    user: str,
    *,
    role: str | None = None,
    disabled: bool | None = None,
    email: str | None = None,
    policy: RecipientPolicy = ANY_RECIPIENT,
) -> UserItem:
    """Change the values that aren't None. `disabled` rejects the user's tokens and stops notifying them.

    Raises NotFound, EmailTaken for another user's address, InvalidEvent for a bad role, an address that is bad or not
    allowed, or the last admin.
    """
    values: dict[str, Any] = {}
    if role is not None:
        # A role that is set after an identity was linked applies to that identity too.
        values |= {"role": parse_role(role).value, "linked": False}
    if disabled is not None:
        values["disabled"] = disabled
    if email is not None:
        values["email"] = _checked_email(email, policy)
    changed = find_user(connection, user)
    if disabled or (role is not None and values["role"] != Role.ADMIN.value):
        _keep_last_admin(connection, changed)
    if values and not update_unless_taken(connection, users.c.id == changed.id, values) and email is not None:
        raise EmailTaken(values["email"])
    return find_user(connection, changed.id)


def update_unless_taken(connection: Connection, condition: ColumnElement[bool], values: Mapping[str, Any]) -> bool:
    """Change the user that meets the condition; return False if there is none or another user has the values."""
    try:
        with connection.begin_nested():
            return connection.execute(update(users).where(condition).values(values)).rowcount > 0
    except IntegrityError:
        return False


def unlink_user(connection: Connection, user: str) -> UserItem:
    """Remove a user's JWT identity: tokens with it no longer belong to this user. Raises NotFound."""
    user_id = find_user(connection, user).id
    cleared = {"issuer": None, "subject": None, "linked": False}
    connection.execute(update(users).where(users.c.id == user_id).values(cleared))
    return find_user(connection, user_id)


def remove_user(connection: Connection, user: str) -> UserItem:
    """Delete a user with their preferences and tokens, and return them; the delivery log keeps its rows.

    Raises NotFound, InvalidEvent for the last admin who isn't disabled.
    """
    removed = find_user(connection, user)
    _keep_last_admin(connection, removed)
    connection.execute(delete(users).where(users.c.id == removed.id))
    return removed


def _keep_last_admin(connection: Connection, user: UserItem) -> None:
    """Raise InvalidEvent if this user is the only admin who isn't disabled."""
    admin = (users.c.role == Role.ADMIN.value, users.c.disabled.is_(False))
    # Locked, so that two concurrent calls can't remove the last two admins.
    admins = connection.execute(select(users.c.id).where(*admin).order_by(users.c.id).with_for_update()).scalars().all()
    if list(admins) == [user.id]:
        raise InvalidEvent(
            "user", f"{user.name} is the last admin; first run alertctl user set-role USER admin for another user"
        )


def _checked_email(email: str, policy: RecipientPolicy) -> str:
    """Return the key of a user's email address. Raises InvalidEvent."""
    address = check_address("email", email.strip(), "email")
    policy.check("email", address, "email")
    return email_key(address)
