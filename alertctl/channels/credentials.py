"""Secrets on their way in (usable or not) and kept from the way out."""

from __future__ import annotations

import re

from alertctl.channels.text import Redactor
from alertctl.errors import DeliveryError, Reason

_USABLE = re.compile(r"[\x21-\x7e]+")


def credential(secret: str, variable: str, *, missing: str) -> str | DeliveryError:
    """The secret without blanks around it, or the DeliveryError that every send with it gives.

    `variable` is the setting's name, `missing` the code for an empty one. What is wrong inside is never quoted.
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


def sealed(error: DeliveryError, redact: Redactor) -> DeliveryError:
    """The same error, fit for the log: redacted, and without a traceback that could show what was redacted."""
    return DeliveryError(
        error.reason,
        redact(error.code) or "unknown",
        detail=redact(error.detail),
        retry_after=error.retry_after,
        whole_provider=error.whole_provider,
    )
