"""Slack's words for what went wrong with chat.postMessage, sorted by what comes next.

The documented codes are those of https://docs.slack.dev/reference/methods/chat.postMessage (as of 2026-08-20);
those marked so below are documented for other methods, or were seen in the wild.
"""

from __future__ import annotations

import re

from alertctl.channels.http_errors import status_reason
from alertctl.errors import Reason


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONFIG = _codes(
    """
    access_denied accesslimited account_inactive app_access_restricted as_user_not_supported
    deprecated_endpoint enterprise_is_restricted invalid_auth is_bot method_deprecated missing_scope
    no_permission not_allowed_token_type not_authed send_on_behalf_not_allowed token_expired token_revoked
    two_factor_setup_required unknown_method
    """
)
"""The token or the app is at fault: nothing passes until a person acts."""

BAD_ADDRESS = _codes(
    """
    cannot_reply_to_message channel_not_found ekm_access_denied is_archived messages_tab_disabled
    not_in_channel restricted_action restricted_action_non_threadable_channel
    restricted_action_read_only_channel restricted_action_thread_locked restricted_action_thread_only_channel
    team_not_found user_not_found cannot_dm_bot user_disabled user_not_in_channel
    """
)
"""This channel takes nothing from us. `team_not_found`: a channel's name where a token of an organisation needs its ID.
The four about users: conversations.open, for addresses that are people."""

REJECTED = _codes(
    """
    attachment_payload_limit_exceeded draft_already_deleted draft_already_sent draft_has_conflict
    draft_not_found duplicate_channel_not_found duplicate_message_not_found invalid_arg_name invalid_array_arg
    invalid_blocks invalid_blocks_format invalid_charset invalid_form_data invalid_metadata_format
    invalid_metadata_schema invalid_post_type markdown_text_conflict metadata_must_be_sent_from_app
    metadata_too_large missing_file_data missing_post_type msg_blocks_too_long no_text
    slack_connect_canvas_sharing_blocked slack_connect_file_link_sharing_blocked
    slack_connect_lists_sharing_blocked too_many_attachments too_many_contact_cards invalid_arguments
    invalid_attachments invalid_json json_not_object msg_too_long
    """
)
"""This message is at fault. The last five: common errors of the Web API, not listed for chat.postMessage."""

RATE_LIMITED = _codes(
    """
    message_limit_exceeded rate_limited ratelimited
    """
)
"""Too much at once."""

UNAVAILABLE = _codes(
    """
    internal_error org_login_required request_timeout service_unavailable team_added_to_org
    """
)
"""Not now. `internal_error` is a common error of the Web API; the two about an organisation are migrations that end.
`request_timeout`: the POST data was missing or cut, so nobody acted on it."""

AMBIGUOUS = frozenset({"fatal_error"})
"""Slack itself: "it's possible some aspect of the operation succeeded before the error was raised"."""

WHOLE_PROVIDER = frozenset({"message_limit_exceeded"})
"""Limits of the workspace. Slack's 429 counts messages per channel ("1 per second per channel"), so `ratelimited`
and `rate_limited` pause one address; should the whole app's limit be what was hit, each address finds out by itself."""

TABLE: dict[str, Reason] = {
    code: reason
    for reason, codes in (
        (Reason.CONFIG, CONFIG),
        (Reason.BAD_ADDRESS, BAD_ADDRESS),
        (Reason.REJECTED, REJECTED),
        (Reason.RATE_LIMITED, RATE_LIMITED),
        (Reason.UNAVAILABLE, UNAVAILABLE),
        (Reason.AMBIGUOUS, AMBIGUOUS),
    )
    for code in codes
}

_NOT_OF_A_CODE = re.compile(r"[^\x21-\x7e]+")


def slack_reason(code: str, status: int = 200) -> Reason:
    """What comes next. A code we don't know is judged by the HTTP status; with 200 it is REJECTED, so it gets the one
    more try as plain text that every rejected message gets, and is final then."""
    return TABLE.get(code) or (Reason.REJECTED if status == 200 else status_reason(status))


def cleaned_code(code: object) -> str:
    """Slack's word as the log shows it: verbatim, but printable and at most 100 characters."""
    return _NOT_OF_A_CODE.sub("_", code).strip("_")[:100] if isinstance(code, str) else ""
