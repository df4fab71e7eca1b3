"""Roles, from least to most permissions, and the caller of the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from alertctl.errors import InvalidEvent
from alertctl.suggestions import suggest

PUBLISH = "publish"
"""The scope of a token that may publish events and read their state, and nothing else."""


class Role(StrEnum):
    """VIEWER < ANALYST < DEVELOPER < ADMIN: a role includes the permissions of lower ones."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    DEVELOPER = "developer"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    @property
    def or_higher(self) -> str:
        """Return `developer or higher` for messages, `admin` for the highest."""
        return self.value if self is Role.ADMIN else f"{self} or higher"

    def reaches(self, needed: Role) -> bool:
        """Return whether this role includes `needed`."""
        return self.rank >= needed.rank

    @classmethod
    def known(cls, text: object) -> Self | None:
        """Return the role of that name, in any case; None for anything else."""
        word = str(text).strip().lower()
        return cls(word) if word in tuple(cls) else None

    @classmethod
    def of(cls, text: object) -> Self:
        """Return the role of a stored or foreign text; VIEWER for an unknown one."""
        return cls.known(text) or cls("viewer")


_RANKS = {role: rank for rank, role in enumerate(Role)}


def parse_role(text: str) -> Role:
    """Return the role with this name, in any case. Raises InvalidEvent."""
    word = text.strip().lower()
    if word not in tuple(Role):
        raise InvalidEvent("role", f"{text[:60]!r} is not a role{suggest(word, tuple(Role))}")
    return Role(word)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of the API. `token_id` is None for a platform's JWT; `last_used_at` is from before this call.

    `scope` is PUBLISH for a token that may only publish events and read their state, else None.
    """

    user_id: str
    email: str | None
    role: Role
    token_id: str | None = None
    last_used_at: datetime | None = None
    scope: str | None = None

    @property
    def name(self) -> str:
        """The email, or the id of a user without one."""
        return self.email or self.user_id
