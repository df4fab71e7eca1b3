"""Validators of single settings.

Pure functions: a wrong value raises a ValueError that describes a right one. A message never contains a secret: text
that looks like one is left out, and the validators of secrets don't repeat the value.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence

from alertctl.addresses import address_key, check_email, glob_key, invisible_problem, is_email, is_slack_channel

_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_LOOKS_SECRET = re.compile(r"xox[a-z]-|xapp-|\bSG\.|actl_|-----BEGIN|://.*@")
TOKEN = re.compile(r"(?:xox[a-z]-|xapp-|\bSG\.|actl_)[\w.-]{10,}")
"""A Slack token, a SendGrid key, or one of ours."""
_LONGEST_QUOTE = 60
_GROUP_ID = re.compile(r"S[A-Z0-9]{4,30}", re.ASCII)
_DOT_ATOM = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
"""The part before the @ that needs no quotes (RFC 5322, 3.2.3)."""
MAX_MENTIONS = 50
"""People and groups that one message mentions."""
_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off")


def quoted(value: object) -> str:
    """Return a value for an error message: one line, at most 60 characters, nothing that looks like a secret."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return value
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if looks_secret(shown):
        return "the value (not shown, it looks like a secret)"
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in shown)
    return shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 2] + '…"'


def looks_secret(value: str) -> bool:
    """Return whether a value seems to contain a token, a key or a URL with a password: the wrong variable was set."""
    return bool(_LOOKS_SECRET.search(value))


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is not text")
    if _has_controls(value.strip()):
        raise ValueError(f"{quoted(value)} contains a control character or a line break")
    return value.strip()


def _has_controls(line: str) -> bool:
    """Return whether a line has control characters, line separators or lone surrogates (broken UTF-8)."""
    return any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in line)


def yes_or_no(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value)
    if word in _YES or word in _NO:
        return word in _YES
    raise ValueError(f"{quoted(value)} is neither true nor false")


def one_of(*words: str) -> Callable[[object], str]:
    """Return a validator for one of these words, in any case."""

    def check(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in words:
            raise ValueError(f"{quoted(value)} is not one of {', '.join(words)}")
        return word

    return check


def number(low: float, high: float, what: str = "a number") -> Callable[[object], float]:
    """Return a validator for a number from `low` to `high`."""

    def check(value: object) -> float:
        result = as_float(value)
        if result is None or not low <= result <= high:
            raise ValueError(f"{quoted(value)} is not {what} ({low:g} to {high:g})")
        return result

    return check


def integer(low: int, high: int, what: str = "a whole number") -> Callable[[object], int]:
    """Return a validator for a whole number from `low` to `high`."""
    in_range = number(low, high, what)

    def check(value: object) -> int:
        result = in_range(value)
        if isinstance(value, float) or not result.is_integer() or (isinstance(value, str) and "." in value):
            raise ValueError(f"{quoted(value)} is not {what} ({low} to {high})")
        return int(result)

    return check


def as_float(value: object) -> float | None:
    """Return the number that a value is or spells, None for anything else."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Compared without conversion: TOML's integers are unbounded, floats are not.
    return float(value) if -1e15 < value < 1e15 else None


def plain_number(value: float) -> str:
    """Return a number as text without a useless `.0`."""
    return str(int(value)) if float(value).is_integer() else str(value)


def words(value: object, what: str) -> list[str]:
    """Return the non-empty parts, trimmed, of a comma-separated text or a list of texts."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{quoted(value)} is not {what}")
    return [part.strip() for part in parts if part.strip()]


def address(value: object) -> str:
    """Return exactly one email address. Internal domains (`.local`, `localhost`) are fine."""
    email = value.strip() if isinstance(value, str) else ""
    try:
        check_email(email)
    except ValueError as error:
        raise ValueError(f"{quoted(value)} {error}") from None
    return email


def sender(value: object) -> str:
    """Return an email address that every server accepts as a sender's."""
    email = address(value)
    if not _DOT_ATOM.fullmatch(email.partition("@")[0]):
        raise ValueError(
            f"{quoted(value)} cannot be a sender; use only ASCII letters, digits and single dots before the @"
        )
    return email


def addresses(value: object) -> tuple[str, ...]:
    """Return email addresses in their order, without duplicates. The error names every bad one."""
    unique: dict[str, str] = {}
    bad: list[str] = []
    problem = ""
    for part in words(value, "a list of email addresses (a@x.example, b@x.example)"):
        try:
            unique.setdefault(address_key("email", part), address(part))
        except ValueError as error:
            bad.append(quoted(part))
            problem = str(error)
    if bad:
        raise ValueError(problem if len(bad) == 1 else f"{', '.join(bad)} are not email addresses (name@domain)")
    return tuple(unique.values())


STYLES = ("full", "compact")


def mentions(value: object) -> tuple[str, ...]:
    """Return whom a message mentions: emails of people and ids of Slack user groups, in order, without duplicates."""
    parts = words(value, "a list of mentions (ana@corp.example, S0123ABC)")
    for part in parts:
        if not _GROUP_ID.fullmatch(part) and not is_email(part):
            raise ValueError(f"{quoted(part)} is neither an email address nor the id of a Slack user group (S0123ABC)")
    return tuple(dict.fromkeys(parts))


def too_many_mentions(names: Sequence[str]) -> str | None:
    """Return the problem if these are more people and groups than a message mentions, else None."""
    if len(names) <= MAX_MENTIONS:
        return None
    return (
        f"names {len(names)} people and groups, but a message mentions only the first {MAX_MENTIONS}; name a user group"
    )


def globs(channel: str) -> Callable[[object], tuple[str, ...]]:
    """Return a validator for globs of a channel's addresses (see `addresses.glob_key`), comma-separated or a list."""
    # A Slack glob may stand for people: @*@corp.example.
    form = re.compile(r"@?[^\s/:@]+" if channel == "email" else r"@?[^\s/:@]+|@[^\s/:@]+@[^\s/:@]+")

    def check(value: object) -> tuple[str, ...]:
        patterns = words(value, "a list of patterns")
        bad = [pattern for pattern in patterns if not form.fullmatch(pattern)]
        if bad or (not patterns and isinstance(value, str)):
            raise ValueError(
                f"{quoted(bad[0] if bad else value)} is not a pattern (corp.example, *.corp.example, team-*)"
            )
        return tuple(glob_key(channel, pattern) for pattern in patterns)

    return check


def slack_channel(value: object) -> str:
    """Return a Slack channel: `#name`, a name, or an ID."""
    channel = value.strip() if isinstance(value, str) else ""
    if not is_slack_channel(channel) or looks_secret(channel):
        problem = invisible_problem(channel) or "is not a Slack channel (#name, a name, or an ID)"
        raise ValueError(f"{quoted(value)} {problem}")
    return channel


def colour(value: object) -> str:
    """Return a colour as #rrggbb in lower case. Empty stays empty."""
    digits = value.strip().lower() if isinstance(value, str) else None
    if digits is None or (digits and not re.fullmatch(r"#[0-9a-f]{6}", digits)):
        raise ValueError(f"{quoted(value)} is not a colour (#rrggbb)")
    return digits


def credential(value: object) -> str:
    """Return a token or key for a header: trimmed, printable ASCII, no spaces. Errors don't repeat it."""
    secret = value.strip() if isinstance(value, str) else None
    if secret is None:
        raise ValueError("is not text (put it in quotes)")
    if not all("!" <= c <= "~" for c in secret):
        raise ValueError("contains a space, a line break or a non-ASCII character; use one line of printable ASCII")
    return secret


def password(value: object) -> str:
    """Return a password unchanged. Errors don't repeat it."""
    if not isinstance(value, str):
        raise ValueError("is not text (put it in quotes)")
    if _has_controls(value):
        raise ValueError("contains a control character or a line break")
    return value


def hmac_secret(value: object) -> str:
    """Return a signing secret unchanged: any text. Errors don't repeat it."""
    if not isinstance(value, str):
        raise ValueError("is not text (put it in quotes)")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("is not valid UTF-8")
    return value


def public_key(value: object) -> str:
    """Return a public key or certificate as PEM text; `\\n` stands for a line break. Empty stays empty."""
    pem = value.strip().replace("\\n", "\n") if isinstance(value, str) else "?"
    if "PRIVATE KEY" in pem:
        raise ValueError("is a private key; alertctl needs the public one")
    if pem and not re.match(r"-----BEGIN [A-Z ]*(PUBLIC KEY|CERTIFICATE)-----\n", pem.replace("\r\n", "\n")):
        raise ValueError("is not a public key in PEM form (-----BEGIN PUBLIC KEY-----)")
    return pem


_ALGORITHMS = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)


def algorithms(value: object) -> tuple[str, ...]:
    """Return the algorithms of JWT signatures in a comma-separated text or a list, without duplicates."""
    names = words(value, "a list of algorithms")
    for name in names:
        if name not in _ALGORITHMS:
            raise ValueError(f"{quoted(name)} is not one of {', '.join(_ALGORITHMS)}")
    return tuple(dict.fromkeys(names))
