"""Users' notification preferences. Only choices that differ from the defaults are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Connection, Row, and_, bindparam, delete, func, or_, select, true
from sqlalchemy import update as sql_update

from alertctl.addresses import LONGEST_EMAIL, check_address
from alertctl.channels import CHANNEL_TYPES, channel_type
from alertctl.db import insert_new, upsert
from alertctl.errors import InvalidEvent
from alertctl.events import PREFERENCES
from alertctl.models import EventPreference, Preference, User, table_of
from alertctl.routing import RecipientPolicy, Target
from alertctl.schemas import Prefs
from alertctl.suggestions import suggest

users = table_of(User)
preference = table_of(Preference)
choice = table_of(EventPreference)

OWN_ADDRESS = "@me"
"""An address that means a message to the user in person, on channels that find people by email."""
ADDRESSES = {kind.address_preference: kind.name for kind in CHANNEL_TYPES if kind.address_preference}
"""Preferences that hold an address, with their channel. Each is a column of the preference table."""
SWITCHES = tuple(f"{channel}_enabled" for channel in ADDRESSES.values())
CHANNEL_COLUMNS = (*SWITCHES, *ADDRESSES)
FLAGS = (*SWITCHES, *(f"notify_on_{event_type}" for event_type in PREFERENCES))
NAMES = (*FLAGS, *ADDRESSES)
"""All preferences, in their display order."""
MAX_OFFSET = 10**9


def recipients(connection: Connection, event_type: str, user_id: str | None = None) -> Iterator[Target]:
    """Yield the targets of users (or only this one) who want this event type; one query, also with 100 000 users."""
    if event_type not in PREFERENCES:
        return
    parameters = {"event_type": event_type, "usual": PREFERENCES[event_type]}
    query = _RECIPIENTS if user_id is None else _RECIPIENTS.where(users.c.id == user_id)
    for row in connection.execute(query, parameters, execution_options={"yield_per": 1000}):
        yield from _targets_of(row)


def targets_of_role(connection: Connection, role: str) -> Iterator[Target]:
    """Yield the targets of all users with this role, on the channels that they have not switched off."""
    for row in connection.execute(_ADDRESSES.where(users.c.role == role)):
        yield from _targets_of(row)


def _targets_of(row: Row[Any]) -> Iterator[Target]:
    slack_address = _person(row.email) if row.slack_channel == OWN_ADDRESS else row.slack_channel
    if row.slack_on and slack_address:
        yield Target("slack", slack_address, "user_channel", row.id)
    if row.email_on and (row.email_address or row.email):
        yield Target("email", row.email_address or row.email, "user_email", row.id)


def _person(email: str | None) -> str | None:
    """Return the address of a person with this email, None without one that fits."""
    return f"@{email}" if email and len(email) < LONGEST_EMAIL else None


_SLACK_ON = func.coalesce(preference.c.slack_enabled, true())
_EMAIL_ON = func.coalesce(preference.c.email_enabled, true())
_ADDRESSES = (
    select(users.c.id, users.c.email, _SLACK_ON.label("slack_on"), _EMAIL_ON.label("email_on"))
    .add_columns(preference.c.slack_channel, preference.c.email_address)
    .select_from(users)
    .outerjoin(preference, preference.c.user_id == users.c.id)
    .where(users.c.disabled.is_(False))
    .order_by(users.c.id)
)
_RECIPIENTS = _ADDRESSES.outerjoin(
    choice, and_(choice.c.user_id == users.c.id, choice.c.event_type == bindparam("event_type"))
).where(
    func.coalesce(choice.c.enabled, bindparam("usual", type_=Boolean)),
    or_(
        and_(_EMAIL_ON, or_(users.c.email.is_not(None), preference.c.email_address.is_not(None))),
        and_(_SLACK_ON, preference.c.slack_channel.is_not(None)),
    ),
)
"""Built once: building it took longer than writing the event."""
_PREFERENCES = (
    select(users.c.id, *(preference.c[name] for name in CHANNEL_COLUMNS))
    .select_from(users)
    .outerjoin(preference, preference.c.user_id == users.c.id)
)


def find(connection: Connection, user_id: str) -> Prefs | None:
    """Return a user's preferences as the API shows them, None before their first use."""
    rows = connection.execute(_PREFERENCES.where(preference.c.user_id == user_id)).all()
    return next(iter(_as_prefs(connection, rows)), None)


def effective(connection: Connection, user_id: str) -> Prefs:
    """Return the preferences that count for a user, the defaults before their first use."""
    return _as_prefs(connection, connection.execute(_PREFERENCES.where(users.c.id == user_id)).all())[0]


def get(connection: Connection, user_id: str, now: datetime) -> Prefs:
    """Return the same, creating the defaults first; concurrent first calls create one row."""
    _ensure(connection, user_id, now)
    preferences = find(connection, user_id)
    assert preferences is not None, "the row was written in this transaction"
    return preferences


def update(
    connection: Connection,
    user_id: str,
    changes: Mapping[str, Any],
    now: datetime,
    policy: RecipientPolicy = RecipientPolicy(),  # noqa: B008
) -> Prefs:
    """Change only these preferences; None resets an address to its default.

    Raises InvalidEvent for the first unknown field or wrong value, before anything is written.
    """
    checked = check(changes, policy)
    for name, channel in ADDRESSES.items():
        if checked.get(name) == OWN_ADDRESS:
            _check_own_address(connection, user_id, name, channel, policy)
    _ensure(connection, user_id, now)
    columns = {name: value for name, value in checked.items() if name in CHANNEL_COLUMNS}
    connection.execute(sql_update(preference).where(preference.c.user_id == user_id).values(**columns, updated_at=now))
    for event_type in PREFERENCES:
        if flag_of(event_type) in checked:
            _choose(connection, user_id, event_type, bool(checked[flag_of(event_type)]))
    return get(connection, user_id, now)


def reset(connection: Connection, user_id: str, now: datetime) -> Prefs:
    """Reset a user's preferences to the defaults."""
    connection.execute(delete(choice).where(choice.c.user_id == user_id))
    connection.execute(delete(preference).where(preference.c.user_id == user_id))
    return get(connection, user_id, now)


def everyone(connection: Connection, page: int, limit: int) -> tuple[list[Prefs], int]:
    """Return a page of all users' preferences, in the order of registration, and the number of users."""
    start = min((page - 1) * limit, MAX_OFFSET)
    rows = connection.execute(_PREFERENCES.order_by(users.c.id).limit(limit).offset(start)).all()
    total = connection.execute(select(func.count()).select_from(users)).scalar_one()
    return _as_prefs(connection, rows), total


def count_people(connection: Connection) -> int:
    """Return how many enabled users have chosen a person as an address: themselves (`@me`), or another one."""
    people = or_(*(preference.c[name].startswith("@") for name in ADDRESSES))
    joined = preference.join(users, users.c.id == preference.c.user_id)
    count = select(func.count()).select_from(joined).where(people, users.c.disabled.is_(False))
    return int(connection.execute(count).scalar_one())


def flag_of(event_type: str) -> str:
    return f"notify_on_{event_type}"


def check(changes: Mapping[str, Any], policy: RecipientPolicy) -> dict[str, bool | str | None]:
    """Return the checked changes. Raises InvalidEvent."""
    checked = {name: _checked(name, value) for name, value in changes.items()}
    for name, channel in ADDRESSES.items():
        if checked.get(name) not in (None, OWN_ADDRESS):
            policy.check(channel, str(checked[name]), name)
    return checked


def _check_own_address(connection: Connection, user_id: str, name: str, channel: str, policy: RecipientPolicy) -> None:
    """Check that a message to the user in person has a valid and allowed address. Raises InvalidEvent."""
    address = _person(connection.execute(select(users.c.email).where(users.c.id == user_id)).scalar())
    if address is None:
        raise InvalidEvent(
            name,
            f"{OWN_ADDRESS} needs a registered email address, and this user has none: name a channel, "
            "or @EMAIL for a direct message",
        )
    policy.check(channel, check_address(channel, address, name), name)


def _checked(name: str, value: Any) -> bool | str | None:
    if name in ADDRESSES:
        if value is None:
            return None
        if not isinstance(value, str):
            raise InvalidEvent(name, "should be text, or null for the default")
        if value == OWN_ADDRESS and channel_type(ADDRESSES[name]).has_directory:
            return value
        return check_address(ADDRESSES[name], value, name)
    if name not in FLAGS:
        raise InvalidEvent(name[:80], f"preferences have no such field{suggest(name, NAMES)}")
    if not isinstance(value, bool):
        raise InvalidEvent(name, "should be true or false")
    return value


def _ensure(connection: Connection, user_id: str, now: datetime) -> None:
    row = {"user_id": user_id, "slack_enabled": True, "email_enabled": True, "updated_at": now}
    insert_new(connection, preference, [row])


def _choose(connection: Connection, user_id: str, event_type: str, notify: bool) -> None:
    """Store a choice that differs from the default; delete the row of one that doesn't."""
    if notify == PREFERENCES[event_type]:
        connection.execute(delete(choice).where(choice.c.user_id == user_id, choice.c.event_type == event_type))
        return
    changes = {"enabled": notify}
    upsert(connection, choice, {"user_id": user_id, "event_type": event_type, **changes}, changes)


def _as_prefs(connection: Connection, rows: Sequence[Row[Any]]) -> list[Prefs]:
    """Return the preferences of users as the API shows them, with their stored choices."""
    chosen: dict[tuple[str, str], bool] = {}
    for row in connection.execute(select(choice).where(choice.c.user_id.in_([row.id for row in rows]))):
        chosen[row.user_id, row.event_type] = row.enabled
    return [
        {
            "user_id": row.id,
            **{name: row._mapping[name] is not False for name in SWITCHES},
            **{flag_of(kind): chosen.get((row.id, kind), default) for kind, default in PREFERENCES.items()},
            **{name: row._mapping[name] for name in ADDRESSES},
        }
        for row in rows
    ]
