"""The users themselves, as an admin adds, changes and removes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from alertctl.addresses import check_address, email_key
from alertctl.db import insert_new
from alertctl.errors import InvalidEvent, NotFound
from alertctl.ids import new_id
from alertctl.models import User
from alertctl.schemas import UserItem
from alertctl.users.roles import Role, parse_role

users = SQLModel.metadata.tables[str(User.__tablename__)]


class EmailTaken(InvalidEvent):
    """An email address that is already another user's."""

    def __init__(self, email: str) -> None:
        super().__init__("email", f"{email} is registered already: another user has it")


def list_users(connection: Connection, *, after: str = "", limit: int | None = None) -> list[UserItem]:
    """Return all users by name (`UserItem.name`: the email, else the id), or those after the name `after`."""
    name = func.coalesce(users.c.email, users.c.id)
    part = select(users).where(name > _plain(after)).order_by(name).limit(limit)
    return [_item(row) for row in connection.execute(part)]


def _plain(text: str) -> str:
    """NUL is no part of any name, and Postgres refuses to compare with it."""
    return text.replace("\0", "")


def find_user(connection: Connection, user: str) -> UserItem:
    """The user of that id or email. Raises NotFound."""
    return _item(_row(connection, user))


def add_user(connection: Connection, email: str, role: str, now: datetime) -> UserItem:
    """Register somebody. Raises InvalidEvent for a bad address or role, EmailTaken for a known one."""
    address = _checked_email(email)
    row = {"id": new_id(now), "email": address, "role": parse_role(role).value, "disabled": False, "created_at": now}
    if not insert_new(connection, users, [row]):
        raise EmailTaken(address)
    return find_user(connection, address)


def set_role(connection: Connection, user: str, role: str) -> UserItem:
    """Set what a user may do at most; their tokens never do more. Raises NotFound, InvalidEvent."""
    return change_user(connection, user, role=parse_role(role))


def set_email(connection: Connection, user: str, email: str) -> UserItem:
    """Give a user another address. Raises NotFound, InvalidEvent for a bad one, EmailTaken for another user's."""
    return change_user(connection, user, email=email)


def disable_user(connection: Connection, user: str) -> UserItem:
    """No call is accepted from them and no alert goes to them any more. Raises NotFound."""
    return change_user(connection, user, disabled=True)


def enable_user(connection: Connection, user: str) -> UserItem:
    """The opposite of `disable_user`. Raises NotFound."""
    return change_user(connection, user, disabled=False)


def change_user(
    connection: Connection,
    user: str,
    *,
    role: Role | None = None,
    disabled: bool | None = None,
    email: str | None = None,
) -> UserItem:
    """Change what isn't None. Raises NotFound, InvalidEvent, EmailTaken."""
    values: dict[str, Any] = {}
    if role is not None:
        # A role that is set after an identity was linked is meant for that identity, too.
        values |= {"role": role.value, "linked": False}
    if disabled is not None:
        values["disabled"] = disabled
    if email is not None:
        values["email"] = _checked_email(email)
    row = _row(connection, user)
    if values and not update_unless_taken(connection, users.c.id == row.id, values) and email is not None:
        raise EmailTaken(values["email"])
    return find_user(connection, row.id)


def update_unless_taken(connection: Connection, condition: ColumnElement[bool], values: Mapping[str, Any]) -> bool:
    """Change the user that meets the condition; return False if there is none or another user has the values."""
    try:
        with connection.begin_nested():
            return connection.execute(update(users).where(condition).values(values)).rowcount > 0
    except IntegrityError:
        return False


def unlink_user(connection: Connection, user: str) -> UserItem:
    """Forget a user's identity: tokens of the platform (JWT) with it no longer are this user's. Raises NotFound."""
    row = _row(connection, user)
    forgotten = {"issuer": None, "subject": None, "linked": False}
    connection.execute(update(users).where(users.c.id == row.id).values(forgotten))
    return find_user(connection, row.id)


def remove_user(connection: Connection, user: str) -> UserItem:
    """Delete a user with their preferences and tokens, and return them; the delivery log keeps its rows.

    Raises NotFound, InvalidEvent for the last admin who isn't disabled.
    """
    row = _row(connection, user)
    admin = (users.c.role == Role.ADMIN.value, users.c.disabled.is_(False))
    # Locked, so that two admins who are removed at the same moment can't both go.
    admins = connection.execute(select(users.c.id).where(*admin).order_by(users.c.id).with_for_update()).scalars().all()
    if list(admins) == [row.id]:
        raise InvalidEvent(
            "user", f"{_item(row).name} is the last admin: first run alertctl user set-role USER admin for another user"
        )
    connection.execute(delete(users).where(users.c.id == row.id))
    return _item(row)


def _row(connection: Connection, user: str) -> Row[Any]:
    word = email_key(user.strip())
    # NUL is no part of any name, and Postgres refuses to compare with it.
    if not word or not word.isprintable():
        raise NotFound(f"{user[:80]!r} is no user's id or email")
    found = connection.execute(select(users).where(or_(users.c.email == word, users.c.id == word))).first()
    if found is None:
        raise NotFound(f"{user[:80]!r} is no user's id or email: alertctl user list shows them")
    return found


def _item(row: Row[Any]) -> UserItem:
    return UserItem(
        id=row.id,
        email=row.email,
        role=row.role,
        disabled=row.disabled,
        created_at=row.created_at,
        issuer=row.issuer,
        subject=row.subject,
    )


def _checked_email(email: str) -> str:
    """Return the key of a user's email address. Raises InvalidEvent."""
    return email_key(check_address("email", email.strip(), "email"))
