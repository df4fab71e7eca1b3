"""A local Slack: the Web API methods that an alerting bot needs, with Slack's own errors and limits."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from alertctl.sandbox.block_kit import BlockError, check_blocks
from alertctl.sandbox.http import HttpCall, HttpResponse, json_response, parse_json
from alertctl.sandbox.http_provider import HttpProvider
from alertctl.sandbox.provider import OnMessage
from alertctl.sandbox.records import SlackEdit, SlackMessage, now

PATH = "/api/"
EDIT = "chat.update"
LOOKUP = "users.lookupByEmail"
MAX_TEXT = 40_000
CHANNEL_ID = re.compile(r"[CGDUW][A-Z0-9]{7,}")
USER_ID = re.compile(r"[UW][A-Z0-9]{7,}")
CHANNEL_NAME = re.compile(r"[\w-]{1,80}")

Arguments = dict[str, Any]


class SlackError(Exception):
    """An answer with HTTP 200 and `ok` false; `extra` holds the fields beside `error`."""

    def __init__(self, code: str, **extra: Any) -> None:
        super().__init__(code)
        self.code = code
        self.extra = extra


class SlackSandbox(HttpProvider[SlackMessage]):
    """`token` is the only valid token, `scopes` are its scopes, `channels` the result of conversations.list.

    `people` are users' ids by email (None: no such user). Any other email has an id, too, except `nobody@`.
    """

    name = "slack"
    built_in = {  # noqa: RUF012  (a ClassVar in the base class)
        "missing": "slack:channel_not_found",
        "archived": "slack:is_archived",
        "private": "slack:not_in_channel",
        "flaky": "http_503",
    }

    token = "xoxb-sandbox-token"  # accepted by clients, ignored by secret scanners
    scopes: tuple[str, ...] = ("chat:write", "chat:write.public", "users:read", "users:read.email")
    channels: tuple[str, ...] = ("platform-alerts", "general", "archived", "private")
    _last_ts = 0

    def __init__(self, on_message: OnMessage | None = None) -> None:
        super().__init__(on_message)
        self.people: dict[str, str | None] = {}
        self._emails: dict[str, str] = {}
        """The emails that were looked up, by the user's id."""
        self.edits: list[SlackEdit] = []
        """All edits of messages, in order."""
        self._shown: dict[tuple[str, str], SlackMessage] = {}
        """The messages that were not deleted, by channel ID and `ts`."""
        self._tombstones: set[tuple[str, str]] = set()
        self._names: dict[str, str] = {}
        """The channels that were named so far, by ID."""

    def delete_message(self, message: SlackMessage) -> None:
        """Delete a message, as a person does in Slack. A root with replies leaves a tombstone, which takes replies."""
        key = channel_id(message.channel), message.ts
        del self._shown[key]
        if any(reply.thread_ts == message.ts for (channel, _), reply in list(self._shown.items()) if channel == key[0]):
            self._tombstones.add(key)

    def addresses(self, request: HttpCall) -> list[str]:
        """Return the channel. Before it, or for a look-up before the email, return the method if it isn't posting."""
        method = request.path.removeprefix(PATH)
        try:
            arguments = parse_arguments(request)
        except SlackError:
            return []
        if method == LOOKUP:
            return [LOOKUP, str(arguments.get("email"))]
        channel = arguments.get("channel")
        known = [self._names.get(channel, channel)] if isinstance(channel, str) else []
        return [EDIT, *known] if method == EDIT else known

    def respond(self, request: HttpCall) -> HttpResponse:
        if not request.path.startswith(PATH):
            return HttpResponse(404, b"<html><body>Not found</body></html>", {"Content-Type": "text/html"})
        try:
            body = self._call(request.path.removeprefix(PATH), request)
        except SlackError as error:
            body = {"ok": False, "error": error.code, **error.extra}
        return json_response(200, body).with_headers(X_OAuth_Scopes=",".join(self.scopes))

    def refusal(self, status: int) -> HttpResponse:
        code = {429: "ratelimited", 500: "internal_error", 503: "service_unavailable"}.get(status, f"http_{status}")
        return json_response(status, {"ok": False, "error": code})

    def _call(self, method: str, request: HttpCall) -> Arguments:
        methods: dict[str, Callable[[Arguments, HttpCall], Arguments]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            EDIT: self._update,
            "conversations.info": self._conversations_info,
            "conversations.list": self._conversations_list,
            LOOKUP: self._lookup_by_email,
        }
        if method not in methods:
            raise SlackError("unknown_method", req_method=method)
        arguments = parse_arguments(request)
        token = str(arguments.pop("token", ""))
        self._authenticate(request.bearer or token)
        return {"ok": True, **methods[method](arguments, request)}

    def _authenticate(self, token: str) -> None:
        if not token:
            raise SlackError("not_authed")
        if token != self.token:
            raise SlackError("invalid_auth")
        if self.auth_error:
            raise SlackError(self.auth_error)

    def _require(self, scope: str) -> None:
        if scope not in self.scopes:
            raise SlackError("missing_scope", needed=scope, provided=",".join(self.scopes))

    def _auth_test(self, arguments: Arguments, request: HttpCall) -> Arguments:
        return {
            "url": "https://sandbox.slack.example/",
            "team": "Sandbox",
            "user": "alertctl",
            "team_id": identifier("T", "Sandbox"),
            "user_id": identifier("U", "alertctl"),
            "bot_id": identifier("B", "alertctl"),
            "is_enterprise_install": False,
        }

    def _post_message(self, arguments: Arguments, request: HttpCall) -> Arguments:
        self._require("chat:write")
        channel = parse_channel(arguments)
        text, blocks = parse_content(arguments)
        root = channel_id(channel), str(arguments.get("thread_ts") or "")
        # A reply to a message that doesn't exist is posted at top level.
        thread_ts = root[1] if root in self._shown or root in self._tombstones else None
        ts = self._next_ts()
        name = self._names.setdefault(channel_id(channel), channel)
        recipient = self._emails.get(name, "")
        posted = SlackMessage(
            name,
            text,
            blocks,
            ts,
            arguments,
            request.headers,
            now(),
            thread_ts,
            recipient=recipient,
            emails=self._emails,
        )
        self._shown[channel_id(channel), ts] = posted
        self.add_messages(posted)
        message = {"type": "message", "subtype": "bot_message", "text": text, "ts": ts, "blocks": blocks}
        return {
            "channel": channel_id(channel),
            "ts": ts,
            "message": message | ({"thread_ts": thread_ts} if thread_ts else {}),
        }

    def _update(self, arguments: Arguments, request: HttpCall) -> Arguments:
        self._require("chat:write")
        channel, ts = parse_channel(arguments), str(arguments.get("ts") or "")
        text, blocks = parse_content(arguments)
        message = self._shown.get((channel_id(channel), ts))
        if message is None:
            raise SlackError("message_not_found")
        edit = SlackEdit(message.to, text, blocks, ts, arguments, now(), message.thread_ts)
        message.edits.append(edit)
        self.edits.append(edit)
        self.announce(edit)
        return {"channel": channel_id(channel), "ts": ts, "text": text, "message": {"text": text, "blocks": blocks}}

    def _next_ts(self) -> str:
        """Return a unique timestamp in Slack's format, seconds.microseconds."""
        self._last_ts = max(self._last_ts + 1, time.time_ns() // 1000)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06}"

    def _lookup_by_email(self, arguments: Arguments, request: HttpCall) -> Arguments:
        self._require("users:read.email")
        email = str(arguments.get("email") or "").lower()
        is_known = "@" in email and not email.startswith("nobody@")
        user_id = self.people.get(email, identifier("U", email) if is_known else None)
        if user_id is None:
            raise SlackError("users_not_found")
        self._emails[user_id] = email
        return {"user": {"id": user_id, "name": email.partition("@")[0], "deleted": False, "profile": {"email": email}}}

    def _conversations_info(self, arguments: Arguments, request: HttpCall) -> Arguments:
        self._require("channels:read")
        for name in self.channels:
            if arguments.get("channel") == channel_id(name):
                return {"channel": conversation(name)}
        raise SlackError("channel_not_found")

    def _conversations_list(self, arguments: Arguments, request: HttpCall) -> Arguments:
        self._require("channels:read")
        listed = [conversation(name) for name in self.channels]
        return {"channels": listed, "response_metadata": {"next_cursor": ""}}


def parse_arguments(request: HttpCall) -> Arguments:
    """Return a call's arguments from the query and from a form or a JSON object. Raises SlackError."""
    arguments: Arguments = dict(request.query)
    if not request.body:
        return arguments
    _, _, charset = request.headers.get("content-type", "").lower().partition("charset=")
    if charset and charset.strip(' "') not in ("utf-8", "iso-8859-1"):
        raise SlackError("invalid_charset")
    if request.media_type == "application/json":
        try:
            body = parse_json(request.body)
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return arguments | body
    if request.media_type == "application/x-www-form-urlencoded":
        try:
            return arguments | dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        except ValueError:
            raise SlackError("invalid_form_data") from None
    raise SlackError("invalid_post_type")


def parse_channel(arguments: Arguments) -> str:
    """Return the channel as requested: an ID, `#name` or a name. Raises SlackError."""
    channel = arguments.get("channel")
    if isinstance(channel, str):
        name = channel.removeprefix("#")
        if CHANNEL_ID.fullmatch(channel) or (CHANNEL_NAME.fullmatch(name) and name == name.lower()):
            return channel
    raise SlackError("channel_not_found")


def parse_content(arguments: Arguments) -> tuple[str, list[dict[str, Any]]]:
    """Return a message's text and blocks. Raises SlackError."""
    text = str(arguments.get("text") or "")
    blocks = parse_blocks(arguments.get("blocks"))
    if not (text.strip() or blocks or arguments.get("attachments")):
        raise SlackError("no_text")
    if len(text) > MAX_TEXT:
        raise SlackError("msg_too_long")
    return text, blocks


def parse_blocks(value: Any) -> list[dict[str, Any]]:
    """Return valid blocks from a JSON array, or from its text as a form has it. Raises SlackError."""
    if isinstance(value, str) and value.strip():
        try:
            value = parse_json(value)
        except ValueError:
            raise SlackError("invalid_blocks_format") from None
    if not value:
        return []
    if not isinstance(value, list):
        raise SlackError("invalid_blocks_format")
    try:
        check_blocks(value)
    except BlockError as error:
        messages = [f"[ERROR] {error}"]
        raise SlackError(error.code, errors=[str(error)], response_metadata={"messages": messages}) from None
    return value


def identifier(prefix: str, name: str) -> str:
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:10].upper()


def channel_id(channel: str) -> str:
    """Return the ID of a channel; for a user's ID, that of the direct messages with this user."""
    if USER_ID.fullmatch(channel):
        return identifier("D", channel)
    return channel if CHANNEL_ID.fullmatch(channel) else identifier("C", channel.removeprefix("#"))


def conversation(name: str) -> Arguments:
    return {
        "id": channel_id(name),
        "name": name,
        "is_channel": True,
        "is_archived": name == "archived",
        "is_private": name == "private",
        "is_member": name not in ("archived", "private"),
    }
