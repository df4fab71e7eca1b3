"""Users, their tokens and preferences."""

from __future__ import annotations

from dataclasses import dataclass

from alertctl.serialization import Moment

Prefs = dict[str, bool | str | None]
"""The flat preferences of one user, as the API shows them (`user_id`, `slack_enabled`, …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserItem:
    """A user. `issuer` and `subject` are the identity of a JWT user, None for other users."""

    id: str
    email: str | None
    role: str
    disabled: bool
    created_at: Moment
    issuer: str | None = None
    subject: str | None = None

    @property
    def name(self) -> str:
        """The email, or the id of a user without one."""
        return self.email or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenItem:
    """A token without its secret. `hint` is the secret's last characters.

    `scope` is `publish` for a token that may only publish events and read their state, else None.
    """

    id: str
    user: str
    role: str
    hint: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None
    scope: str | None = None
