"""The texts of the sandbox's SMTP replies, each with its enhanced code (RFC 3463)."""

from __future__ import annotations

DEFAULT_TEXTS = {
    220: "2.0.0 Ready",
    421: "4.3.2 Service not available, closing",
    450: "4.2.0 Mailbox unavailable",
    451: "4.3.0 Local error, try again later",
    452: "4.2.2 Mailbox full",
    454: "4.7.0 Temporary failure",
    535: "5.7.8 Authentication credentials invalid",
    550: "5.1.1 No such user here",
    552: "5.2.2 Storage exceeded",
    554: "5.0.0 Transaction failed",
}
FIXED_REPLIES = {"NOOP": (250, "2.0.0 OK"), "VRFY": (252, "2.5.0 Cannot verify, but will take a message")}
