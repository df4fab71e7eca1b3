"""Every code that Slack documents for chat.postMessage is in the table, and an undocumented one is final."""

from __future__ import annotations

import pytest

from alertctl.channels.slack.errors import clean_code, slack_reason
from alertctl.error_codes import SLACK_CODES
from alertctl.errors import DeliveryError, Reason
from alertctl.sandbox import Sandbox
from tests.support.cases import each
from tests.support.providers import harnesses

DOCUMENTED = """
access_denied accesslimited account_inactive app_access_restricted as_user_not_supported
attachment_payload_limit_exceeded cannot_reply_to_message channel_not_found deprecated_endpoint
draft_already_deleted draft_already_sent draft_has_conflict draft_not_found duplicate_channel_not_found
duplicate_message_not_found ekm_access_denied enterprise_is_restricted fatal_error invalid_arg_name
invalid_array_arg invalid_blocks invalid_blocks_format invalid_charset invalid_form_data
invalid_metadata_format invalid_metadata_schema invalid_post_type is_archived is_bot markdown_text_conflict
message_limit_exceeded messages_tab_disabled metadata_must_be_sent_from_app metadata_too_large
method_deprecated missing_file_data missing_post_type missing_scope msg_blocks_too_long no_permission no_text
not_allowed_token_type not_authed not_in_channel org_login_required rate_limited ratelimited request_timeout
restricted_action restricted_action_non_threadable_channel restricted_action_read_only_channel
restricted_action_thread_locked restricted_action_thread_only_channel send_on_behalf_not_allowed
service_unavailable slack_connect_canvas_sharing_blocked slack_connect_file_link_sharing_blocked
slack_connect_lists_sharing_blocked team_added_to_org team_not_found token_expired token_revoked
too_many_attachments too_many_contact_cards two_factor_setup_required unknown_method
"""
"""From https://docs.slack.dev/reference/methods/chat.postMessage, as collected in slack-ruby/slack-api-ref."""

NAMED_BY_THE_DESIGN = {
    Reason.CONFIG: "not_authed invalid_auth account_inactive token_revoked token_expired missing_scope no_permission",
    Reason.BAD_ADDRESS: "channel_not_found not_in_channel is_archived restricted_action",
    Reason.REJECTED: "no_text msg_too_long msg_blocks_too_long invalid_blocks",
    Reason.RATE_LIMITED: "ratelimited rate_limited",
    Reason.UNAVAILABLE: "service_unavailable internal_error request_timeout",
    Reason.AMBIGUOUS: "fatal_error",
}


@each("code", DOCUMENTED.split())
def test_a_documented_code_is_in_the_table(sandbox: Sandbox, code: str) -> None:
    sandbox.slack.faults.always(f"slack:{code}")
    result = harnesses(sandbox)["slack"].send()
    assert isinstance(result, DeliveryError)
    assert (result.reason, result.code) in {(entry.reason, entry.code) for entry in SLACK_CODES}
    assert result.code == code


@each(("code", "reason"), [(code, reason) for reason, codes in NAMED_BY_THE_DESIGN.items() for code in codes.split()])
def test_the_codes_that_the_design_names_are_sorted_as_it_says(code: str, reason: Reason) -> None:
    assert slack_reason(code) is reason


def test_an_unknown_code_is_judged_by_the_status_and_final_with_200() -> None:
    assert slack_reason("never_seen") is Reason.REJECTED
    assert slack_reason("never_seen", 403) is Reason.CONFIG
    assert slack_reason("never_seen", 408) is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("never_seen", "never_seen"),
        ("two words\n\x1b[31m", "two_words_[31m"),
        ("x" * 300, "x" * 100),
        ("", ""),
        (None, ""),
        ({"a": 1}, ""),
        ("\u2028", ""),
    ],
)
def test_a_code_is_kept_verbatim_but_printable_and_short(code: object, shown: str) -> None:
    assert clean_code(code) == shown
