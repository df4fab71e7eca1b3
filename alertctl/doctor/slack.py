"""Slack: the token, what it may do, and whether the default channel can be posted to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from alertctl import preferences
from alertctl.addresses import email_of_person, is_email
from alertctl.addresses import identity as channel_identity
from alertctl.channels.base import Receipt
from alertctl.channels.slack.channel import parse_slack_reply
from alertctl.config import Settings
from alertctl.deadline import Deadline
from alertctl.doctor.database import reading
from alertctl.doctor.result import (
    CheckEnded,
    CheckResult,
    failure,
    fix_for,
    is_slack_code,
    ok,
    outcome_of,
    unknown,
    warning,
)
from alertctl.doctor.runner import CheckRun, json_body, request, usable_credential
from alertctl.error_codes import ERROR_CODES
from alertctl.errors import DeliveryError, Reason
from alertctl.http.client import Response
from alertctl.routing import routing_rules_of

WRITE, WRITE_PUBLIC = "chat:write", "chat:write.public"
READ_PUBLIC, READ_PRIVATE = "channels:read", "groups:read"
READ_EMAIL = "users:read.email"
PAGE = 1000
"""Channels in one reply of conversations.list at most (its documented limit)."""
PAGES = 10
"""Pages in one run at most: a tier 2 method allows about 20 calls a minute."""
CHECKED_SETTINGS = ("SLACK_ENABLED", "SLACK_BOT_TOKEN")
"""Settings with a check of their own."""

LONGEST_USES = 200

_BOT_TOKEN = re.compile(r"(xoxe\.)?xoxb-.+")
_ID = re.compile(r"[CG][A-Z0-9]{8,}")
_TRY = "alertctl test slack checks it with a real message."


@dataclass(frozen=True, slots=True)
class Workspace:
    """The answer to auth.test. `scopes` is None when Slack didn't list them."""

    team: str
    bot: str
    url: str
    scopes: frozenset[str] | None


def check_token(check_run: CheckRun) -> CheckResult:
    """Check that the token is set and looks like a bot token. It is never shown."""
    try:
        token = _token(check_run)
    except DeliveryError as error:
        return failure(error.detail, ERROR_CODES[error.code].fix)
    if _BOT_TOKEN.fullmatch(token):
        return ok("is set and looks like a bot token (xoxb-…)")
    if token.startswith("xapp-"):
        return failure("is an app-level token (xapp-…), which cannot post", ERROR_CODES["invalid_auth"].fix)
    return warning("does not begin with xoxb-, so it is not a bot token", ERROR_CODES["invalid_auth"].fix)


def check_identity(check_run: CheckRun) -> CheckResult:
    """Check by auth.test whether the token is valid and whose it is."""
    try:
        known = check_run.cached(workspace)
    except DeliveryError as error:
        no_answer = f"no valid answer from Slack: {error.code} ({error.detail})"
        what = f"Slack answered {error.code}" if is_slack_code(error) else no_answer
        return CheckResult(outcome_of(error), what, fix_for(error, "slack"))
    return ok(f"team {known.team}, bot {known.bot}, {known.url}")


def check_write_scope(check_run: CheckRun) -> CheckResult:
    if WRITE in _scopes(check_run):
        return ok("granted")
    return failure(f"missing_scope: the token lacks {WRITE}", _scope_fix(WRITE))


def check_public_write_scope(check_run: CheckRun) -> CheckResult:
    """Check chat:write.public, which isn't needed where the bot is a member."""
    if WRITE_PUBLIC in _scopes(check_run):
        return ok("granted")
    try:
        if check_run.cached(conversation).get("is_member"):
            return ok("not granted and not needed; the bot is in the default channel")
    except CheckEnded:
        pass  # reported by check_default_channel
    return warning(
        "not granted; the bot can only post in channels that it is a member of",
        f"Write /invite @BOT in each channel, or add the scope {WRITE_PUBLIC} and install the app again.",
    )


def check_people_scope(check_run: CheckRun) -> CheckResult:
    """Check users:read.email, which direct messages and mentions by email need."""
    if READ_EMAIL in _scopes(check_run):
        return ok("granted; direct messages and mentions by email work")
    uses = [*_settings_with_people(check_run.settings), *_preferences_with_people(check_run)]
    if uses:
        needed_by = ", ".join(uses)
        return failure(
            f"missing_scope: the token lacks {READ_EMAIL}, needed by {needed_by[:LONGEST_USES]}", _scope_fix(READ_EMAIL)
        )
    return warning("not granted; direct messages and mentions by email do not work", _scope_fix(READ_EMAIL))


def _settings_with_people(settings: Settings) -> Iterator[str]:
    """Yield the settings and routes that address or mention people by email."""
    if any(map(is_email, settings.slack.mention)):
        yield "SLACK_MENTION"
    for route in routing_rules_of(settings).routes.items:
        addresses = [target.address for target in route.to if target.channel == "slack"]
        mentions = route.options.get("mention", ()) if addresses or route.adds_default else ()
        if any(map(email_of_person, addresses)) or any(map(is_email, mentions)):
            yield f"route {route.name}"


def _preferences_with_people(check_run: CheckRun) -> Iterator[str]:
    """Yield the number of users who want direct messages, nothing if a server has them or they can't be read."""
    if check_run.settings.alertctl.server:
        return
    try:
        with reading(check_run) as connection:
            users = preferences.count_people(connection)
    except CheckEnded:
        return
    if users:
        yield f"the preferences of {users} user{'s' if users > 1 else ''}"


def _scope_fix(scope: str) -> str:
    return ERROR_CODES["missing_scope"].fix.format(scope=scope)


def check_default_channel(check_run: CheckRun) -> CheckResult:
    """Check whether the bot can post to it, as far as the scopes show that without posting."""
    name = check_run.settings.slack.default_channel
    channel, scopes = check_run.cached(conversation), _scopes(check_run)
    if channel.get("is_archived"):
        return failure(f"{name}: is_archived", "Unarchive it, or set SLACK_DEFAULT_CHANNEL to another channel.")
    if WRITE not in scopes:
        return unknown(f"{name} exists; not checked further: {WRITE} is not granted")
    if channel.get("is_member"):
        return ok(f"{name}: the bot is a member")
    if WRITE_PUBLIC in scopes and not channel.get("is_private"):
        return ok(f"{name}: public, {WRITE_PUBLIC} is enough")
    return failure(f"{name}: not_in_channel", f"Write /invite @BOT in {name}.")


def workspace(check_run: CheckRun) -> Workspace:
    """Call auth.test. Raises DeliveryError, or CheckEnded when there is no token to call it with."""
    deadline = check_run.deadline()
    try:
        _token(check_run)
    except DeliveryError:
        raise CheckEnded(unknown("not checked: the token is not usable")) from None
    body, reply = _call(check_run, "auth.test", {}, deadline)
    listed = reply.headers.get("x-oauth-scopes")
    scopes = None if listed is None else frozenset(scope.strip() for scope in listed.split(","))
    team, bot, url = (str(body.get(name, "?")) for name in ("team", "user", "url"))
    return Workspace(team, bot, url, scopes)


def _scopes(check_run: CheckRun) -> frozenset[str]:
    """Return the token's scopes. Raises CheckEnded when they are unknown."""
    try:
        scopes = check_run.cached(workspace).scopes
    except (DeliveryError, CheckEnded):
        raise CheckEnded(unknown("not checked: auth.test did not succeed")) from None
    if scopes is None:
        raise CheckEnded(unknown("Slack did not list the token's scopes", _TRY))
    return scopes


def _token(check_run: CheckRun) -> str:
    return usable_credential(check_run.settings.slack.bot_token, "SLACK_BOT_TOKEN", missing="not_authed")


def conversation(check_run: CheckRun) -> Mapping[str, Any]:
    """Return Slack's description of the default channel. Raises CheckEnded when there is none or we can't ask."""
    deadline = check_run.deadline()
    channel = check_run.settings.slack.default_channel
    scopes = _scopes(check_run)
    if READ_PUBLIC not in scopes:
        raise CheckEnded(unknown(f"{channel}: cannot be looked up without the scope {READ_PUBLIC}", _TRY))
    code = "bad_reply"
    try:
        if _ID.fullmatch(channel):
            match = _call(check_run, "conversations.info", {"channel": channel}, deadline)[0].get("channel")
        else:
            match = _search(check_run, channel_identity("slack", channel), scopes, deadline)
        if isinstance(match, Mapping):
            return match
    except DeliveryError as error:
        code = error.code
    raise CheckEnded(_missing_channel(channel, code, scopes))


def _search(check_run: CheckRun, name: str, scopes: frozenset[str], deadline: Deadline) -> Mapping[str, Any]:
    """Return a channel by its name. Slack has no search: list all channels, page by page. Raises DeliveryError."""
    types = "public_channel,private_channel" if READ_PRIVATE in scopes else "public_channel"
    cursor = ""
    for _ in range(PAGES):
        arguments = {"limit": str(PAGE), "types": types, **({"cursor": cursor} if cursor else {})}
        body, _ = _call(check_run, "conversations.list", arguments, deadline)
        listed, more = body.get("channels"), body.get("response_metadata")
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, Mapping) and channel_identity("slack", str(item.get("name", ""))) == name:
                return item
        cursor = str(more.get("next_cursor") or "") if isinstance(more, Mapping) else ""
        if not cursor:
            raise DeliveryError(Reason.BAD_ADDRESS, "channel_not_found")
    raise DeliveryError(Reason.UNAVAILABLE, "too_many_channels")


def _missing_channel(channel: str, code: str, scopes: frozenset[str]) -> CheckResult:
    if code != "channel_not_found":
        return unknown(f"{channel}: lookup failed ({code})", _TRY)
    if READ_PRIVATE in scopes:
        return failure(
            f"{channel}: channel_not_found",
            "Create it or correct SLACK_DEFAULT_CHANNEL; invite the bot if it is private.",
        )
    return unknown(
        f"{channel}: no public channel has this name; private channels are hidden without the scope {READ_PRIVATE}",
        "Correct SLACK_DEFAULT_CHANNEL, or invite the bot if the channel is private, then: alertctl test slack",
    )


def _call(
    check_run: CheckRun, method: str, arguments: Mapping[str, str], deadline: Deadline
) -> tuple[Mapping[str, Any], Response]:
    """Call a read-only method; return its body and reply if `ok` is true. Raises DeliveryError."""
    headers = {"Authorization": f"Bearer {_token(check_run)}", "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{check_run.settings.slack.api_url}{method}"
    reply = request(check_run, "POST", url, headers, urlencode(arguments).encode(), deadline)
    body = json_body(reply)
    # As strict as the channel.
    if reply.status == 200 and isinstance(body, dict) and body.get("ok") is True:
        return body, reply
    result = parse_slack_reply(reply)
    raise DeliveryError(Reason.AMBIGUOUS, "bad_reply") if isinstance(result, Receipt) else result
