"""The platform's own tokens (JWT): signature, issuer, audience and expiry, and who they say is calling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from alertctl.addresses import email_key, is_email
from alertctl.api.jwks import KeySet, fetcher
from alertctl.config import Settings
from alertctl.errors import ConfigError, NotAllowed
from alertctl.users import Identity, Role

LONGEST = 16 * 1024
"""Characters of a token; servers and proxies refuse longer headers anyway."""
SHARED, PUBLIC = ("HS256",), ("RS256", "ES256")
"""The algorithms that are accepted unless JWT_ALGORITHMS says otherwise: with a secret, with public keys."""
_WRONG: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired: get a new one from the platform"),
    (jwt.ImmatureSignatureError, "the token is not valid yet: do the clocks differ?"),
    (jwt.InvalidIssuerError, "the token has another issuer than JWT_ISSUER"),
    (jwt.InvalidAudienceError, "the token is for another audience than JWT_AUDIENCE"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (
        jwt.MissingRequiredClaimError,
        "the token lacks a claim that it must have (exp, and iss and aud where they are set)",
    ),
)


@dataclass(frozen=True, slots=True)
class PlatformUser:
    """Whom a token names.

    `email` is a valid, normalized address or None. `may_link`: it may name an account of ours (JWT_LINK_BY_EMAIL).
    `role` is None when the token names none that we know.
    """

    identity: Identity
    email: str | None
    may_link: bool
    role: Role | None


class PlatformTokens:
    """Checks the platform's tokens as the JWT_* settings say: at least one key is set.

    Raises ConfigError for a public key that can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.jwt
        self._secret = settings.jwt.secret.get_secret_value()
        self._public = _public_key(settings.jwt.public_key) if settings.jwt.public_key else None
        place = settings.jwt.jwks
        self._set = KeySet(fetcher(place, settings.alertctl.ca_bundle)) if place else None
        has_public = bool(self._public or self._set)
        usual = (SHARED if self._secret else ()) + (PUBLIC if has_public else ())
        # A shared secret and a public key are never taken for one another (algorithm confusion).
        self.algorithms = tuple(
            name for name in settings.jwt.algorithms or usual if (self._secret if name.startswith("HS") else has_public)
        )

    def read(self, token: str) -> PlatformUser:
        """Whom a token names. Raises NotAllowed, or Unreachable when its key can't be had."""
        if len(token) > LONGEST:
            raise NotAllowed("the token is too long")
        try:
            return self._user(self._claims(token))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise NotAllowed(_wrong(error)) from None

    def _claims(self, token: str) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        wanted = self._settings
        algorithm = header.get("alg")
        if algorithm not in self.algorithms:
            raise NotAllowed(f"the token's algorithm is none of {', '.join(self.algorithms)}")
        claims: Mapping[str, Any] = jwt.decode(
            token,
            self._key(algorithm, header.get("kid")),
            algorithms=[algorithm],
            issuer=wanted.issuer or None,
            audience=wanted.audience or None,
            leeway=wanted.leeway,
            # The user's claim is checked below: some platforms put a number into `sub`.
            options={"require": _required(wanted), "verify_aud": bool(wanted.audience), "verify_sub": False},
        )
        return claims

    def _key(self, algorithm: str, kid: str | None) -> Any:
        if algorithm.startswith("HS"):
            return self._secret
        if self._set is not None and (kid is not None or self._public is None):
            return self._set.key(kid, algorithm)
        return self._public

    def _user(self, claims: Mapping[str, Any]) -> PlatformUser:
        wanted = self._settings
        subject = _claim(claims, wanted.user_claim)
        if isinstance(subject, bool) or not isinstance(subject, str | int):
            raise NotAllowed(f"the token has no {wanted.user_claim} claim that names a user")
        # Also where JWT_ISSUER is unset: it is signed, and two platforms with one key have different users.
        issuer = claims.get("iss", "")
        if not isinstance(issuer, str):
            raise NotAllowed("the token's iss claim should be text")
        identity = Identity(issuer and _short("iss", issuer), _short(wanted.user_claim, str(subject)))
        email = _email(claims, wanted.email_claim)
        # email_verified speaks of the claim `email`, not of another one that the address may be read from.
        verified = claims.get("email_verified") is True and _claim(claims, wanted.email_claim) == claims.get("email")
        return PlatformUser(
            identity, email, wanted.link_by_email and verified, _role(_claim(claims, wanted.role_claim))
        )


def _claim(claims: object, name: str) -> Any:
    """Return the claim of that name, or at that dotted path (`realm_access.roles`); None if there is none.

    A claim whose own name has dots in it comes first (`https://corp.example/roles`).
    """
    if not isinstance(claims, Mapping):
        return None
    if name in claims:
        return claims[name]
    dots = (at for at, letter in enumerate(name) if letter == "." and name[:at] in claims)
    return next((_claim(claims[name[:at]], name[at + 1 :]) for at in dots), None)


def _short(name: str, value: str) -> str:
    """Return a claim's value when it is one that the database can hold. Raises NotAllowed."""
    if not 0 < len(value) <= 255 or not value.isprintable():
        raise NotAllowed(f"the token's {name} claim should be 1 to 255 printable characters")
    return value


def _email(claims: Mapping[str, Any], name: str) -> str | None:
    """Return the address that a user may be registered with: a valid one that the platform doesn't call unverified."""
    email = _claim(claims, name)
    if not isinstance(email, str) or claims.get("email_verified", True) not in (True, "true"):
        return None
    address = email_key(email)
    return address if is_email(address) else None


def _required(settings: Any) -> list[str]:
    return ["exp", *(["iss"] if settings.issuer else []), *(["aud"] if settings.audience else [])]


def _role(claim: Any) -> Role | None:
    """Return the highest role in a claim, text or a list. A word that is no role of ours counts for nothing."""
    words = claim if isinstance(claim, list) else [claim]
    roles = [role for word in words if isinstance(word, str) and (role := Role.known(word))]
    return max(roles, key=lambda role: role.rank, default=None)


def _wrong(error: Exception) -> str:
    return next((text for kind, text in _WRONG if isinstance(error, kind)), "the token is not one that we can read")


def _public_key(pem: str) -> Any:
    try:
        if "CERTIFICATE" in pem:
            return x509.load_pem_x509_certificate(pem.encode()).public_key()
        return load_pem_public_key(pem.encode())
    except ValueError as error:
        raise ConfigError([f"JWT_PUBLIC_KEY: can't be read as a public key ({error})"]) from None
