"""The users themselves: added by a person, or registered when the platform's JWT first names them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update
from sqlmodel import SQLModel

from alertctl.addresses import address_key, check_address
from alertctl.errors import InvalidEvent, NotFound
from alertctl.models import User, new_id
from alertctl.schemas import UserItem
from alertctl.store import insert_new
from alertctl.users.roles import Role, parse_role

users = SQLModel.metadata.tables[str(User.__tablename__)]


class EmailTaken(InvalidEvent):
    """An email address that is already another user's."""

    def __init__(self, email: str) -> None:
        super().__init__("email", f"{email} is registered already: another user has it")


def list_users(connection: Connection, *, after: str = "", limit: int | None = None) -> list[UserItem]:
    """All users by email, or a part of them: those behind `after`, an email."""
    part = select(users).where(users.c.email > _plain(after)).order_by(users.c.email).limit(limit)
    return [_item(row) for row in connection.execute(part)]


def _plain(text: str) -> str:
    """NUL is no part of any name, and Postgres refuses to compare with it."""
    return text.replace("\0", "")


def find_user(connection: Connection, user: str) -> UserItem:
    """The user of that id or email. Raises NotFound."""
    return _item(_row(connection, user))


def add_user(connection: Connection, email: str, role: str, now: datetime) -> UserItem:
    """Register somebody. Raises InvalidEvent for a bad address or role, EmailTaken for a known one."""
    address = address_key("email", check_address("email", email.strip(), "email"))
    if not _insert(connection, address, parse_role(role), None, now):
        raise EmailTaken(address)
    return find_user(connection, address)


def set_role(connection: Connection, user: str, role: str) -> UserItem:
    """What a user may do at most; their tokens never do more. Raises NotFound, InvalidEvent."""
    return _change(connection, user, role=parse_role(role).value)


def disable_user(connection: Connection, user: str) -> UserItem:
    """No call is accepted from them and no alert goes to them any more. Raises NotFound."""
    return _change(connection, user, disabled=True)


def enable_user(connection: Connection, user: str) -> UserItem:
    """The opposite of `disable_user`. Raises NotFound."""
    return _change(connection, user, disabled=False)


def change_user(
    connection: Connection, user: str, *, role: Role | None = None, disabled: bool | None = None
) -> UserItem:
    """Both at once; None leaves it as it is. Raises NotFound."""
    values: dict[str, Any] = {"role": role and role.value, "disabled": disabled}
    given = {name: value for name, value in values.items() if value is not None}
    return _change(connection, user, **given) if given else find_user(connection, user)


def ensure_user(connection: Connection, subject: str, email: str, role: Role | None, now: datetime) -> UserItem:
    """The user of a platform's id, registered when it is seen first. `role` is what the platform says, None: nothing.

    Somebody who was added by their email is the same person from then on. Raises EmailTaken when the address already
    belongs to another id of the platform, InvalidEvent when it is none.
    """
    if find_subject(connection, subject) is None:
        address = address_key("email", check_address("email", email.strip(), "email"))
        _register(connection, subject, address, role, now)
    found = find_subject(connection, subject)
    if found is None:
        raise EmailTaken(email)
    if role is None or role == found.role:
        return found
    return _change(connection, found.id, role=role.value)


def _register(connection: Connection, subject: str, email: str, role: Role | None, now: datetime) -> None:
    if _insert(connection, email, role or Role.VIEWER, subject, now):
        return
    connection.execute(update(users).where(users.c.email == email, users.c.subject.is_(None)).values(subject=subject))


def find_subject(connection: Connection, subject: str) -> UserItem | None:
    """The user whom the platform knows by that id, None when it was never seen."""
    row = connection.execute(select(users).where(users.c.subject == subject)).first()
    return None if row is None else _item(row)


def _insert(connection: Connection, email: str, role: Role, subject: str | None, now: datetime) -> bool:
    """Whether the user is new. Two daemons may try at once: one of them wins."""
    row = {
        "id": new_id(now),
        "email": email,
        "subject": subject,
        "role": role.value,
        "disabled": False,
        "created_at": now,
    }
    return insert_new(connection, users, [row]) == 1


def _change(connection: Connection, user: str, **values: Any) -> UserItem:
    found = _row(connection, user)
    connection.execute(update(users).where(users.c.id == found.id).values(**values))
    return find_user(connection, found.id)


def _row(connection: Connection, user: str) -> Row[Any]:
    word = address_key("email", user.strip())
    # NUL is no part of any name, and Postgres refuses to compare with it.
    if not word or not word.isprintable():
        raise NotFound(f"{user[:80]!r} is no user's id or email")
    found = connection.execute(select(users).where(or_(users.c.email == word, users.c.id == word))).first()
    if found is None:
        raise NotFound(f"{user[:80]!r} is no user's id or email: alertctl user list shows them")
    return found


def _item(row: Row[Any]) -> UserItem:
    return UserItem(id=row.id, email=row.email, role=row.role, disabled=row.disabled, created_at=row.created_at)
