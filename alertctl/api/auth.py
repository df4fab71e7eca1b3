"""Who is calling, and whether they may."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Annotated

from anyio.to_thread import run_sync
from fastapi import Depends, Request

from alertctl import users
from alertctl.api.deps import Services
from alertctl.api.errors import NO_TOKEN
from alertctl.config import Settings
from alertctl.errors import NotAllowed, Unreachable
from alertctl.users import Caller, JwtUser, Role

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from alertctl.api.jwt import PlatformTokens, PlatformUser

log = logging.getLogger("alertctl.api")
RECENT_SECONDS = 5.0
"""How long a verified token is remembered. Only publishing uses it, and checks the token once more as it writes."""
RECENT_TOKENS = 10_000


class Authenticator:
    """Turns a request's token into its caller."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._platform = _platform_tokens(services.settings)
        self._recent: dict[str, tuple[float, Caller]] = {}
        self._warned: set[users.Identity] = set()

    def verify(self, secret: str) -> Caller:
        """Whose token this is, as the database says now. Raises NotAllowed, Unreachable."""
        if not secret.startswith(users.PREFIX):
            return self._platform_caller(secret)
        now = self._services.clock()
        with self._services.store.reading() as connection:
            caller = users.verify(connection, secret, now)
        if users.use_is_news(caller, now):
            self._note_use(caller)
        return caller

    async def verify_cached(self, secret: str) -> Caller:
        """Return the token's caller from memory for a few seconds, so that a busy publisher costs no query."""
        digest = users.hash_token(secret)
        known = self._recent.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        caller = await run_sync(self.verify, secret)
        if len(self._recent) >= RECENT_TOKENS:
            self._recent.clear()
        self._recent[digest] = (time.monotonic() + RECENT_SECONDS, caller)
        return caller

    def _note_use(self, caller: Caller) -> None:
        now = self._services.clock()
        try:
            # Nobody waits for it: a token's last use is worth no caller's time.
            self._services.writer.submit_later(users.touch, (caller, now))
        except Unreachable:
            pass

    def _platform_caller(self, secret: str) -> Caller:
        if self._platform is None:
            raise NotAllowed("the token isn't known: alertctl's own begin with actl_, and no JWT_* key is set")
        who = self._platform.read(secret)
        services = self._services
        with services.store.reading() as connection:
            user = users.find_identity(connection, who.identity)
            has_new_email = user is not None and _has_new_email(connection, user, who.email)
        if user is None or has_new_email:
            user = services.writer.write(
                lambda connection: users.ensure_user(
                    connection, who.identity, who.email, services.clock(), link=who.may_link
                )
            )
        caller = Caller(user.id, user.email, who.role or user.role)
        if user.disabled:
            raise NotAllowed(f"{caller.name} is disabled: an admin can enable them again")
        if who.email not in (None, user.email):
            self._warn_of_taken_email(who)
        return caller

    def _warn_of_taken_email(self, who: PlatformUser) -> None:
        """Log it once for each identity: a client calls often."""
        if who.identity in self._warned:
            return
        if len(self._warned) >= RECENT_TOKENS:
            self._warned.clear()
        self._warned.add(who.identity)
        log.warning(
            "JWT user %r of issuer %r: the address in the %s claim is another user's and is not registered",
            who.identity.subject,
            who.identity.issuer,
            self._services.settings.jwt.email_claim,
        )


def _has_new_email(connection: Connection, user: JwtUser, email: str | None) -> bool:
    """Whether a token's email has changed and can be registered. A disabled user changes nothing any more."""
    return not user.disabled and email is not None and email != user.email and users.is_email_free(connection, email)


def _platform_tokens(settings: Settings) -> PlatformTokens | None:
    """What checks the platform's tokens, if there is a key to check them with: cryptography takes 9 MB of memory."""
    if not (settings.jwt.secret.get_secret_value() or settings.jwt.public_key or settings.jwt.jwks):
        return None
    from alertctl.api.jwt import PlatformTokens

    return PlatformTokens(settings)


class Requires:
    """A dependency: the caller, who has at least this role."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __call__(self, request: Request) -> Caller:
        return admitted(authenticator_of(request).verify(token_of(request)), self.role)


class RequiresCached(Requires):
    """Return the caller from memory. Only for a route that checks the token again when it writes."""

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        return admitted(await authenticator_of(request).verify_cached(token_of(request)), self.role)


def authenticator_of(request: Request) -> Authenticator:
    authenticator: Authenticator = request.app.state.authenticator
    return authenticator


def token_of(request: Request) -> str:
    """The bearer token of a request. Raises NotAllowed."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotAllowed(NO_TOKEN)
    return token


def admitted(caller: Caller, needed: Role) -> Caller:
    if not caller.role.reaches(needed):
        raise NotAllowed(
            f"this needs the role {needed} or higher, the token of {caller.name} has {caller.role}",
            authenticated=True,
        )
    return caller


Viewer = Annotated[Caller, Depends(Requires(Role.VIEWER))]
Developer = Annotated[Caller, Depends(Requires(Role.DEVELOPER))]
DeveloperCached = Annotated[Caller, Depends(RequiresCached(Role.DEVELOPER))]
Admin = Annotated[Caller, Depends(Requires(Role.ADMIN))]
