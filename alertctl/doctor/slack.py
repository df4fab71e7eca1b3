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
from alertctl.doctor.carrier import ask
from alertctl.doctor.result import CheckResult, failure, fix_for, is_slacks_word, ok, outcome_of, unknown, warning
from alertctl.doctor.runner import CheckRun
from alertctl.doctor.settings import switched_on
from alertctl.doctor.settings import well_set as settings_well_set
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import Response
from alertctl.text import credential

WRITE, WRITE_PUBLIC = "chat:write", "chat:write.public"
READ_PUBLIC, READ_PRIVATE = "channels:read", "groups:read"
PAGE = 1000
"""Channels that one call of conversations.list gives at most (its documented limit)."""
PAGES = 10
"""Calls of it in one run: it is a tier 2 method, about 20 calls a minute."""

_BOT_TOKEN = re.compile(r"(xoxe\.)?xoxb-.+")
_ID = re.compile(r"[CG][A-Z0-9]{8,}")
_AFTER_AUTH = "auth.test has to succeed first"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Who Slack says we are. `scopes` None: it didn't say what the token may do."""

    team: str
    bot: str
    url: str
    scopes: frozenset[str] | None


def enabled(check_run: CheckRun) -> CheckResult:
    settings = check_run.settings
    return switched_on(settings.slack.enabled, settings.email.enabled, "Slack", "SLACK_ENABLED")


def well_set(check_run: CheckRun) -> CheckResult:
    return settings_well_set(check_run.settings, ("SLACK_",), ("SLACK_ENABLED", "SLACK_BOT_TOKEN"))


def token(check_run: CheckRun) -> CheckResult:
    """Set, and shaped like a bot's token. Its text is never shown."""
    found = _token(check_run)
    if isinstance(found, DeliveryError):
        return failure(found.detail, ERROR_CODES[found.code].fix)
    if _BOT_TOKEN.fullmatch(found):
        return ok("is set and looks like a bot token (xoxb-…)")
    if found.startswith("xapp-"):
        return failure("is an app-level token (xapp-…), which can't post", ERROR_CODES["invalid_auth"].fix)
    return warning("doesn't begin with xoxb-: it is no bot token", ERROR_CODES["invalid_auth"].fix)


def identity(check_run: CheckRun) -> CheckResult:
    """auth.test: is the token good, and whose is it?"""
    if isinstance(_token(check_run), DeliveryError):
        return unknown("the token has to be usable first")
    who = check_run.once(workspace)
    if isinstance(who, DeliveryError):
        return _trouble(who)
    return ok(f"team {who.team}, bot {who.bot}, {who.url}")


def may_write(check_run: CheckRun) -> CheckResult:
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult):
        return scopes
    return (
        ok("granted")
        if WRITE in scopes
        else failure(f"missing_scope: the token lacks {WRITE}", ERROR_CODES["missing_scope"].fix)
    )


def may_write_uninvited(check_run: CheckRun) -> CheckResult:
    """chat:write.public: nice to have, unless the bot is a member where it posts."""
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult):
        return scopes
    if WRITE_PUBLIC in scopes:
        return ok("granted")
    found = check_run.once(conversation)
    if isinstance(found, Mapping) and found.get("is_member"):
        return ok("not granted, and not needed: the bot is in the default channel")
    return warning(
        "not granted: the bot can only post where it was invited",
        f"Write /invite @BOT in each channel, or add the scope {WRITE_PUBLIC} and install the app again.",
    )


def default_channel(check_run: CheckRun) -> CheckResult:
    """Whether it can be posted to, as far as the scopes let one know without posting."""
    channel = check_run.settings.slack.default_channel
    found = check_run.once(conversation)
    if isinstance(found, CheckResult):
        return found
    if found.get("is_archived"):
        return failure(f"{channel}: is_archived", "Unarchive it, or name another one in SLACK_DEFAULT_CHANNEL.")
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult) or WRITE not in scopes:
        return unknown(f"{channel} exists; {WRITE} has to be granted first")
    if found.get("is_member"):
        return ok(f"{channel}: the bot is a member")
    if WRITE_PUBLIC in scopes and not found.get("is_private"):
        return ok(f"{channel}: public, {WRITE_PUBLIC} is enough")
    return failure(f"{channel}: not_in_channel", f"Write /invite @BOT in {channel}.")


# --- facts, each found out once ---


def workspace(check_run: CheckRun) -> Workspace | DeliveryError:
    deadline = check_run.deadline()
    found = _token(check_run)
    if isinstance(found, DeliveryError):
        return found
    answer = _call(check_run, "auth.test", {}, deadline)
    if isinstance(answer, DeliveryError):
        return answer
    said, reply = answer
    listed = reply.headers.get("x-oauth-scopes")
    scopes = None if listed is None else frozenset(scope.strip() for scope in listed.split(","))
    team, bot, url = (str(said.get(name, "?")) for name in ("team", "user", "url"))
    return Workspace(team, bot, url, scopes)


def conversation(check_run: CheckRun) -> Mapping[str, Any] | CheckResult:
    """What Slack tells of the default channel, or why we can't ask, or that there is none."""
    deadline = check_run.deadline()
    channel = check_run.settings.slack.default_channel
    scopes = _scopes(check_run)
    if isinstance(scopes, CheckResult):
        return scopes
    if READ_PUBLIC not in scopes:
        return unknown(
            f"{channel}: can't be looked up without the scope {READ_PUBLIC}",
            "alertctl test slack tries it with a real message.",
        )
    if _ID.fullmatch(channel):
        answer = _call(check_run, "conversations.info", {"channel": channel}, deadline)
        found = answer if isinstance(answer, DeliveryError) else answer[0].get("channel")
    else:
        found = _search(check_run, channel_identity("slack", channel), scopes, deadline)
    return found if isinstance(found, Mapping) else _not_found(channel, found, scopes)


def _search(
    check_run: CheckRun, name: str, scopes: frozenset[str], deadline: Deadline
) -> Mapping[str, Any] | DeliveryError:
    """A channel by its name: Slack can only list them all, a page at a time."""
    types = "public_channel,private_channel" if READ_PRIVATE in scopes else "public_channel"
    cursor = ""
    for _ in range(PAGES):
        asked = {"limit": str(PAGE), "types": types, **({"cursor": cursor} if cursor else {})}
        answer = _call(check_run, "conversations.list", asked, deadline)
        if isinstance(answer, DeliveryError):
            return answer
        listed, more = answer[0].get("channels"), answer[0].get("response_metadata")
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, Mapping) and channel_identity("slack", str(each.get("name", ""))) == name:
                return each
        cursor = str(more.get("next_cursor") or "") if isinstance(more, Mapping) else ""
        if not cursor:
            return DeliveryError(Reason.BAD_ADDRESS, "channel_not_found")
    return DeliveryError(Reason.UNAVAILABLE, "too_many_channels")


def _not_found(channel: str, error: object, scopes: frozenset[str]) -> CheckResult:
    code = error.code if isinstance(error, DeliveryError) else "bad_reply"
    if code != "channel_not_found":
        return unknown(
            f"{channel}: couldn't be looked up ({code})", "alertctl test slack tries it with a real message."
        )
    if READ_PRIVATE in scopes:
        return failure(
            f"{channel}: channel_not_found",
            "Create it or correct SLACK_DEFAULT_CHANNEL; invite the bot if it is private.",
        )
    return unknown(
        f"{channel}: no public channel has this name; a private one can't be seen without the scope {READ_PRIVATE}",
        "Correct SLACK_DEFAULT_CHANNEL, or invite the bot if the channel is private, then: alertctl test slack",
    )


def _scopes(check_run: CheckRun) -> frozenset[str] | CheckResult:
    who = check_run.once(workspace)
    if isinstance(who, DeliveryError):
        return unknown(_AFTER_AUTH)
    if who.scopes is None:
        return unknown("Slack didn't say what the token may do", "alertctl test slack tries it with a real message.")
    return who.scopes


def _token(check_run: CheckRun) -> str | DeliveryError:
    secret = check_run.settings.slack.bot_token.get_secret_value()
    return credential(secret, "SLACK_BOT_TOKEN", missing="not_authed")


# --- asking ---


def _call(
    check_run: CheckRun, method: str, arguments: Mapping[str, str], deadline: Deadline
) -> tuple[Mapping[str, Any], Response] | DeliveryError:
    """One call of a method that changes nothing: what it answered if `ok` is true."""
    url = f"{check_run.settings.slack.api_url}{method}"
    headers = {
        "Authorization": f"Bearer {_token(check_run)}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    try:
        reply = ask(check_run, "POST", url, headers, urlencode(arguments).encode(), deadline)
    except DeliveryError as error:
        return error
    said = _said(reply)
    if said is not None:
        return said, reply
    result = parse_slack_reply(reply)
    return DeliveryError(Reason.AMBIGUOUS, "bad_reply") if isinstance(result, Receipt) else result


def _said(reply: Response) -> Mapping[str, Any] | None:
    """The answer when it is a success, as strict as the channel is."""
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    good = reply.status == 200 and not reply.truncated and isinstance(said, dict) and said.get("ok") is True
    return said if good else None


def _trouble(error: DeliveryError) -> CheckResult:
    what = (
        f"Slack says {error.code}"
        if is_slacks_word(error)
        else f"no good answer from Slack: {error.code} ({error.detail})"
    )
    return CheckResult(outcome_of(error), what, fix_for(error, "slack"))
