"""Check, compare and encode addresses. No other module compares or normalises them.

Only ASCII letters are compared without case: a mail server may distinguish `weiß@` and `weiss@`, and Slack `#maße` and
`#masse`. A domain is compared as its A-label (IDNA 2008 with UTS 46), so
`faß.example` is `xn--fa-hia.example` and not `fass.example`.
"""

from __future__ import annotations

import re
import unicodedata
from fnmatch import fnmatchcase
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from urllib.parse import urlsplit

from alertctl.errors import InvalidEvent

LONGEST_EMAIL = 254
"""In octets. RFC 5321, 4.5.3.1.3: a path has at most 256, including two angle brackets."""
LONGEST_LOCAL_PART = 64
LONGEST_DOMAIN = 253
LONGEST_SLACK_CHANNEL = 80
LONGEST_SHOWN_HOST = 80
NOT_AN_EMAIL = "is not a single email address (name@domain)"

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_BECOMES_ASCII = re.compile("([\u037e\u1fef\u212a])")
"""The characters that NFC turns into ASCII (`;`, a backtick, K). They stay: look-alikes are not equal."""
_NOT_IN_LOCAL_PART = frozenset('<>()[],;:\\"@ \u037e')
_JOINERS = str.maketrans("", "", "\u200c\u200d")
"""Invisible, but needed to write some languages' domains; idna checks where they may be."""
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point, with those that change the writing direction, and the Braille blank."""
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII | re.IGNORECASE)


def check_address(channel: str, address: str, field: str) -> str:
    """Return the address unchanged if it is one of that channel's. Raises InvalidEvent."""
    try:
        if channel == "email":
            check_email(address)
        elif channel == "slack" and address.startswith("@"):
            check_email(email_of_person(address))
            if len(encode_email(address).encode()) > LONGEST_EMAIL:
                raise ValueError(f"is too long (at most {LONGEST_EMAIL} characters)")
        elif channel == "slack" and not is_slack_channel(address):
            limit = f"at most {LONGEST_SLACK_CHANNEL} characters"
            problem = f"is not a Slack channel (#name, a name, or an ID, {limit}) or a person (@EMAIL)"
            raise ValueError(invisible_problem(address) or problem)
    except ValueError as error:
        raise InvalidEvent(field, f"{address[:80]!r} {error}") from None
    return address


def email_of_person(address: str) -> str:
    """Return the email of a person who is addressed by it (`@ana@corp.example`), "" for any other address."""
    return address[1:] if address.startswith("@") else ""


def check_email(text: str) -> None:
    """Check that this is exactly one plain email address; internal domains (`.local`, `localhost`) are valid.

    Raises ValueError with the fault, worded to follow the address.
    """
    local, _, domain = text.rpartition("@")
    if problem := invisible_problem(f"{local}@{domain.translate(_JOINERS)}"):
        raise ValueError(problem)
    if not (0 < len(local) <= LONGEST_LOCAL_PART and len(text) <= LONGEST_EMAIL and _is_plain(text, local)):
        raise ValueError(NOT_AN_EMAIL)
    encoded = ascii_domain(domain)
    octets = len(_nfc(local).encode()) + 1 + len(encoded)
    if octets > LONGEST_EMAIL or len(encoded) > LONGEST_DOMAIN or not _DOMAIN.fullmatch(encoded):
        raise ValueError(NOT_AN_EMAIL)


def invisible_problem(text: str) -> str:
    """Return the error about an invisible character, worded to follow the address; empty without one."""
    match = None if text.isascii() else _INVISIBLE.search(text)
    return f"contains the invisible character U+{ord(match[0]):04X}: type the address again" if match else ""


def is_email(text: str) -> bool:
    """Return whether this is exactly one plain email address."""
    try:
        check_email(text)
    except ValueError:
        return False
    return True


def is_slack_channel(text: str) -> bool:
    """Return whether this may be a Slack channel: `#name`, a name, or an ID."""
    name = _nfc(text).removeprefix("#") if len(text) <= LONGEST_SLACK_CHANNEL else ""
    return (
        bool(name)
        and not invisible_problem(name)
        and all(c in "_.-" or c.isalnum() or unicodedata.category(c)[0] == "M" for c in name)
    )


def channel_forms(channel: str, address: str) -> list[tuple[str, str]]:
    """Return an address with its channel and, for a person, also as an email recipient: both must be allowed."""
    email = email_of_person(address)
    return [(channel, address), ("email", email)] if email else [(channel, address)]


def channel_of(address: str) -> str:
    """Return the channel that an address's form shows, else "".

    It is slack for `#ops` and `@ops@corp.example`, email for `ops@corp.example`.
    """
    if address.startswith(("#", "@")):
        return "slack"
    return "email" if is_email(address) else ""


def address_key(channel: str, address: str) -> str:
    """Return the stored form of an address, for comparison. Never raises, even for an invalid address."""
    if address.isascii():
        return address.lower()
    is_email_form = channel == "email" or email_of_person(address)
    encoded = encode_email(address) if is_email_form else _nfc(address)
    # Only an invalid address can be longer than the column.
    return _nfc(encoded.translate(_LOWER))[:LONGEST_EMAIL]


def email_key(address: str) -> str:
    """Return the stored form of a user's email address, for comparison."""
    return address_key("email", address)


def matches_glob(channel: str, address: str, pattern: str) -> bool:
    """Return whether an address fits a glob of `glob_key`: an email by its domain, a Slack channel by its name."""
    key = identity(channel, address)
    return fnmatchcase(key.rpartition("@")[2] if channel == "email" else key, pattern)


def glob_key(channel: str, pattern: str) -> str:
    """Return a glob for `matches_glob` in its stored form: `@Corp.Example` is `corp.example`, `#Ops-*` is `ops-*`.

    Raises ValueError for a domain that is not a valid international name.
    """
    if channel == "email":
        return ".".join(map(ascii_domain, pattern.removeprefix("@").split("."))).translate(_LOWER)
    local, at, domain = pattern.rpartition("@")
    return f"{identity(channel, local)}{at}{glob_key('email', domain)}" if local else identity(channel, pattern)


def masked(address: str) -> str:
    """Return an address of which only the first letter and the domain are shown: `d***@corp.example`, `#o***`."""
    if email := email_of_person(address):
        return f"@{masked(email)}"
    if "@" in address:
        local, _, domain = address.rpartition("@")
        return f"{local[:1]}***@{domain}"
    mark = "#" if address.startswith("#") else ""
    return f"{mark}{address[len(mark) :][:1]}***"


def search_key(address: str) -> str:
    """Return the key of an address of an unknown channel."""
    return address_key("email" if "@" in address else "slack", address)


def identity(channel: str, address: str) -> str:
    """Return a value that is equal for two addresses of the same recipient: for Slack `#name` is `name`."""
    key = address_key(channel, address)
    return key.removeprefix("#") if channel == "slack" else key


def encode_email(address: str) -> str:
    """Return an email address as mail servers accept it: the domain as an A-label, the local part in NFC.

    A domain without an A-label is unchanged (`check_email` rejects it).
    """
    if address.isascii():
        return address
    local, at, domain = address.rpartition("@")
    try:
        encoded = ascii_domain(domain) if at else _nfc(domain)
    except ValueError:
        encoded = _nfc(domain)
    return f"{_nfc(local)}{at}{encoded}"


def encode_slack_channel(address: str) -> str:
    """Return a Slack channel in NFC, as Slack stores names."""
    return address if address.isascii() else _nfc(address)


def ascii_domain(domain: str) -> str:
    """Return a domain as an A-label; an ASCII one is unchanged. Raises ValueError, worded to follow the address."""
    return domain if domain.isascii() else _a_label(domain)


def link_host(link: str) -> str:
    """Return the host and port of a link of `safe_link` to show: in ASCII, and the end of one that is too long."""
    parts = urlsplit(link)
    host = (parts.hostname or "").translate(_LOWER)
    try:
        host = ascii_domain(host)
    except ValueError:
        host = host.encode("ascii", "backslashreplace").decode()
    if ":" in host:
        host = f"[{host}]"
    shown = f"{host}:{parts.port}" if parts.port else host
    return shown if len(shown) <= LONGEST_SHOWN_HOST else f"…{shown[1 - LONGEST_SHOWN_HOST :]}"


@lru_cache(maxsize=1024)
def _a_label(domain: str) -> str:
    import idna  # only non-ASCII domains need its tables, which take 20 ms to load

    try:
        return idna.encode(domain, uts46=True, transitional=False).decode()
    except UnicodeError:
        raise ValueError("has a domain that is not a valid international name (IDNA 2008): correct it") from None


def _is_plain(text: str, local: str) -> bool:
    special = not _NOT_IN_LOCAL_PART.isdisjoint(local)
    return text.translate(_JOINERS).isprintable() and not special and ".." not in f".{local}."


def _nfc(text: str) -> str:
    if text.isascii():
        return text
    return "".join(
        part if _BECOMES_ASCII.fullmatch(part) else unicodedata.normalize("NFC", part)
        for part in _BECOMES_ASCII.split(text)
    )
