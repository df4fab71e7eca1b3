"""What one setting's value may look like.

Pure functions: a wrong value is a ValueError that says what would be right. A message never repeats
what may be a secret: what looks like one is left out, and the checks of secrets echo nothing.
"""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from urllib.parse import SplitResult, urlsplit

from alertctl.addresses import address_key, ascii_domain, check_email, is_slack_channel

_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_LOOKS_SECRET = re.compile(r"xox[a-z]-|xapp-|\bSG\.|actl_|-----BEGIN|://.*@")
TOKEN = re.compile(r"(?:xox[a-z]-|xapp-|\bSG\.|actl_)[\w.-]{10,}")
"""A Slack token, a SendGrid key, or one of ours."""
_LONGEST_QUOTE = 60
_DOT_ATOM = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
"""What may stand before the @ without quotes (RFC 5322, 3.2.3)."""
_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off")


def quoted(value: object) -> str:
    """A value as an error may show it: one line, at most 60 characters, nothing that looks like a secret."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return value
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if looks_secret(shown):
        return "the value (not shown, it looks like a secret)"
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in shown)
    return shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 2] + '…"'


def looks_secret(written: str) -> bool:
    """True when a token, a key or an address with a password seems to be in it: it got into the wrong variable."""
    return bool(_LOOKS_SECRET.search(written))


def text(value: object) -> str:
    """One line of text, trimmed."""
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is not text")
    if _controls(value.strip()):
        raise ValueError(f"{quoted(value)} has a control character or a line break in it")
    return value.strip()


def _controls(line: str) -> bool:
    """True when a line holds control characters, line separators or lone surrogates (broken UTF-8)."""
    return any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in line)


def yes_or_no(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value)
    if word in _YES or word in _NO:
        return word in _YES
    raise ValueError(f"{quoted(value)} is not yes or no (true, false)")


def one_of(*words: str) -> Callable[[object], str]:
    """A check that takes one of these words, in any case."""

    def check(value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in words:
            raise ValueError(f"{quoted(value)} is not one of {', '.join(words)}")
        return word

    return check


def number(low: float, high: float, what: str = "a number") -> Callable[[object], float]:
    """A check that takes a number from `low` to `high`."""

    def check(value: object) -> float:
        found = as_float(value)
        if found is None or not low <= found <= high:
            raise ValueError(f"{quoted(value)} is not {what} ({low:g} to {high:g})")
        return found

    return check


def whole(low: int, high: int, what: str = "a whole number") -> Callable[[object], int]:
    """A check that takes a whole number from `low` to `high`."""
    in_range = number(low, high, what)

    def check(value: object) -> int:
        found = in_range(value)
        if isinstance(value, float) or not found.is_integer() or (isinstance(value, str) and "." in value):
            raise ValueError(f"{quoted(value)} is not {what} ({low} to {high})")
        return int(found)

    return check


def as_float(value: object) -> float | None:
    """Return the number that a value is or spells, None for anything else."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Compared as it is, not converted: TOML's integers have no bound, a float has.
    return float(value) if -1e15 < value < 1e15 else None


def plain_number(value: float) -> str:
    """A number without a useless `.0`."""
    return str(int(value)) if float(value).is_integer() else str(value)


def words(value: object, what: str) -> list[str]:
    """The parts of a comma-separated text or of a list of texts, trimmed, without empty ones."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{quoted(value)} is not {what}")
    return [part.strip() for part in parts if part.strip()]


def address(value: object) -> str:
    """Exactly one email address. Internal domains (`.local`, `localhost`) are fine."""
    found = value.strip() if isinstance(value, str) else ""
    try:
        check_email(found)
    except ValueError as error:
        raise ValueError(f"{quoted(value)} {error}") from None
    return found


def sender(value: object) -> str:
    """An email address that every server takes as a sender's."""
    found = address(value)
    if not _DOT_ATOM.fullmatch(found.partition("@")[0]):
        raise ValueError(
            f"{quoted(value)} can't be a sender: only ASCII letters, digits and single dots go before the @"
        )
    return found


def addresses(value: object) -> tuple[str, ...]:
    """Several email addresses, each once, in their order. The bad ones are named."""
    found: dict[str, str] = {}
    bad: list[str] = []
    for part in words(value, "a list of email addresses (a@x.example, b@x.example)"):
        try:
            found.setdefault(address_key("email", part), address(part))
        except ValueError:
            bad.append(quoted(part))
    if bad:
        is_not = "is not one email address" if len(bad) == 1 else "are not email addresses"
        raise ValueError(f"{', '.join(bad)} {is_not} (name@domain)")
    return tuple(found.values())


def slack_channel(value: object) -> str:
    """A Slack channel: `#name`, a name, or an ID."""
    found = value.strip() if isinstance(value, str) else ""
    if not is_slack_channel(found) or looks_secret(found):
        raise ValueError(f"{quoted(value)} is not a Slack channel (#name, a name, or an ID)")
    return found


def host(value: object) -> str:
    """A host's name (as DNS knows it) or IP address, without scheme and port. Empty stays empty."""
    found = value.strip() if isinstance(value, str) else None
    if found is None or not (found == "" or _is_host(found.strip("[]"))):
        raise ValueError(f"{quoted(value)} is not a host (a name or an IP address, without scheme and port)")
    try:
        return ascii_domain(found.strip("[]"))
    except ValueError as error:
        raise ValueError(f"{quoted(value)} {error}") from None


def _is_host(name: str) -> bool:
    if ":" in name:
        return _ip(name) is not None
    return bool(re.fullmatch(r"[\w.-]{1,253}", name))


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """True for a host that never leaves this machine. Nothing is looked up."""
    ip = _ip(name.strip("[]"))
    return ip.is_loopback if ip else name.lower().rstrip(".").split(".")[-1] == "localhost"


def url(value: object) -> str:
    """An http(s) address without user, query, fragment and slashes at its end. Empty stays empty."""
    found = value.strip() if isinstance(value, str) else None
    if found is None or not (found == "" or _is_web(found)):
        raise ValueError(f"{quoted(value)} is not an http:// or https:// address (without password and query)")
    return found.rstrip("/")


ROUTES = "/api/v1/notifications"
"""Where a server's routes lie, below its address (`api.services.BASE`, which takes a third of a second to import)."""


def server_root(address: str) -> str:
    """A server's address without slashes at its end and the routes' common part, which people paste along with it."""
    return address.strip().rstrip("/").removesuffix(ROUTES)


def _is_web(link: str) -> bool:
    if not link.isprintable() or re.search(r"[\s\\<>\"]", link):
        return False
    parts = split_url(link)
    if parts is None or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    return parts.scheme in {"http", "https"} and _is_host(parts.hostname or " ")


def split_url(link: str) -> SplitResult | None:
    """A URL in its parts, None when its port or its brackets are wrong."""
    try:
        parts = urlsplit(link)
        return parts if parts.port is None or parts.port else None
    except ValueError:
        return None


def credential(value: object) -> str:
    """A token or key that travels in a header: trimmed, printable ASCII, no spaces. Errors don't echo it."""
    found = value.strip() if isinstance(value, str) else None
    if found is None:
        raise ValueError("is not text (put it in quotes)")
    if not all("!" <= c <= "~" for c in found):
        raise ValueError("has a space, a line break or another odd character inside (one line of printable ASCII)")
    return found


def password(value: object) -> str:
    """A password, as it is. Errors don't echo it."""
    if not isinstance(value, str):
        raise ValueError("is not text (put it in quotes)")
    if _controls(value):
        raise ValueError("has a control character or a line break in it")
    return value


def hmac_secret(value: object) -> str:
    """A signing secret, as it is: any text. Errors don't echo it."""
    if not isinstance(value, str):
        raise ValueError("is not text (put it in quotes)")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("is not valid UTF-8")
    return value


def public_key(value: object) -> str:
    """A public key or certificate as PEM text; `\\n` may stand for a line break. Empty stays empty."""
    pem = value.strip().replace("\\n", "\n") if isinstance(value, str) else "?"
    if "PRIVATE KEY" in pem:
        raise ValueError("is a private key; alertctl needs the public one")
    if pem and not re.match(r"-----BEGIN [A-Z ]*(PUBLIC KEY|CERTIFICATE)-----\n", pem.replace("\r\n", "\n")):
        raise ValueError("is not a public key in PEM form (-----BEGIN PUBLIC KEY-----)")
    return pem


def among(known: Iterable[str], what: str) -> Callable[[object], tuple[str, ...]]:
    """A check that takes a comma-separated text or a list, each part one of `known`."""
    choices = tuple(known)

    def check(value: object) -> tuple[str, ...]:
        found = words(value, f"a list of {what}")
        for word in found:
            if word not in choices:
                raise ValueError(f"{quoted(word)} is not one of {', '.join(choices)}")
        return tuple(dict.fromkeys(found))

    return check
