"""What to do about a failure, in one sentence, by its code."""

from __future__ import annotations

from alertctl.catalogue import BY_NETWORK, REPAIRS
from alertctl.channels.slack_errors import TABLE
from alertctl.doctor.found import Outcome, outcome_of
from alertctl.errors import DeliveryError, Reason

BY_CODE = REPAIRS

_BY_HTTP = "Check that {setting} is right and that this machine may reach it (firewall, HTTPS_PROXY)."
_BY_SMTP = "Check that SMTP_HOST and SMTP_PORT are right and that this machine may reach them (firewall)."
_POSTMASTER = "Ask whoever runs the mail server why it refuses this machine."
_LOOK_UP = "See what {code} means at docs.slack.dev/reference/methods/{method}, and repair that in the app."
_LATER = "Look again in a few minutes: the provider is busy or has an outage."


def fix_for(error: DeliveryError, setting: str) -> str:
    """One sentence. `setting` is the variable that says where the provider is."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    if error.code in BY_NETWORK:
        return BY_NETWORK[error.code].format(setting=setting)
    if outcome_of(error) is Outcome.UNKNOWN:
        return _LATER
    if error.code.isdigit():
        return _POSTMASTER
    if is_slacks_word(error):
        method = "chat.postMessage" if error.code in TABLE else "auth.test"
        return _LOOK_UP.format(code=error.code, method=method)
    return (_BY_SMTP if setting == "SMTP_HOST" else _BY_HTTP).format(setting=setting)


def is_slacks_word(error: DeliveryError) -> bool:
    """Whether Slack itself said this code, also one that isn't in the table (see `slack_errors.slack_reason`)."""
    return error.code in TABLE or (error.reason is Reason.REJECTED and not error.code.startswith("http_"))


def fix_for_pause(code: str) -> str:
    """Return what to do about a provider that refused our credentials or settings."""
    repair = BY_CODE.get(
        code, "Run alertctl doctor where the daemon runs, with its settings, and repair what it names."
    )
    return f"{repair} Then restart the daemon: what waits is sent."
