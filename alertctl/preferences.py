"""What users want to be told, and where: rows only where somebody departed from the defaults."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, and_, func, or_, select, true
from sqlmodel import SQLModel

from alertctl.events import PREFERENCES
from alertctl.models import EventPreference, Preference, User
from alertctl.routing import Recipient

users = SQLModel.metadata.tables[str(User.__tablename__)]
preference = SQLModel.metadata.tables[str(Preference.__tablename__)]
choice = SQLModel.metadata.tables[str(EventPreference.__tablename__)]


def recipients(connection: Connection, event_type: str) -> Iterator[Recipient]:
    """The users who want this event type, and where; one query, also with 100 000 users."""
    if event_type not in PREFERENCES:
        return
    slack_on = func.coalesce(preference.c.slack_enabled, true())
    email_on = func.coalesce(preference.c.email_enabled, true())
    found = (
        select(
            users.c.id,
            users.c.email,
            slack_on.label("slack_on"),
            email_on.label("email_on"),
            preference.c.slack_channel,
            preference.c.email_address,
        )
        .select_from(users)
        .outerjoin(preference, preference.c.user_id == users.c.id)
        .outerjoin(choice, and_(choice.c.user_id == users.c.id, choice.c.event_type == event_type))
        .where(
            users.c.disabled.is_(False),
            func.coalesce(choice.c.wanted, PREFERENCES[event_type]),
            or_(email_on, and_(slack_on, preference.c.slack_channel.is_not(None))),
        )
        .order_by(users.c.id)
    )
    for row in connection.execution_options(yield_per=1000).execute(found):
        yield Recipient(
            row.id,
            row.slack_channel if row.slack_on else None,
            (row.email_address or row.email) if row.email_on else None,
        )
