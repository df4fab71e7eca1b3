"""Clean, truncate and redact text before it is sent or logged."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from alertctl.errors import DeliveryError, Reason

ELLIPSIS = "…"
MASK = "***"
ANSWER_LIMIT = 2000
"""Bytes of a provider's answer that are kept."""
LINK_LIMIT = 8000
"""Characters of a link: no browser and no provider accepts longer ones."""

_BIDI = "\u202a-\u202e\u2066-\u2069"
_CONTROLS = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff{_BIDI}]")
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BROKEN_ENTITY = re.compile(r"&[a-z0-9#]{0,6}$", re.IGNORECASE)
_URL_UNSAFE = re.compile(r"[\s\x00-\x20\x7f-\x9f\\<>\"`{}|^]")
_TOKEN = re.compile(r"xox[a-z]-[\w-]{6,}|xapp-[\w-]{6,}|SG\.[\w-]+\.[\w-]+")
_USABLE = re.compile(r"[\x21-\x7e]+")
_CREDENTIAL = re.compile(r"(?<=\bBearer )\S{4,}|(?<=\bBasic )\S{4,}", re.IGNORECASE)


def clean(text: str) -> str:
    """Return text without control characters and unpaired surrogates; every kind of line end becomes `\\n`.

    Characters that change the writing direction are removed, too: they make one text look like another.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))
    if _SURROGATES.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """Return clean text on a single line, for a mail header or a headline."""
    return " ".join(clean(text).split())


def counted(number: int, noun: str) -> str:
    """Return `1 delivery`, `2 deliveries`, `3 events`."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun}"


def width(text: str) -> int:
    """Return the length in UTF-16 code units, the strictest count that a provider uses."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """Return at most `limit` UTF-16 units, ending with `…` if truncated; never ends inside an `&entity;`."""
    if len(text) * 2 <= limit or width(text) <= limit:
        return text
    if limit <= 0:
        return ""
    kept = text[: limit - 1]
    while width(kept) > limit - 1:
        kept = kept[: len(kept) - max(1, (width(kept) - limit + 1) // 2)]
    return _BROKEN_ENTITY.sub("", kept).rstrip() + ELLIPSIS


def mask_tokens(text: str) -> str:
    """Mask everything that looks like a Slack token or a SendGrid key, even an unknown one."""
    return _TOKEN.sub(MASK, text) if _may_contain_token(text) else text


def _may_contain_token(text: str) -> bool:
    """Return whether a token may begin in the text. Takes a third of the pattern's time; most texts have no token."""
    return "xox" in text or "xapp-" in text or "SG." in text


def fit(text: str, limit: int, *, line: bool = False) -> str:
    """Return clean text without tokens, at most `limit` UTF-16 units long; with `line` on a single line.

    Text far beyond the limit is dropped first, to bound the time.
    """
    if len(text) <= limit and text.isascii() and text.isprintable() and not _may_contain_token(text):
        # A fast path for nearly all texts: a message has two dozen.
        return " ".join(text.split()) if line else text.strip()
    start = text[: 4 * limit + 400]
    fitting = cut(mask_tokens(one_line(start) if line else clean(start).strip()), limit)
    if len(start) == len(text) or fitting.endswith(ELLIPSIS):
        return fitting
    return cut(fitting, limit - 1) + ELLIPSIS


def safe_link(link: str | None) -> str | None:
    """Return the link if it is http(s) with a host, with unsafe characters encoded and tokens masked; else None."""
    if not link or len(link) > LINK_LIMIT:
        return None
    link = _URL_UNSAFE.sub(lambda match: quote(match[0], errors="replace"), clean(link).strip())
    try:
        parts = urlsplit(link)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return mask_tokens(link) if usable and "%" not in (parts.hostname or "") else None


class Redactor:
    """Masks known secrets, in every encoding in which they are sent, and everything that looks like a secret."""

    def __init__(self, secrets: Iterable[str], *, username: str = "") -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret, username)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """Return clean text with its secrets masked, truncated to 2 kB, for the delivery log."""
        masked = self.mask(text).strip()
        encoded = masked.encode()
        if len(encoded) <= ANSWER_LIMIT:
            return masked
        return encoded[: ANSWER_LIMIT - len(ELLIPSIS.encode())].decode(errors="ignore") + ELLIPSIS

    def mask(self, text: str) -> str:
        """Return clean text of any length with its secrets masked."""
        text = clean(text)
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return _CREDENTIAL.sub(MASK, mask_tokens(text))


def _forms(secret: str, username: str) -> list[str]:
    """Return a secret as itself, in JSON, in a URL, and in base64 as AUTH PLAIN, AUTH LOGIN and Basic send it."""
    combined = [secret, f"\0{username}\0{secret}", f"{username}\0{username}\0{secret}", f"{username}:{secret}"]
    encoded = [base64.b64encode(text.encode()).decode() for text in combined]
    plain = {secret, clean(secret), json.dumps(secret)[1:-1], quote(secret, safe="")}
    return [form for form in [*plain, *encoded, *(text.rstrip("=") for text in encoded)] if form]


def credential(secret: str, variable: str, *, missing: str) -> str | DeliveryError:
    """Return the secret without surrounding blanks, or the DeliveryError of every send with an unusable one.

    `variable` is the setting's name, `missing` the code for an empty secret. The error never contains the secret.
    """
    stripped = secret.strip()
    if not stripped:
        return DeliveryError(Reason.CONFIG, missing, detail=f"{variable} is not set")
    if not _USABLE.fullmatch(stripped):
        return DeliveryError(
            Reason.CONFIG,
            "malformed_credential",
            detail=f"{variable} has a blank, a line end or a non-ASCII letter in it",
        )
    return stripped


def redacted(error: DeliveryError, redact: Redactor) -> DeliveryError:
    """Return a redacted copy of the error, without its traceback, which could contain the secret."""
    return DeliveryError(
        error.reason,
        redact(error.code) or "unknown",
        detail=redact(error.detail),
        retry_after=error.retry_after,
        entire_provider=error.entire_provider,
        feature_only=error.feature_only,
    )
