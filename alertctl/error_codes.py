"""Every error code of the delivery log: its reason, its meaning, and how to fix it.

A code is the provider's own (`channel_not_found`, `550`) or alertctl's (`timeout`, `interrupted`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

from alertctl.errors import Reason


class ErrorCode(NamedTuple):
    """`reason` is None where it depends on when the attempt failed. An empty `fix` means the reason's own fix."""

    code: str
    reason: Reason | None
    meaning: str
    fix: str = ""


DUPLICATE = "duplicate of "
"""The beginning of a duplicate's code (`dedup_key`); the earlier event's id follows."""
_NEEDED = re.compile(r'"needed": ?"([a-z:._, -]{1,100})"')
ROUTE_PREFIX = "route "
"""The beginning of the cause of a delivery that a route suppresses (`to = []`); the route's name follows."""
SETTINGS = {"slack": "SLACK_API_URL", "sendgrid": "SENDGRID_API_URL", "smtp": "SMTP_HOST"}
"""The setting with each provider's host, for `{setting}` in a fix."""


_Table = Mapping[Reason | None, Sequence[tuple[str, str] | tuple[str, str, str]]]
"""Rows of code, meaning and fix, by reason."""


def _entries(table: _Table) -> tuple[ErrorCode, ...]:
    return tuple(ErrorCode(row[0], reason, *row[1:]) for reason, rows in table.items() for row in rows)


_DOCTOR = "Run alertctl doctor on the machine that sends, with the same settings, and fix what it reports."
_SECRET = "Copy the secret again, without spaces or line breaks."
_CONFIG_CHECK = "Correct what alertctl config check reports (email needs SENDGRID_API_KEY or SMTP_HOST)."
_CA_BUNDLE = "Set ALERTCTL_CA_BUNDLE to a readable PEM file, or leave it empty."
_LOOKUP_PAUSE = "Nothing to do after a single pause; if it repeats, run alertctl doctor slack."
_EXPIRED = "If people still need to know, send the event again, or run alertctl log retry if it has no --expires time."
_NOT_ALLOWED = (
    "ALERTCTL_ALLOWED_EMAIL_DOMAINS or ALERTCTL_ALLOWED_SLACK_CHANNELS does not allow the address, "
    "which a label or a user's preferences named"
)
_ALLOW = "Change the address for later events, or allow it with that setting and run alertctl log retry."
_SLACK_ENABLED = "Set SLACK_ENABLED=true for later events; to send this one too, run alertctl log retry afterwards."
_EMAIL_ENABLED = "Set EMAIL_ENABLED=true for later events; to send this one too, run alertctl log retry afterwards."

_ALERTCTL: _Table = {
    Reason.AMBIGUOUS: (
        ("interrupted", "no result was recorded before the lease ended, so another attempt began"),
        ("no_ts", "Slack reported success without a message timestamp"),
    ),
    Reason.CONFIG: (
        ("bad_ca_bundle", "the file in ALERTCTL_CA_BUNDLE is not a readable list of certificates", _CA_BUNDLE),
        ("malformed_credential", "the secret contains a space, a line break or a non-ASCII character", _SECRET),
        ("not_configured", "the channel is not configured (see the attempt's answer)", _CONFIG_CHECK),
    ),
    Reason.LOCAL: (
        ("local_error", "this machine ran out of file descriptors, memory, disk space or ports"),
        ("out_of_memory", "this machine ran out of memory"),
        ("lookup_paused", "look-ups of people pause for 30 s because one failed or took too long", _LOOKUP_PAUSE),
    ),
    Reason.UNAVAILABLE: (
        ("lookup_failed", "alertctl failed with an unexpected error in a look-up (see the attempt's answer)"),
    ),
    Reason.REJECTED: (("unrenderable", "alertctl could not build a message from the event"),),
    Reason.EXPIRED: (
        ("expired", "the event's --expires time, or ALERTCTL_MAX_AGE, passed before the next attempt", _EXPIRED),
    ),
    None: (
        ("bad_request", "alertctl could not build the request"),
        ("closing", "the daemon was shutting down"),
        ("email_disabled", "email was disabled when the event was published", _EMAIL_ENABLED),
        ("recipient_not_allowed", _NOT_ALLOWED, _ALLOW),
        ("slack_disabled", "Slack was disabled when the event was published", _SLACK_ENABLED),
        ("unexpected", "alertctl failed with an unexpected error (see the attempt's answer)"),
        ("unknown", "the provider named no error (see the attempt's answer)"),
    ),
}

_NOT_THE_API = "Correct {setting} and HTTPS_PROXY: the server that answers is not the provider's API."
_PROXY_LOGIN = "Put the proxy's user name and password into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT)."
_PROXY = "Correct HTTPS_PROXY, or add the provider's host to NO_PROXY."
_PROXY_AUTHORITY = (
    "Correct HTTPS_PROXY, renew the proxy's certificate, or set ALERTCTL_CA_BUNDLE to a PEM file with its authority "
    "and the system's, which this setting replaces."
)
_HOST_AND_PORT = "Check {setting}, the port and the firewall; if they are correct, the provider is down."
_NO_CONNECTION = "Check {setting}, the port and the firewall, or set HTTPS_PROXY."
_TLS_PORT = "Correct {setting} and the port (for SMTP also SMTP_SECURITY)."
_TLS_AUTHORITY = (
    "Check {setting}; for a private authority, set ALERTCTL_CA_BUNDLE to a PEM file with its certificate and the "
    "system's, which this setting replaces."
)
_TLS_HOST = "Set {setting} to a host name that the server's certificate contains."
_TLS_DATE = "Renew the server's certificate, or correct this machine's clock."
_NO_ROUTE = "Check this machine's network and firewall, or set HTTPS_PROXY."

_NETWORK: _Table = {
    Reason.CONFIG: (
        ("bad_proxy_url", "the proxy's URL is invalid", "Correct the URL in HTTPS_PROXY."),
        ("bad_url", "the provider's URL is invalid", "Correct {setting}."),
        ("proxy_auth", "the proxy requires a user name and password", _PROXY_LOGIN),
        (
            "proxy_untrusted",
            "the certificate of the https:// proxy is untrusted, expired or for another host",
            _PROXY_AUTHORITY,
        ),
        ("tls_expired", "the server's certificate has expired or is not yet valid", _TLS_DATE),
        ("tls_not_spoken", "the server does not use TLS on this port", _TLS_PORT),
        ("tls_untrusted", "the server's certificate is not signed by a trusted authority", _TLS_AUTHORITY),
        ("tls_wrong_host", "the server's certificate is for another host name", _TLS_HOST),
    ),
    Reason.LOCAL: (
        ("dns_failure", "the host name cannot be resolved", "Correct the host in {setting}, or this machine's DNS."),
        ("dns_timeout", "the DNS server did not answer in time", "Check this machine's DNS (/etc/resolv.conf)."),
        ("unreachable", "this machine has no route to the provider", _NO_ROUTE),
    ),
    None: (
        ("bad_reply", "the answer does not follow the provider's API", _NOT_THE_API),
        ("connect_timeout", "connecting to the server took too long", _NO_CONNECTION),
        ("connection_lost", "the connection broke"),
        ("connection_refused", "the server refused the connection", _HOST_AND_PORT),
        ("connection_reset", "the other side reset the connection"),
        ("endless_reply", "the answer's headers, or a mail server's reply, exceeded the size limit"),
        ("incomplete_reply", "the answer was cut off or too long"),
        ("network_error", "the network failed (see the attempt's answer)"),
        ("no_reply", "the server closed the connection without an answer"),
        ("proxy_failed", "the proxy did not forward the request", _PROXY),
        ("timeout", "no answer arrived within ALERTCTL_DEADLINE (after a complete email: SMTP_FINAL_TIMEOUT)"),
        ("tls_failed", "the TLS handshake failed (see the attempt's answer)"),
    ),
}

_SLACK_APP = "api.slack.com/apps, OAuth & Permissions"
_COPY_TOKEN = f"Set SLACK_BOT_TOKEN to the app's Bot User OAuth Token (xoxb-…; {_SLACK_APP})."
_NEW_TOKEN = f"Install the app to the workspace again ({_SLACK_APP}) and set SLACK_BOT_TOKEN to its new token."
_FRESH_TOKEN = "Set SLACK_BOT_TOKEN to a new token, or disable token rotation in the Slack app."
_SCOPE = (
    f"Add the scope {{scope}} ({_SLACK_APP}), install the app again, "
    "and copy its token to SLACK_BOT_TOKEN if it has changed."
)
_ONE_WORKSPACE = "Set SLACK_BOT_TOKEN to the token of an app that is installed in a single workspace."
_TWO_FACTOR = "Enable two-factor login for the token's user, or set SLACK_BOT_TOKEN to a bot token (xoxb-…)."
_ALLOW_APP = "Ask a workspace owner to allow the app and this machine's IP address."
_ASK_ADMIN = "Ask a workspace admin to allow the app to post there, or use another channel."
_UPGRADE = "Upgrade alertctl, and check SLACK_API_URL."
_INVITE = "Invite the app (/invite @APP) and run alertctl log retry, or correct the channel and send the event again."
_NO_REPLY = (
    "Use another channel and send the event again, unless this is only a note on an attempt: then the message was "
    "posted outside of the thread."
)
_CHANNEL = "Use another channel (SLACK_DEFAULT_CHANNEL, the user's preferences or --to) and send the event again."
_PERSON = "Correct the email address, or use the person's Slack ID (U…) or a channel, and send the event again."
_CHANNEL_ID = "Use the channel's ID (C…) instead of its name, and send the event again."
_MESSAGES_TAB = "Enable the Messages Tab (api.slack.com/apps, App Home), then run alertctl log retry."
_MOVING = "Wait until Slack has moved the workspace to the organisation."

_SLACK: _Table = {
    Reason.CONFIG: (
        ("access_denied", "the workspace denies the app access", _ALLOW_APP),
        ("accesslimited", "the workspace rejects requests from this machine's IP address", _ALLOW_APP),
        ("account_inactive", "the token's user or workspace no longer exists", _NEW_TOKEN),
        ("app_access_restricted", "the workspace restricts the app", _ASK_ADMIN),
        ("as_user_not_supported", "this token cannot post as a user"),
        ("deprecated_endpoint", "Slack no longer offers this method at this URL", _UPGRADE),
        ("enterprise_is_restricted", "an organisation-wide token cannot call this method", _ONE_WORKSPACE),
        ("invalid_auth", "Slack rejected the token", _COPY_TOKEN),
        ("is_bot", "a bot cannot call this method"),
        ("method_deprecated", "Slack no longer offers this method", _UPGRADE),
        ("missing_scope", "the token lacks a scope that this call needs", _SCOPE),
        ("no_permission", "the app is not allowed to post", _ASK_ADMIN),
        ("not_allowed_token_type", "this type of token cannot post", _COPY_TOKEN),
        ("not_authed", "no token was sent", _COPY_TOKEN),
        ("send_on_behalf_not_allowed", "the app cannot post on behalf of another user"),
        ("token_expired", "the token has expired", _FRESH_TOKEN),
        ("token_revoked", "the token was revoked", _NEW_TOKEN),
        ("two_factor_setup_required", "the token's user must enable two-factor login", _TWO_FACTOR),
        ("unknown_method", "the server does not know the method chat.postMessage", _NOT_THE_API),
    ),
    Reason.BAD_ADDRESS: (
        ("cannot_dm_bot", "the user is a bot, and bots receive no direct messages", _CHANNEL),
        ("cannot_reply_to_message", "this message accepts no replies", _NO_REPLY),
        ("channel_not_found", "the channel does not exist, or is private without the app", _INVITE),
        ("ekm_access_denied", "the workspace's admins suspended posting there (key management)", _ASK_ADMIN),
        ("is_archived", "the channel is archived", _CHANNEL),
        ("messages_tab_disabled", "the app's Messages Tab is disabled", _MESSAGES_TAB),
        ("not_in_channel", "the app is not a member of the channel", _INVITE),
        ("restricted_action", "the workspace's settings do not allow the app to post there", _ASK_ADMIN),
        ("restricted_action_non_threadable_channel", "the channel accepts no replies in threads", _NO_REPLY),
        ("restricted_action_read_only_channel", "only some members can post in the channel", _ASK_ADMIN),
        ("restricted_action_thread_locked", "the thread is locked", _NO_REPLY),
        ("restricted_action_thread_only_channel", "the channel accepts only replies in threads", _CHANNEL),
        ("team_not_found", "an organisation's token needs the channel's ID, not its name", _CHANNEL_ID),
        ("user_disabled", "the user is deactivated", _CHANNEL),
        ("user_not_found", "the user does not exist", _CHANNEL),
        ("user_not_in_channel", "the user is not in the channel", _CHANNEL),
        ("users_not_found", "nobody in the workspace has this email address", _PERSON),
    ),
    Reason.REJECTED: (
        ("attachment_payload_limit_exceeded", "the message's attachments are too large"),
        ("draft_already_deleted", "Slack treats the message as a draft that was deleted"),
        ("draft_already_sent", "Slack treats the message as a draft that was already sent"),
        ("draft_has_conflict", "Slack treats the message as a draft that has changed"),
        ("draft_not_found", "Slack treats the message as a draft that does not exist"),
        ("duplicate_channel_not_found", "Slack treats the message as a duplicate in an unknown channel"),
        ("duplicate_message_not_found", "Slack treats the message as a duplicate of an unknown message"),
        ("invalid_arg_name", "the request has an argument with an invalid name"),
        ("invalid_arguments", "the request has invalid arguments"),
        ("invalid_array_arg", "the request has an invalid list"),
        ("invalid_attachments", "the message's attachments are invalid"),
        ("invalid_blocks", "the message's blocks are invalid"),
        ("invalid_blocks_format", "the message's blocks are not a JSON array"),
        ("invalid_charset", "Slack does not support the request's character set"),
        ("invalid_form_data", "Slack could not parse the request's form data"),
        ("invalid_json", "Slack could not parse the request's JSON"),
        ("invalid_metadata_format", "the message's metadata is invalid"),
        ("invalid_metadata_schema", "the message's metadata does not match its schema"),
        ("invalid_post_type", "Slack does not support the request's content type"),
        ("json_not_object", "the request's JSON is not an object"),
        ("markdown_text_conflict", "the message has both markdown_text and text or blocks"),
        ("metadata_must_be_sent_from_app", "only an app's token can send message metadata"),
        ("metadata_too_large", "the message's metadata is too large"),
        ("missing_file_data", "the message names a file without its data"),
        ("missing_post_type", "the request has no content type"),
        ("msg_blocks_too_long", "the message's blocks are too long"),
        ("msg_too_long", "the message is too long"),
        ("no_text", "the message has no text"),
        ("slack_connect_canvas_sharing_blocked", "the workspace blocks sharing a canvas with other companies"),
        ("slack_connect_file_link_sharing_blocked", "the workspace blocks sharing files with other companies"),
        ("slack_connect_lists_sharing_blocked", "the workspace blocks sharing lists with other companies"),
        ("too_many_attachments", "the message has too many attachments"),
        ("too_many_contact_cards", "the message has too many contact cards"),
    ),
    Reason.RATE_LIMITED: (
        ("message_limit_exceeded", "the workspace has reached its message limit"),
        ("rate_limited", "Slack received too many messages and asked alertctl to wait"),
        ("ratelimited", "Slack received too many messages and asked alertctl to wait"),
    ),
    Reason.UNAVAILABLE: (
        ("internal_error", "Slack, or an earlier version of alertctl, failed internally"),
        ("org_login_required", "Slack is moving the workspace to an organisation", _MOVING),
        ("request_timeout", "Slack did not receive the complete request in time"),
        ("service_unavailable", "Slack is temporarily unavailable"),
        ("team_added_to_org", "Slack is moving the workspace to an organisation", _MOVING),
    ),
    Reason.AMBIGUOUS: (("fatal_error", "Slack failed internally, perhaps after it accepted the message"),),
}
SLACK_CODES = _entries(_SLACK)
"""Slack's answers to chat.postMessage: https://docs.slack.dev/reference/methods/chat.postMessage (2026-08-20).

Documented elsewhere: invalid_arguments, invalid_attachments, invalid_json, json_not_object, msg_too_long and
internal_error (the Web API's common errors), the four about users (conversations.open), and users_not_found
(users.lookupByEmail). After `fatal_error` Slack may have posted the message.
"""

_API_KEY = "Set SENDGRID_API_KEY to a key with the Mail Send permission (app.sendgrid.com, Settings, API Keys)."
_SENDER = "Verify EMAIL_FROM_ADDRESS at SendGrid, and give the API key the Mail Send permission."
_LOGIN = (
    "Set SMTP_USERNAME and SMTP_PASSWORD to a valid login (an app password), or SMTP_AUTH=xoauth2 with a new token."
)
_LOGIN_AND_TLS = "Set SMTP_USERNAME and SMTP_PASSWORD, and SMTP_SECURITY=starttls."
_APP_PASSWORD = "Create an app password at the mail provider and set SMTP_PASSWORD to it."
_STARTTLS = "Set SMTP_SECURITY=starttls."
_TLS = "Set SMTP_SECURITY=starttls or SMTP_SECURITY=tls; SMTP_SECURITY=none would send the password unencrypted."
_NO_LOGIN = "Leave SMTP_USERNAME empty if the server needs no login, else set SMTP_PORT to its submission port (587)."
_SUBMISSION = "Set SMTP_PORT=587, or SMTP_PORT=465 with SMTP_SECURITY=tls."
_ADDRESS = "Correct the address (user's preferences, NOTIFICATION_ADMIN_EMAILS or --to) and send the event again."
_MAILBOX_FULL = "Ask the mailbox's owner to free space, then run alertctl log retry."
_MESSAGE = "Check what the attempt's answer names, or ask the mail server's administrator."
_SMTPUTF8 = "Use an ASCII address, or a mail server that supports SMTPUTF8."
_POSTMASTER = "Ask the server's administrator about EMAIL_FROM_ADDRESS, ALERTCTL_HELO and this machine's IP address."
_HELO = "Set ALERTCTL_HELO to this machine's host name in DNS."
_RELAY = "Set SMTP_USERNAME and SMTP_PASSWORD, or ask SMTP_HOST's administrator to relay mail from this machine."
_FROM = "Set EMAIL_FROM_ADDRESS to an address that the mail server lets this login send from."
_REPUTATION = "Check SPF, DKIM and DMARC of EMAIL_FROM_ADDRESS's domain, or ask the mail server's administrator."
_OLD_TLS = "Enable TLS 1.2 or later on the mail server, or set SMTP_HOST and SMTP_PORT to one that has it."
_OTHER_SERVER = "Set SMTP_HOST to a mail server that has this feature (see the attempt's answer)."
_SENDING_LIMIT = "Nothing to do; alertctl retries it (set SMTP_HOST to a server with a higher limit if this repeats)."

_EMAIL: _Table = {
    Reason.CONFIG: (
        ("530", "the mail server requires a login, or TLS first", _LOGIN_AND_TLS),
        ("534", "the mail server requires a stronger login", _APP_PASSWORD),
        ("535", "the mail server rejected the user name and password", _LOGIN),
        ("538", "the mail server accepts a password only over TLS", _STARTTLS),
        ("432", "the mail server requires a new password", _LOGIN),
        ("authentication_required", "the mail server requires a login", _LOGIN),
        ("auth_in_clear", "the login would send the password without TLS", _TLS),
        ("auth_unavailable", "the mail server offers no login method that alertctl supports", _NO_LOGIN),
        ("forbidden", "SendGrid does not allow this sender, or the key lacks the Mail Send permission", _SENDER),
        ("starttls_unavailable", "the mail server offers no TLS on this port", _SUBMISSION),
        ("tls_too_old", "the mail server and this machine have no version of TLS in common", _OLD_TLS),
        (
            "unauthorized",
            "SendGrid rejected the API key (unknown, without the Mail Send permission, or out of credits)",
            _API_KEY,
        ),
    ),
    Reason.BAD_ADDRESS: (
        ("invalid_address", "the provider cannot send to this address", _ADDRESS),
        ("smtputf8_unsupported", "the address has non-ASCII characters, and the mail server lacks SMTPUTF8", _SMTPUTF8),
    ),
    Reason.UNAVAILABLE: (
        ("421", "the mail server is shutting down or overloaded"),
        ("450", "the mailbox is busy, or the server delays unknown senders (greylisting)"),
        ("451", "the mail server had a temporary error"),
        ("452", "the mail server is out of space"),
        ("454", "the mail server cannot check logins or start TLS at the moment"),
        ("batch_refused", "SendGrid rejected the whole request because of another message in it"),
    ),
    Reason.RATE_LIMITED: (("sending_limit", "the mail server's sending limit is reached", _SENDING_LIMIT),),
    Reason.REJECTED: (("message_refused", "the mail server's policy refuses this message", _REPUTATION),),
    None: (
        ("helo_refused", "the mail server refuses the name that this machine gives in EHLO", _HELO),
        ("relaying_denied", "the mail server does not relay mail to this address for this client", _RELAY),
        ("sender_refused", "the mail server refuses mail from this sender", _FROM),
        ("refused_by_policy", "the mail server's policy refuses mail from this client to this address", _POSTMASTER),
        ("550", "the mailbox does not exist, or the server rejects mail for it", _ADDRESS),
        ("551", "the mailbox is not at this server", _ADDRESS),
        ("552", "the mailbox is full", _MAILBOX_FULL),
        ("553", "the mail server does not allow this address", _ADDRESS),
        ("554", "the mail server rejected the message", _POSTMASTER),
        ("not_supported", "the mail server lacks a feature that this message needs", _OTHER_SERVER),
        ("smtp_error", "the mail server answered unexpectedly (see the attempt's answer)"),
    ),
}

_SMTP_FIXES = {
    "bad_reply": "Correct SMTP_HOST and SMTP_PORT: the server that answers is not a mail server.",
    "connect_timeout": "Check SMTP_HOST, SMTP_PORT and the firewall.",
    "unreachable": "Check this machine's network and firewall.",
}
"""Fixes over SMTP, which uses no HTTP proxy, of codes that it shares with HTTP."""

_HTTP_FIXES = {
    **dict.fromkeys((301, 302, 303, 307, 308, 401, 403, 404, 405, 410), _NOT_THE_API),
    407: _PROXY_LOGIN,
}


def _status_meaning(code: str) -> str:
    """Return the meaning of an HTTP status (`http_502`) or an SMTP reply code (`571`), "" for other codes."""
    number = code.removeprefix("http_")
    if not _is_status(number):
        return ""
    if number == code:
        return f"the mail server {'deferred' if code < '500' else 'rejected'} the message (see the attempt's answer)"
    phrase = status_phrase(int(number))
    return f"the provider returned HTTP status {number}{phrase and f', {phrase}'}"


_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""The names of RFC 9110 that Python has only since 3.13."""


def status_phrase(status: int) -> str:
    """Return the name of an HTTP status, "" for an unknown one."""
    return _PHRASES.get(status) or (HTTPStatus(status).phrase if status in set(HTTPStatus) else "")


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit()


_HTTP = (
    ErrorCode(f"http_{status}", None, _status_meaning(f"http_{status}"), fix) for status, fix in _HTTP_FIXES.items()
)
ERROR_CODES = {
    entry.code: entry for entry in (*_entries(_ALERTCTL), *_entries(_NETWORK), *SLACK_CODES, *_entries(_EMAIL), *_HTTP)
}


def failure_reason(code: str, *, sent: bool) -> Reason:
    """Return the reason of an attempt that ended without the provider's answer.

    Once the request was `sent` completely, it is ambiguous. Before that, it is `config` or `local` for the codes that
    the table assigns to them, else `unavailable`: other reasons need the provider's answer.
    """
    if sent:
        return Reason.AMBIGUOUS
    if code == "proxy_failed":
        return Reason.CONFIG
    entry = ERROR_CODES.get(code)
    if entry is not None and entry.reason in (Reason.CONFIG, Reason.LOCAL):
        return entry.reason
    return Reason.UNAVAILABLE


_RETRIED = "Nothing to do; alertctl retries it."
_RETRIED_AMBIGUOUS = "Nothing to do; alertctl retries it, so the message may arrive twice."
_REPORT = (
    "Not caused by a setting: open an issue with the code and the output of alertctl log show ID -o json, without "
    "confidential values."
)
_FIX_CAUSE = "Fix the cause of the last error, then run alertctl log retry."

_REASONS = {
    Reason.RATE_LIMITED: ("the provider asked alertctl to wait", _RETRIED),
    Reason.UNAVAILABLE: ("the provider did not accept the message", _RETRIED),
    Reason.AMBIGUOUS: ("no answer arrived, so the message may have been delivered", _RETRIED_AMBIGUOUS),
    Reason.CONFIG: ("the provider rejected alertctl's credentials or settings", _DOCTOR),
    Reason.LOCAL: ("this machine failed, not the provider", _DOCTOR),
    Reason.BAD_ADDRESS: ("the provider cannot deliver to this address", _ADDRESS),
    Reason.REJECTED: ("the provider rejected the message itself", _REPORT),
    Reason.EXPIRED: ("the delivery expired before it was sent", _FIX_CAUSE),
}
_WHEN_FINAL = {
    _RETRIED: "Run alertctl log retry once the provider works again.",
    _RETRIED_AMBIGUOUS: "Check whether it arrived; if not, run alertctl log retry.",
    _SENDING_LIMIT: "Set SMTP_HOST to a server with a higher limit if this repeats, and run alertctl log retry.",
    _LOOKUP_PAUSE: "Run alertctl doctor slack, then alertctl log retry.",
    _MOVING: "Run alertctl log retry once Slack has moved the workspace to the organisation.",
}


def meaning(code: str, reason: str | None, attempt_reason: str | None = None) -> str:
    """Return what an error means, without a full stop; for an unknown code, what its reason means.

    `attempt_reason` is that of the attempt with this code: the reason of an expired delivery is `expired`.
    """
    if code.startswith(DUPLICATE):
        return "an event with the same dedup_key was sent to this target, or was queued for it, within the window"
    if code.startswith(ROUTE_PREFIX):
        return "this route of the configuration sends such events to nobody (to = [])"
    if reason == Reason.EXPIRED and code != "expired":
        return (
            f"it expired while waiting (ALERTCTL_MAX_AGE or --expires); its last error: {meaning(code, attempt_reason)}"
        )
    if _is_about_client(code, reason):
        return "the mail server refuses this machine or its sender (see the attempt's answer)"
    if _is_about_message(code, reason):
        return _status_meaning(code)
    if code in ERROR_CODES:
        return ERROR_CODES[code].meaning
    if reason is not None and reason in _REASONS:
        return _status_meaning(code) or _REASONS[Reason(reason)][0]
    return "the provider's own code, unknown to alertctl"


def fix(
    code: str,
    reason: str | None,
    provider: str | None = None,
    *,
    final: bool = False,
    answer: str | None = None,
    attempt_reason: str | None = None,
) -> str:
    """Return how to fix an error, as one sentence. `final`: it is not retried automatically.

    `answer` is the provider's, which may name the missing scope; `attempt_reason` is as for `meaning`.
    """
    if code.startswith(DUPLICATE):
        return f"Nothing to do; alertctl log --event-id {code.removeprefix(DUPLICATE)} shows the earlier event."
    if code.startswith(ROUTE_PREFIX):
        return "Change the route if later events should arrive; alertctl log retry sends this one."
    advice = known_fix(code, attempt_reason or reason, provider, answer)
    if not advice:
        if reason is None or reason not in _REASONS:
            return "See the attempt's answer below."
        advice = _REASONS[Reason(reason)][1]
    return _WHEN_FINAL.get(advice, advice) if final else advice


def known_fix(code: str, reason: str | None, provider: str | None, answer: str | None = None) -> str:
    """Return the code's own fix, "" without one."""
    if _is_about_client(code, reason):
        return _POSTMASTER
    if _is_about_message(code, reason):
        return _MESSAGE
    if provider == "smtp" and code in _SMTP_FIXES:
        return _SMTP_FIXES[code]
    entry = ERROR_CODES.get(code)
    setting = SETTINGS.get(provider or "", "the provider's URL")
    return entry.fix.format(setting=setting, scope=_needed_scope(answer or "")) if entry else ""


def _is_about_client(code: str, reason: str | None) -> bool:
    """Return whether an SMTP code refuses this client: at MAIL FROM or before, a 5xx is not about a recipient."""
    return reason in (Reason.CONFIG, Reason.LOCAL) and _depends_on_step(code)


def _is_about_message(code: str, reason: str | None) -> bool:
    """Return whether an SMTP code refuses the message itself: at DATA or later, a 5xx is not about a recipient."""
    return reason == Reason.REJECTED and _depends_on_step(code)


def _depends_on_step(code: str) -> bool:
    """Return whether the meaning of an SMTP code depends on the step that the server refused."""
    entry = ERROR_CODES.get(code)
    return _is_status(code) and (entry is None or entry.reason is None)


def _needed_scope(answer: str) -> str:
    """Return the scope that Slack's answer names as missing, by default that of every message."""
    needed = _NEEDED.search(answer)
    return needed[1] if needed else "chat:write, or the one that the attempt's answer names"
