"""Authenticate the caller of a request and require a role."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from anyio.to_thread import run_sync
from fastapi import Depends, Request

from alertctl import users
from alertctl.api.audit import log_jwt_change
from alertctl.api.deps import Services
from alertctl.api.errors import NO_TOKEN
from alertctl.config import Settings
from alertctl.errors import NotAllowed, Unreachable
from alertctl.users import Caller, Role

if TYPE_CHECKING:
    from alertctl.api.jwt import JwtVerifier, PlatformUser

log = logging.getLogger("alertctl.api")
CACHE_SECONDS = 5.0
"""How long a verified token is cached. Only publishing uses the cache, and it checks the token again when it writes."""
MAX_CACHED_TOKENS = 10_000


class Authenticator:
    """Finds the caller that a token belongs to."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._jwt_settings = services.jwt_settings()
        self._jwt = _create_jwt_verifier(self._jwt_settings)
        self._recent: dict[str, tuple[float, JwtVerifier | None, Caller]] = {}
        """Callers by the hash of their token, with the time until which they count and the verifier of then."""
        self._warned: set[users.Identity] = set()

    def verify(self, secret: str) -> Caller:
        """Return the token's caller as the database has it now. Raises NotAllowed, Unreachable."""
        if not secret.startswith(users.PREFIX):
            return self._verify_jwt(secret)
        now = self._services.clock()
        caller = self._services.store.read(users.verify, secret, now)
        if users.should_record_use(caller, now):
            # Don't wait for the write: the caller needs no answer about it.
            with suppress(Unreachable):
                self._services.writer.submit_later(users.touch, (caller, now))
        return caller

    async def verify_cached(self, secret: str) -> Caller:
        """Return the token's caller from memory for a few seconds, so that a busy publisher costs no query."""
        if not secret.startswith(users.PREFIX):
            # In a thread: it may read files.
            await run_sync(self._refresh_verifier)
        token_hash = users.hash_token(secret)
        verifier = self._jwt
        known = self._recent.get(token_hash)
        if known is not None and known[0] > time.monotonic() and known[1] is verifier:
            return known[2]
        caller = await run_sync(self.verify, secret)
        if len(self._recent) >= MAX_CACHED_TOKENS:
            self._recent.clear()
        # With the verifier from before: another thread may have replaced it, for a new key.
        self._recent[token_hash] = (time.monotonic() + CACHE_SECONDS, verifier, caller)
        return caller

    def _verify_jwt(self, secret: str) -> Caller:
        verifier = self._refresh_verifier()
        if verifier is None:
            raise NotAllowed(
                "the token is unknown: it does not begin with actl_, and the server has no JWT_* key; "
                "ask an admin of this server for a token"
            )
        platform_user = verifier.verify(secret)
        services, email = self._services, platform_user.email
        with services.store.reading() as connection:
            user = users.find_identity(connection, platform_user.identity)
            # A disabled user's email never changes.
            has_new_email = (
                user is not None
                and not user.disabled
                and email not in (None, user.email)
                and users.is_email_free(connection, email)
            )
        if user is None or has_new_email:
            user, changes = services.writer.write(
                users.ensure_user, platform_user.identity, email, services.clock(), link=platform_user.may_link
            )
            for change in changes:
                log_jwt_change(user.email or user.id, _describe(change, platform_user.identity))
        caller = Caller(user.id, user.email, platform_user.role or user.role)
        if user.disabled:
            raise NotAllowed(f"{caller.name} is disabled; ask an admin to enable the user")
        if email not in (None, user.email):
            self._warn_of_taken_email(platform_user)
        return caller

    def _refresh_verifier(self) -> JwtVerifier | None:
        """Return the verifier with the secrets that their files hold now, None if no key is set."""
        settings = self._services.jwt_settings()
        if settings is not self._jwt_settings:
            verifier = self._jwt.renewed(settings) if self._jwt else _create_jwt_verifier(settings)
            self._jwt, self._jwt_settings = verifier, settings
        return self._jwt

    def _warn_of_taken_email(self, platform_user: PlatformUser) -> None:
        """Log the warning once for each identity, because clients call often."""
        if platform_user.identity in self._warned:
            return
        if len(self._warned) >= MAX_CACHED_TOKENS:
            self._warned.clear()
        self._warned.add(platform_user.identity)
        log.warning(
            "JWT user %r of issuer %r: the address in the %s claim is another user's and is not registered",
            platform_user.identity.subject,
            platform_user.identity.issuer,
            self._services.settings.jwt.email_claim,
        )


def _describe(change: users.JwtChange, identity: users.Identity) -> str:
    """Return what a JWT changed about its user, for the audit log."""
    if change is users.JwtChange.EMAIL:
        return "got this email address from their JWT"
    return f"was {change} the JWT user {identity.subject!r} of issuer {identity.issuer!r}"


def _create_jwt_verifier(settings: Settings) -> JwtVerifier | None:
    """Return the verifier of the platform's tokens, None if no key is set."""
    # Without a key, `cryptography` is not imported: it takes 9 MB of memory.
    if not (settings.jwt.secret.get_secret_value() or settings.jwt.public_key or settings.jwt.jwks):
        return None
    from alertctl.api.jwt import JwtVerifier

    return JwtVerifier(settings)


class RequireRole:
    """Dependency that returns the caller. `publishing`: a token with the scope `publish` may call the route too."""

    def __init__(self, role: Role, *, publishing: bool = False) -> None:
        self.role = role
        self.publishing = publishing

    def __call__(self, request: Request) -> Caller:
        return self.check(request.app.state.authenticator.verify(bearer_token(request)))

    def check(self, caller: Caller) -> Caller:
        """Return the caller. Raises NotAllowed when their role or their token's scope is too low."""
        if caller.scope and not self.publishing:
            raise NotAllowed(
                f"the token of {caller.name} has the scope {caller.scope}: it may only publish events and read their "
                "state; create a token with a role for anything else",
                authenticated=True,
            )
        if not caller.role.reaches(self.role):
            raise NotAllowed(
                f"this requires the role {self.role.or_higher}; the token of {caller.name} has {caller.role}",
                authenticated=True,
            )
        return caller


def bearer_token(request: Request) -> str:
    """Return the bearer token of a request. Raises NotAllowed."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotAllowed(NO_TOKEN)
    return token


require_publisher = RequireRole(Role.DEVELOPER, publishing=True)


async def cached_publisher(request: Request) -> Caller:
    """Return the caller, perhaps a cached one: only for a route that checks the token again when it writes.

    Raises what `require_publisher` raises. Not a dependency: FastAPI's resolving would cost as much as the check.
    """
    return require_publisher.check(await request.app.state.authenticator.verify_cached(bearer_token(request)))


Viewer = Annotated[Caller, Depends(RequireRole(Role.VIEWER))]
Developer = Annotated[Caller, Depends(RequireRole(Role.DEVELOPER))]
Publisher = Annotated[Caller, Depends(require_publisher)]
Admin = Annotated[Caller, Depends(RequireRole(Role.ADMIN))]
