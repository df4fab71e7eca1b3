"""Roles, from the one that may least to the one that may most, and whoever has one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from alertctl.errors import InvalidEvent
from alertctl.suggestions import suggest


class Role(StrEnum):
    """VIEWER < ANALYST < DEVELOPER < ADMIN: a role may do whatever a lower one may."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    DEVELOPER = "developer"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    def reaches(self, needed: Role) -> bool:
        """Whether this role may do what needs `needed`."""
        return self.rank >= needed.rank

    def capped(self, limit: Role) -> Role:
        """The lower of the two."""
        return self if limit.reaches(self) else limit

    @classmethod
    def known(cls, text: object) -> Self | None:
        """Return the role of that name, in any case; None for anything else."""
        word = str(text).strip().lower()
        return cls(word) if word in tuple(cls) else None

    @classmethod
    def of(cls, text: object) -> Self:
        """The role that a stored or foreign text means; whatever we don't know may least."""
        return cls.known(text) or cls("viewer")


_RANKS = {role: rank for rank, role in enumerate(Role)}


def parse_role(text: str) -> Role:
    """A role as a person wrote it, in any case. Raises InvalidEvent."""
    word = text.strip().lower()
    if word not in tuple(Role):
        raise InvalidEvent("role", f"{text[:60]!r} is not a role{suggest(word, Role)}")
    return Role(word)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever calls the API. `token_id` is None for a platform's JWT; `last_used_at` is from before this call."""

    user_id: str
    email: str | None
    role: Role
    token_id: str | None = None
    last_used_at: datetime | None = None

    @property
    def name(self) -> str:
        """The email, or the id of a user without one."""
        return self.email or self.user_id
