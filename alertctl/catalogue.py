"""What each error code means and what to do about it, in one sentence each. Pure data, for people.

The codes are the provider's own where it has some (`channel_not_found`, `550`), else ours (`timeout`, `interrupted`).
"""

from __future__ import annotations

from http import HTTPStatus

_SLACK_APP = "the Slack app's page (api.slack.com/apps, OAuth & Permissions)"
_NEW_TOKEN = f"Install the app to the workspace again on {_SLACK_APP}, and put its new token into SLACK_BOT_TOKEN."
_COPY_TOKEN = f"Copy the Bot User OAuth Token (xoxb-…) from {_SLACK_APP} into SLACK_BOT_TOKEN."
_ASK_ADMIN = "Ask the workspace's admins what they allow the app, or name another channel."
_OTHER_CHANNEL = "Name a channel that takes messages: in SLACK_DEFAULT_CHANNEL, the user's preferences, or --to."
_REPORT = "Nothing to repair in the settings; please report it with the event's fields (alertctl log show -o json)."
_WAIT = "Nothing to do: it is tried again by itself."
_LOOK_TWICE = "Look whether it arrived before you send it again; alertctl tries again by itself."
_FINAL = {
    _WAIT: "Resend it when the provider is well again: it was tried as often as RETRY_SCHEDULE says.",
    _LOOK_TWICE: "Look whether it arrived, and resend it if it didn't.",
}
"""What to do where nothing comes next by itself any more."""

REPAIRS = {
    # ours
    "malformed_credential": "Copy the secret again, without blanks or line ends inside.",
    "bad_ca_bundle": "Name a readable file of certificates (PEM) in ALERTCTL_CA_BUNDLE, or leave it empty.",
    # Slack
    "not_authed": _COPY_TOKEN,
    "invalid_auth": _COPY_TOKEN,
    "not_allowed_token_type": _COPY_TOKEN,
    "token_revoked": _NEW_TOKEN,
    "token_expired": "Put a fresh token into SLACK_BOT_TOKEN, or switch token rotation off in the Slack app.",
    "account_inactive": _NEW_TOKEN,
    "missing_scope": f"Add the bot scope chat:write on {_SLACK_APP}, install the app again, and use its new token.",
    "access_denied": "Ask the workspace's owner to allow the app (and this machine's IP address).",
    "accesslimited": "Ask the workspace's owner to allow this machine's IP address.",
    "org_login_required": "Wait until Slack has moved the workspace to the organisation, then look again.",
    # email
    "not_configured": "Set SENDGRID_API_KEY, or SMTP_HOST and its like.",
    "unauthorized": "Create an API key with Mail Send at app.sendgrid.com (Settings, API Keys) for SENDGRID_API_KEY.",
    "530": "Set SMTP_USERNAME and SMTP_PASSWORD, and SMTP_SECURITY=starttls: the server wants both.",
    "534": "Create an app password at the mail provider and put it into SMTP_PASSWORD.",
    "535": "Put the right user name and password into SMTP_USERNAME and SMTP_PASSWORD (often an app password).",
    "538": "Set SMTP_SECURITY=starttls: the server takes a password only over TLS.",
    "auth_in_clear": "Set SMTP_SECURITY to starttls or tls: a password is never sent in clear.",
    "auth_unavailable": "Leave SMTP_USERNAME empty if that server needs no login, else use its submission port (587).",
    "starttls_unavailable": "Use the port that offers TLS (587, or 465 with SMTP_SECURITY=tls).",
}
"""What to do about settings that are wrong; `alertctl doctor` says the same."""

_NOT_THE_API = "Correct {setting} and HTTPS_PROXY: what answers there is something else."
BY_NETWORK = {
    "dns_failure": "Correct the host's name in {setting}, or this machine's DNS.",
    "dns_timeout": "Repair this machine's DNS: it doesn't answer.",
    "tls_untrusted": "Name a file with the issuer's certificate (PEM) in ALERTCTL_CA_BUNDLE, if {setting} is right.",
    "tls_wrong_host": "Put the host's name that is in the certificate into {setting}.",
    "tls_expired": "Renew the server's certificate, or set this machine's clock right.",
    "tls_not_spoken": "Correct {setting} or its port: what listens there doesn't speak TLS.",
    "proxy_auth": "Put the proxy's user name and password into HTTPS_PROXY.",
    "proxy_failed": "Correct HTTPS_PROXY, or name the host in NO_PROXY.",
    "no_reply": _NOT_THE_API,
    "bad_reply": _NOT_THE_API,
    "http_301": _NOT_THE_API,
    "http_302": _NOT_THE_API,
    "http_303": _NOT_THE_API,
    "http_307": _NOT_THE_API,
    "http_308": _NOT_THE_API,
    "http_404": _NOT_THE_API,
    "bad_url": "Correct the address in {setting}.",
    "bad_proxy_url": "Correct the address in HTTPS_PROXY.",
}
"""The same for the way there; `{setting}` is the variable that says where the provider is."""

MEANINGS = {
    # ours
    "interrupted": "the process that sent it died before it could write down how it went",
    "expired": "its event asked not to be sent after a time (--expires), and that time has passed",
    "local_error": "this machine failed: no file descriptors, memory, disk or ports left (see the attempt's answer)",
    "out_of_memory": "this machine had no memory left",
    "internal_error": "something went wrong inside the provider, or in alertctl itself (see the attempt's answer)",
    "unrenderable": "the event could not be made into a message",
    "unexpected": "alertctl did not expect what happened (see the attempt's answer)",
    "slack_disabled": "Slack was switched off when the event was published",
    "email_disabled": "email was switched off when the event was published",
    "malformed_credential": "the secret is not one: it has blanks or line ends inside",
    "not_configured": "there was neither a SendGrid key nor an SMTP host",
    "invalid_address": "the provider can't send to such an address",
    "batch_refused": "SendGrid refused the whole request because of another address in it",
    # the way there
    "dns_failure": "the provider's host name is not known here",
    "dns_timeout": "the DNS did not answer in time",
    "connection_refused": "nobody listens at the provider's address",
    "connection_reset": "the connection was cut",
    "connection_lost": "the connection was cut",
    "connect_timeout": "the provider's address did not answer in time",
    "timeout": "no answer came within the attempt's deadline (ALERTCTL_DEADLINE)",
    "endless_reply": "the answer did not end",
    "no_reply": "the connection was closed instead of an answer",
    "bad_reply": "what came back is no answer of that provider",
    "incomplete_reply": "the answer was cut off",
    "no_ts": "Slack said yes without naming a message",
    "no_message_id": "SendGrid said yes without naming a message",
    "network_error": "the network failed on the way",
    "unreachable": "there is no way from here to the provider's network",
    "unknown": "the provider named no error (see the attempt's answer)",
    "bad_request": "the request could not be written down",
    "closing": "the daemon was ending",
    "bad_url": "the provider's address in the settings is no address",
    "bad_proxy_url": "the proxy's address is no address",
    "bad_ca_bundle": "the file of trusted certificates can't be read",
    "proxy_failed": "the proxy did not pass it on",
    "proxy_auth": "the proxy wants a user name and a password",
    "tls_untrusted": "the server's certificate is signed by nobody whom this machine trusts",
    "tls_wrong_host": "the server's certificate is for another host",
    "tls_expired": "the server's certificate is over, or not valid yet",
    "tls_not_spoken": "what listens there does not speak TLS",
    "tls_failed": "the TLS connection could not be made",
    # Slack: who we are
    "not_authed": "no token was sent",
    "invalid_auth": "Slack does not know the token",
    "account_inactive": "the token belongs to a user or a workspace that is gone",
    "token_revoked": "the token was revoked",
    "token_expired": "the token's time is over",
    "not_allowed_token_type": "the token is of a kind that may not post",
    "missing_scope": "the token may not post: it lacks a scope",
    "no_permission": "the app may not post here",
    "access_denied": "the workspace denies the app access",
    "accesslimited": "the workspace does not take requests from this machine's address",
    "app_access_restricted": "the workspace restricts what the app may do",
    "enterprise_is_restricted": "the method is not allowed for a token of the whole organisation",
    "two_factor_setup_required": "the token's user has to set up two-factor login first",
    "send_on_behalf_not_allowed": "the app may not speak for somebody else",
    "as_user_not_supported": "posting as a user is not possible with this token",
    "is_bot": "a bot may not do this",
    "deprecated_endpoint": "Slack no longer offers this method at this address",
    "method_deprecated": "Slack no longer offers this method",
    "unknown_method": "what answers does not know chat.postMessage",
    # Slack: where to
    "channel_not_found": "there is no such channel, or it is private and the bot was not invited",
    "not_in_channel": "the bot is not a member of the channel",
    "is_archived": "the channel is archived",
    "team_not_found": "a channel's name is not enough with a token of an organisation",
    "restricted_action": "the workspace's settings don't let the bot post there",
    "restricted_action_read_only_channel": "only some members may post in that channel",
    "restricted_action_thread_only_channel": "that channel takes replies in threads only",
    "restricted_action_non_threadable_channel": "that channel takes no replies in threads",
    "restricted_action_thread_locked": "the thread is locked",
    "ekm_access_denied": "the workspace's admins have suspended posting there (enterprise key management)",
    "messages_tab_disabled": "the app's own message tab is switched off",
    "cannot_reply_to_message": "that message can't be replied to",
    "user_not_found": "there is no such user",
    "user_disabled": "that user is deactivated",
    "user_not_in_channel": "that user is not in the channel",
    "cannot_dm_bot": "a bot can't be written to",
    # Slack: what
    "invalid_blocks": "Slack dislikes the message's blocks",
    "invalid_blocks_format": "Slack dislikes the message's blocks",
    "msg_too_long": "the message is too long for Slack",
    "msg_blocks_too_long": "the message's blocks are too long for Slack",
    "no_text": "the message has no text",
    "attachment_payload_limit_exceeded": "the message's attachments are too large",
    "invalid_attachments": "Slack dislikes the message's attachments",
    "invalid_arguments": "Slack dislikes what the message was sent with",
    "invalid_arg_name": "Slack dislikes the name of something that the message was sent with",
    "invalid_array_arg": "Slack dislikes a list that the message was sent with",
    "invalid_charset": "Slack could not read the message's letters",
    "invalid_form_data": "Slack could not read the request",
    "invalid_post_type": "Slack could not read the request",
    "missing_post_type": "Slack could not read the request",
    "invalid_json": "Slack could not read the request",
    "json_not_object": "Slack could not read the request",
    "missing_file_data": "Slack misses a file that the message names",
    "invalid_metadata_format": "Slack dislikes the message's metadata",
    "invalid_metadata_schema": "Slack dislikes the message's metadata",
    "metadata_must_be_sent_from_app": "only an app's token may send the message's metadata",
    "markdown_text_conflict": "the message says its text in two ways at once",
    "slack_connect_canvas_sharing_blocked": "the workspace doesn't let a canvas be shared with other companies",
    "slack_connect_file_link_sharing_blocked": "the workspace doesn't let files be shared with other companies",
    "slack_connect_lists_sharing_blocked": "the workspace doesn't let lists be shared with other companies",
    "draft_not_found": "Slack took the message for a draft that it doesn't know",
    "draft_already_sent": "Slack took the message for a draft that was sent already",
    "draft_already_deleted": "Slack took the message for a draft that was deleted",
    "draft_has_conflict": "Slack took the message for a draft that was changed meanwhile",
    "duplicate_channel_not_found": "Slack took the message for another's repetition, in a channel that it doesn't know",
    "duplicate_message_not_found": "Slack took the message for the repetition of one that it doesn't know",
    "too_many_attachments": "the message has too many attachments",
    "too_many_contact_cards": "the message has too many contact cards",
    "metadata_too_large": "the message's metadata is too large",
    # Slack: when
    "ratelimited": "too many messages at once: Slack asked us to wait",
    "rate_limited": "too many messages at once: Slack asked us to wait",
    "message_limit_exceeded": "the workspace has used up its messages for now",
    "request_timeout": "Slack did not get the whole request in time",
    "service_unavailable": "Slack is out of service for the moment",
    "org_login_required": "the workspace is being moved to an organisation",
    "team_added_to_org": "the workspace is being moved to an organisation",
    "fatal_error": "something broke inside Slack, perhaps after it took the message",
    # SendGrid, SMTP
    "unauthorized": "the provider does not take our key (SendGrid: unknown, without Mail Send, or out of credits)",
    "forbidden": "the provider does not let us send (SendGrid: the sender isn't verified, or the key lacks Mail Send)",
    "smtp_error": "the mail server said something unexpected (see the attempt's answer)",
    "not_supported": "the mail server can't do what this message needs",
    "auth_in_clear": "the mail server wants the password in clear, and it is never sent so",
    "auth_unavailable": "the mail server offers no login",
    "starttls_unavailable": "the mail server offers no TLS, and nothing is sent in clear",
    "smtputf8_unsupported": "the address has letters that this mail server can't carry",
    "421": "the mail server is closing or overloaded",
    "450": "the mailbox is busy, or the server greylists senders that it doesn't know yet",
    "451": "the mail server had a problem of its own",
    "452": "the mail server is short of space",
    "454": "the mail server can't check logins or begin TLS right now",
    "530": "the mail server wants a login, or TLS first",
    "534": "the mail server wants a stronger login",
    "535": "the mail server does not take the user name and password",
    "538": "the mail server takes a password only over TLS",
    "550": "the mailbox does not exist, or the server refuses mail for it",
    "551": "the mailbox is not at this server",
    "552": "the mailbox is full",
    "553": "the mail server does not allow that address",
    "554": "the mail server refused the message",
}

_DO = {
    "interrupted": _LOOK_TWICE,
    "expired": "Nothing to do if it is of no use any more; alertctl log retry does not send what has expired.",
    "slack_disabled": "Set SLACK_ENABLED=true for events to come; this one stays held back until it is resent.",
    "email_disabled": "Set EMAIL_ENABLED=true for events to come; this one stays held back until it is resent.",
    "channel_not_found": "Invite the bot (/invite @its-name) or correct the channel's name or ID, then resend.",
    "not_in_channel": "Invite the bot into the channel (/invite @its-name), then resend.",
    "is_archived": _OTHER_CHANNEL,
    "team_not_found": "Use the channel's ID (C…) instead of its name.",
    "invalid_address": "Correct the address: the user's preferences, NOTIFICATION_ADMIN_EMAILS, or --to.",
    "550": "Correct the address, or ask its owner's postmaster; then resend.",
    "551": "Correct the address, then resend.",
    "552": "Ask the mailbox's owner to make room, then resend.",
    "553": "Correct the address, then resend.",
    "user_disabled": _OTHER_CHANNEL,
    "user_not_found": _OTHER_CHANNEL,
    "user_not_in_channel": _OTHER_CHANNEL,
    "cannot_dm_bot": _OTHER_CHANNEL,
    "cannot_reply_to_message": _OTHER_CHANNEL,
    "messages_tab_disabled": "Switch the Messages Tab on (api.slack.com/apps, App Home), then resend.",
    "restricted_action": _ASK_ADMIN,
    "restricted_action_read_only_channel": _ASK_ADMIN,
    "restricted_action_thread_only_channel": _OTHER_CHANNEL,
    "restricted_action_non_threadable_channel": _OTHER_CHANNEL,
    "restricted_action_thread_locked": _OTHER_CHANNEL,
    "ekm_access_denied": _ASK_ADMIN,
    "no_permission": _ASK_ADMIN,
    "app_access_restricted": _ASK_ADMIN,
    "enterprise_is_restricted": "Use the token of an app that is installed in one workspace, in SLACK_BOT_TOKEN.",
    "two_factor_setup_required": "Let the token's user set up two-factor login, or use a bot's token (xoxb-…).",
    "smtputf8_unsupported": "Use an address without such letters, or a mail server that speaks SMTPUTF8.",
    "forbidden": "Have EMAIL_FROM_ADDRESS verified by the provider, and the key allowed to send mail, then resend.",
    "unreachable": "Repair this machine's network or firewall, or set HTTPS_PROXY.",
    "connection_refused": "Correct {setting} and its port, unless the provider is just down.",
    "http_407": BY_NETWORK["proxy_auth"],
    "http_405": _NOT_THE_API,
    "http_410": _NOT_THE_API,
}

_BY_REASON = {
    "rate_limited": ("the provider asked us to wait", _WAIT),
    "unavailable": ("the provider surely didn't take it", _WAIT),
    "ambiguous": ("no verdict came back: it may have arrived", _LOOK_TWICE),
    "config": (
        "our credentials or settings are wrong: nothing passes until somebody repairs them",
        "Run alertctl doctor where the daemon runs, and repair what it names.",
    ),
    "local": (
        "this machine failed, not the provider: it is tried again",
        "Run alertctl doctor where the daemon runs, and repair what it names.",
    ),
    "bad_address": ("this address doesn't take it", "Correct the address, then resend."),
    "rejected": ("the provider dislikes the message itself", _REPORT),
    "expired": (MEANINGS["expired"], _DO["expired"]),
}
DUPLICATE = "duplicate of "
"""What an error begins with whose event repeated another one (`dedup_key`); the other's id follows."""
SETTINGS = {"slack": "SLACK_API_URL", "sendgrid": "SENDGRID_API_URL", "smtp": "SMTP_HOST"}
"""The variable that says where each provider is."""


def meaning(code: str, reason: str | None) -> str:
    """What an error means, without a full stop; of an unknown code what its reason says."""
    if code.startswith(DUPLICATE):
        return "an event with the same dedup_key reached this target, or was on its way to it, within the window"
    if reason == "expired" and code != "expired":
        return f"it expired while it waited (ALERTCTL_MAX_AGE, or --expires); before, {meaning(code, None)}"
    if code in MEANINGS:
        return MEANINGS[code]
    if reason in _BY_REASON:
        return _status(code) or _BY_REASON[reason][0]
    return "the provider's own word; alertctl knows no more about it"


def _status(code: str) -> str:
    """The meaning of a status that has no name here: `http_502`, or a mail server's `571`."""
    number = code.removeprefix("http_")
    if len(number) != 3 or not (number.isascii() and number.isdigit()):
        return ""
    if number == code:
        return f"the mail server {'put it off' if code < '500' else 'refused it'} (see the attempt's answer)"
    phrase = next((one.phrase for one in HTTPStatus if one.value == int(number)), "")
    return f"the provider answered with HTTP status {number}{phrase and f', {phrase}'}"


def remedy(code: str, reason: str | None, provider: str | None = None, *, final: bool = False) -> str:
    """What to do about it, a full sentence. `final`: nothing more happens by itself."""
    if code.startswith(DUPLICATE):
        earlier = code.removeprefix(DUPLICATE)
        return f"Nothing to do: see what became of the earlier one with alertctl log --event-id {earlier}."
    known = REPAIRS.get(code) or _DO.get(code) or BY_NETWORK.get(code)
    if known is None:
        known = _BY_REASON[reason][1] if reason in _BY_REASON else "See the attempt's answer below."
    if final:
        known = _FINAL.get(known, known)
    return known.format(setting=SETTINGS.get(provider or "", "the provider's address"))
