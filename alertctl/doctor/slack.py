"""Slack: the token, what it may do, and whether the default channel can be posted to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from alertctl.addresses import identity as channel_identity
from alertctl.channels.base import Receipt
from alertctl.channels.slack.channel import parse_slack_reply
from alertctl.deadline import Deadline
from alertctl.doctor.result import CheckResult, failure, fix_for, is_slack_code, ok, outcome_of, unknown, warning
from alertctl.doctor.runner import CheckRun, enabled_result, request, settings_result
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import Response
from alertctl.text import credential

WRITE, WRITE_PUBLIC = "chat:write", "chat:write.public"
READ_PUBLIC, READ_PRIVATE = "channels:read", "groups:read"
PAGE = 1000
"""Channels in one reply of conversations.list at most (its documented limit)."""
PAGES = 10
"""Pages in one run at most: a tier 2 method allows about 20 calls a minute."""

_BOT_TOKEN = re.compile(r"(xoxe\.)?xoxb-.+")
_ID = re.compile(r"[CG][A-Z0-9]{8,}")
_AFTER_AUTH = "not checked: auth.test did not succeed"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The answer to auth.test. `scopes` is None when Slack didn't list them."""

    team: str
    bot: str
    url: str
    scopes: frozenset[str] | None


def check_enabled(check_run: CheckRun) -> CheckResult:
    settings = check_run.settings
    return enabled_result(settings.slack.enabled, settings.email.enabled, "Slack", "SLACK_ENABLED")


def check_settings(check_run: CheckRun) -> CheckResult:
    return settings_result(check_run.settings, ("SLACK_",), ("SLACK_ENABLED", "SLACK_BOT_TOKEN"))


def check_token(check_run: CheckRun) -> CheckResult:
    """Check that the token is set and looks like a bot token. It is never shown."""
    token = _token(check_run)
    if isinstance(token, DeliveryError):
        return failure(token.detail, ERROR_CODES[token.code].fix)
    if _BOT_TOKEN.fullmatch(token):
        return ok("is set and looks like a bot token (xoxb-…)")
    if token.startswith("xapp-"):
        return failure("is an app-level token (xapp-…), which cannot post", ERROR_CODES["invalid_auth"].fix)
    return warning("does not begin with xoxb-, so it is not a bot token", ERROR_CODES["invalid_auth"].fix)


def check_identity(check_run: CheckRun) -> CheckResult:
    """Check by auth.test whether the token is valid and whose it is."""
    if isinstance(_token(check_run), DeliveryError):
        return unknown("not checked: the token is not usable")
    known = check_run.cached(workspace)
    if isinstance(known, DeliveryError):
        return _failed_call(known)
    return ok(f"team {known.team}, bot {known.bot}, {known.url}")


def check_write_scope(check_run: CheckRun) -> CheckResult:
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult):
        return scopes
    return (
        ok("granted")
        if WRITE in scopes
        else failure(f"missing_scope: the token lacks {WRITE}", ERROR_CODES["missing_scope"].fix)
    )


def check_public_write_scope(check_run: CheckRun) -> CheckResult:
    """Check chat:write.public, which isn't needed where the bot is a member."""
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult):
        return scopes
    if WRITE_PUBLIC in scopes:
        return ok("granted")
    channel = check_run.cached(conversation)
    if isinstance(channel, Mapping) and channel.get("is_member"):
        return ok("not granted and not needed; the bot is in the default channel")
    return warning(
        "not granted; the bot can only post in channels that it is a member of",
        f"Write /invite @BOT in each channel, or add the scope {WRITE_PUBLIC} and install the app again.",
    )


def check_default_channel(check_run: CheckRun) -> CheckResult:
    """Check whether the bot can post to it, as far as the scopes show that without posting."""
    name = check_run.settings.slack.default_channel
    channel = check_run.cached(conversation)
    if isinstance(channel, CheckResult):
        return channel
    if channel.get("is_archived"):
        return failure(f"{name}: is_archived", "Unarchive it, or set SLACK_DEFAULT_CHANNEL to another channel.")
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult) or WRITE not in scopes:
        return unknown(f"{name} exists; not checked further: {WRITE} is not granted")
    if channel.get("is_member"):
        return ok(f"{name}: the bot is a member")
    if WRITE_PUBLIC in scopes and not channel.get("is_private"):
        return ok(f"{name}: public, {WRITE_PUBLIC} is enough")
    return failure(f"{name}: not_in_channel", f"Write /invite @BOT in {name}.")


# --- facts, cached in the run ---


def workspace(check_run: CheckRun) -> Workspace | DeliveryError:
    deadline = check_run.deadline()
    token = _token(check_run)
    if isinstance(token, DeliveryError):
        return token
    answer = _call(check_run, "auth.test", {}, deadline)
    if isinstance(answer, DeliveryError):
        return answer
    body, reply = answer
    listed = reply.headers.get("x-oauth-scopes")
    scopes = None if listed is None else frozenset(scope.strip() for scope in listed.split(","))
    team, bot, url = (str(body.get(name, "?")) for name in ("team", "user", "url"))
    return Workspace(team, bot, url, scopes)


def conversation(check_run: CheckRun) -> Mapping[str, Any] | CheckResult:
    """Return Slack's description of the default channel, or the result when there is none or we can't ask."""
    deadline = check_run.deadline()
    channel = check_run.settings.slack.default_channel
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult):
        return scopes
    if READ_PUBLIC not in scopes:
        return unknown(
            f"{channel}: cannot be looked up without the scope {READ_PUBLIC}",
            "alertctl test slack checks it with a real message.",
        )
    if _ID.fullmatch(channel):
        answer = _call(check_run, "conversations.info", {"channel": channel}, deadline)
        match = answer if isinstance(answer, DeliveryError) else answer[0].get("channel")
    else:
        match = _search(check_run, channel_identity("slack", channel), scopes, deadline)
    return match if isinstance(match, Mapping) else _missing_channel(channel, match, scopes)


def _search(
    check_run: CheckRun, name: str, scopes: frozenset[str], deadline: Deadline
) -> Mapping[str, Any] | DeliveryError:
    """Return a channel by its name. Slack has no search: list all channels, page by page."""
    types = "public_channel,private_channel" if READ_PRIVATE in scopes else "public_channel"
    cursor = ""
    for _ in range(PAGES):
        arguments = {"limit": str(PAGE), "types": types, **({"cursor": cursor} if cursor else {})}
        answer = _call(check_run, "conversations.list", arguments, deadline)
        if isinstance(answer, DeliveryError):
            return answer
        listed, more = answer[0].get("channels"), answer[0].get("response_metadata")
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, Mapping) and channel_identity("slack", str(item.get("name", ""))) == name:
                return item
        cursor = str(more.get("next_cursor") or "") if isinstance(more, Mapping) else ""
        if not cursor:
            return DeliveryError(Reason.BAD_ADDRESS, "channel_not_found")
    return DeliveryError(Reason.UNAVAILABLE, "too_many_channels")


def _missing_channel(channel: str, error: object, scopes: frozenset[str]) -> CheckResult:
    code = error.code if isinstance(error, DeliveryError) else "bad_reply"
    if code != "channel_not_found":
        return unknown(f"{channel}: lookup failed ({code})", "alertctl test slack checks it with a real message.")
    if READ_PRIVATE in scopes:
        return failure(
            f"{channel}: channel_not_found",
            "Create it or correct SLACK_DEFAULT_CHANNEL; invite the bot if it is private.",
        )
    return unknown(
        f"{channel}: no public channel has this name; private channels are hidden without the scope {READ_PRIVATE}",
        "Correct SLACK_DEFAULT_CHANNEL, or invite the bot if the channel is private, then: alertctl test slack",
    )


def _scopes(check_run: CheckRun) -> frozenset[str] | CheckResult:
    known = check_run.cached(workspace)
    if isinstance(known, DeliveryError):
        return unknown(_AFTER_AUTH)
    if known.scopes is None:
        return unknown("Slack did not list the token's scopes", "alertctl test slack checks it with a real message.")
    return known.scopes


def _token(check_run: CheckRun) -> str | DeliveryError:
    secret = check_run.settings.slack.bot_token.get_secret_value()
    return credential(secret, "SLACK_BOT_TOKEN", missing="not_authed")


# --- calls ---


def _call(
    check_run: CheckRun, method: str, arguments: Mapping[str, str], deadline: Deadline
) -> tuple[Mapping[str, Any], Response] | DeliveryError:
    """Call a read-only method; return its body and reply if `ok` is true, else the error."""
    url = f"{check_run.settings.slack.api_url}{method}"
    headers = {
        "Authorization": f"Bearer {_token(check_run)}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    try:
        reply = request(check_run, "POST", url, headers, urlencode(arguments).encode(), deadline)
    except DeliveryError as error:
        return error
    body = _success_body(reply)
    if body is not None:
        return body, reply
    result = parse_slack_reply(reply)
    return DeliveryError(Reason.AMBIGUOUS, "bad_reply") if isinstance(result, Receipt) else result


def _success_body(reply: Response) -> Mapping[str, Any] | None:
    """Return the body of a successful reply, as strict as the channel."""
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    is_complete = reply.status == 200 and not reply.truncated
    return body if is_complete and isinstance(body, dict) and body.get("ok") is True else None


def _failed_call(error: DeliveryError) -> CheckResult:
    what = (
        f"Slack answered {error.code}"
        if is_slack_code(error)
        else f"no valid answer from Slack: {error.code} ({error.detail})"
    )
    return CheckResult(outcome_of(error), what, fix_for(error, "slack"))
