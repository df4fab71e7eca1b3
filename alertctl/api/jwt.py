"""Verify the platform's tokens (JWT): signature, issuer, audience and expiry; and read the user from their claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from alertctl.addresses import email_key, is_email
from alertctl.api.jwks import KeySet, make_fetch
from alertctl.config import Settings
from alertctl.config.public_key import load_public_key
from alertctl.errors import ConfigError, NotAllowed
from alertctl.users import Identity, Role

MAX_LENGTH = 16 * 1024
"""Longest token in characters; servers and proxies refuse longer headers anyway."""
SECRET_ALGORITHMS, PUBLIC_KEY_ALGORITHMS = ("HS256",), ("RS256", "ES256")
"""Algorithms that are accepted unless JWT_ALGORITHMS is set: with a secret, and with public keys."""
_MESSAGES: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired; get a new one from the platform"),
    (jwt.ImmatureSignatureError, "the token is not valid yet; check both machines' clocks (JWT_LEEWAY)"),
    (jwt.InvalidIssuerError, "the token's issuer is not JWT_ISSUER"),
    (jwt.InvalidAudienceError, "the token is for another audience than JWT_AUDIENCE"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (
        jwt.MissingRequiredClaimError,
        "the token lacks a claim that it must have (exp, and iss and aud where they are set)",
    ),
)


@dataclass(frozen=True, slots=True)
class PlatformUser:
    """The user that a token names.

    `email` is a valid, normalized address or None. `may_link`: the email may select an existing user
    (JWT_LINK_BY_EMAIL). `role` is None when the token has no known role.
    """

    identity: Identity
    email: str | None
    may_link: bool
    role: Role | None


class JwtVerifier:
    """Verifies the platform's tokens with the JWT_* settings, of which at least one key must be set.

    Raises ConfigError for an unusable public key.
    """

    def __init__(self, settings: Settings, key_set: KeySet | None = None) -> None:
        """`key_set` is the one of JWT_JWKS if it has been read already."""
        self._settings = settings.jwt
        self._secret = settings.jwt.secret.get_secret_value()
        self._public_key = _public_key(settings.jwt.public_key) if settings.jwt.public_key else None
        location = settings.jwt.jwks
        if location and key_set is None:
            key_set = KeySet(make_fetch(location, settings.alertctl.ca_bundle))
        self._key_set = key_set
        has_public = bool(self._public_key or self._key_set)
        default = (SECRET_ALGORITHMS if self._secret else ()) + (PUBLIC_KEY_ALGORITHMS if has_public else ())
        # Never verify a shared-secret algorithm with a public key, or the reverse (algorithm confusion).
        self.algorithms = tuple(
            name
            for name in settings.jwt.algorithms or default
            if (self._secret if name.startswith("HS") else has_public)
        )

    def renewed(self, settings: Settings) -> JwtVerifier:
        """Return a verifier with other secrets and the same key set."""
        return JwtVerifier(settings, self._key_set)

    def verify(self, token: str) -> PlatformUser:
        """Return the user that a token names. Raises NotAllowed, or Unreachable when its key can't be fetched."""
        if len(token) > MAX_LENGTH:
            raise NotAllowed("the token is too long")
        try:
            return self._platform_user(self._claims(token))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            message = next((text for kind, text in _MESSAGES if isinstance(error, kind)), "the token cannot be decoded")
            raise NotAllowed(message) from None

    def _claims(self, token: str) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        settings = self._settings
        algorithm = header.get("alg")
        if algorithm not in self.algorithms:
            raise NotAllowed(f"the token's algorithm is none of {', '.join(self.algorithms)}")
        required = ["exp", *(["iss"] if settings.issuer else []), *(["aud"] if settings.audience else [])]
        claims: Mapping[str, Any] = jwt.decode(
            token,
            self._key(algorithm, header.get("kid")),
            algorithms=[algorithm],
            issuer=settings.issuer or None,
            audience=settings.audience or None,
            leeway=settings.leeway,
            # The user claim is checked in _platform_user: some platforms put a number into `sub`.
            options={"require": required, "verify_aud": bool(settings.audience), "verify_sub": False},
        )
        return claims

    def _key(self, algorithm: str, kid: str | None) -> Any:
        if algorithm.startswith("HS"):
            return self._secret
        if self._key_set is not None and (kid is not None or self._public_key is None):
            return self._key_set.key(kid, algorithm)
        return self._public_key

    def _platform_user(self, claims: Mapping[str, Any]) -> PlatformUser:
        settings = self._settings
        subject = _claim(claims, settings.user_claim)
        if isinstance(subject, bool) or not isinstance(subject, str | int):
            raise NotAllowed(f"the token has no {settings.user_claim} claim that names a user")
        # Used even if JWT_ISSUER is unset: two platforms that share a key have different users.
        issuer = claims.get("iss", "")
        if not isinstance(issuer, str):
            raise NotAllowed("the token's iss claim should be text")
        identity = Identity(issuer and _storable("iss", issuer), _storable(settings.user_claim, str(subject)))
        email = _email(claims, settings.email_claim)
        # email_verified is about the claim `email`, not about another claim that the address may come from.
        verified = claims.get("email_verified") is True and _claim(claims, settings.email_claim) == claims.get("email")
        return PlatformUser(
            identity, email, settings.link_by_email and verified, _role(_claim(claims, settings.role_claim))
        )


def _claim(claims: object, name: str) -> Any:
    """Return the claim with this name or dotted path (`realm_access.roles`), None if there is none.

    A claim whose own name contains dots (`https://corp.example/roles`) takes precedence.
    """
    if not isinstance(claims, Mapping):
        return None
    if name in claims:
        return claims[name]
    dots = (at for at, letter in enumerate(name) if letter == "." and name[:at] in claims)
    return next((_claim(claims[name[:at]], name[at + 1 :]) for at in dots), None)


def _storable(name: str, value: str) -> str:
    """Return a claim's value. Raises NotAllowed if the database could not store it."""
    if not 0 < len(value) <= 255 or not value.isprintable():
        raise NotAllowed(f"the token's {name} claim should be 1 to 255 printable characters")
    return value


def _email(claims: Mapping[str, Any], name: str) -> str | None:
    """Return the email to register the user with: a valid address that the platform doesn't mark as unverified."""
    email = _claim(claims, name)
    if not isinstance(email, str) or claims.get("email_verified", True) not in (True, "true"):
        return None
    address = email_key(email)
    return address if is_email(address) else None


def _role(claim: Any) -> Role | None:
    """Return the highest role in a claim, which is text or a list. Unknown roles are ignored."""
    words = claim if isinstance(claim, list) else [claim]
    roles = [role for word in words if isinstance(word, str) and (role := Role.known(word))]
    return max(roles, key=lambda role: role.rank, default=None)


def _public_key(pem: str) -> Any:
    try:
        return load_public_key(pem)
    except ValueError as error:
        raise ConfigError([f"JWT_PUBLIC_KEY: is not a readable public key ({error})"]) from None
