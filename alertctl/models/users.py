"""The tables of users, their tokens and preferences."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, Column, String, UniqueConstraint, false
from sqlmodel import Field, SQLModel

from alertctl.models.columns import id_column, reference_column, time_column


class User(SQLModel, table=True):
    """A user of the API and a recipient of alerts.

    `issuer` and `subject` identify a JWT user: `iss` and the user's claim. A subject that was recorded by an older
    version has no issuer until the next login. `linked`: JWT_LINK_BY_EMAIL gave an existing
    account this identity, so the stored role counts for the account's own tokens, not for a JWT.
    """

    __tablename__ = "users"
    id: str = Field(sa_column=id_column())
    email: str | None = Field(default=None, sa_column=Column(String(254), unique=True))
    issuer: str | None = Field(default=None, sa_column=Column(String(255)))
    subject: str | None = Field(default=None, sa_column=Column(String(255)))
    linked: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    role: str = Field(default="viewer", sa_column=Column(String(16), nullable=False))
    disabled: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    created_at: datetime = Field(sa_column=time_column(nullable=False))

    __table_args__ = (UniqueConstraint("issuer", "subject", name="uq_users_identity"),)


class Token(SQLModel, table=True):
    """An access token issued by alertctl. Only its SHA-256 is stored (`token_hash`)."""

    __tablename__ = "token"
    id: str = Field(sa_column=id_column())
    user_id: str = Field(sa_column=reference_column("users.id", nullable=False, index=True))
    role: str = Field(sa_column=Column(String(16), nullable=False))
    token_hash: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    hint: str = Field(sa_column=Column(String(8), nullable=False))
    created_at: datetime = Field(sa_column=time_column(nullable=False))
    expires_at: datetime | None = Field(default=None, sa_column=time_column())
    last_used_at: datetime | None = Field(default=None, sa_column=time_column())
    revoked_at: datetime | None = Field(default=None, sa_column=time_column())


class Preference(SQLModel, table=True):
    """A user's channels and addresses. A user without a row has the defaults."""

    __tablename__ = "preference"
    user_id: str = Field(sa_column=reference_column("users.id", primary_key=True))
    slack_enabled: bool = Field(default=True, sa_column=Column(Boolean, nullable=False))
    email_enabled: bool = Field(default=True, sa_column=Column(Boolean, nullable=False))
    slack_channel: str | None = Field(default=None, sa_column=Column(String(254)))
    email_address: str | None = Field(default=None, sa_column=Column(String(254)))
    updated_at: datetime = Field(sa_column=time_column(nullable=False))


class EventPreference(SQLModel, table=True):
    """A user's choice for one event type where it differs from the registry's default."""

    __tablename__ = "event_preference"
    user_id: str = Field(sa_column=reference_column("users.id", primary_key=True))
    event_type: str = Field(sa_column=Column(String(64), primary_key=True))
    enabled: bool = Field(sa_column=Column(Boolean, nullable=False))
