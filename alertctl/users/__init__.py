"""Who may do what: users, their roles, their tokens. A user is named by id or email."""

from alertctl.users.accounts import (
    EmailTaken,
    add_user,
    disable_user,
    enable_user,
    ensure_user,
    find_subject,
    find_user,
    list_users,
    set_role,
)
from alertctl.users.roles import Caller, Role, parse_role
from alertctl.users.tokens import (
    PREFIX,
    any_token,
    create_token,
    digest_of,
    list_tokens,
    revoke_token,
    still_allowed,
    touch,
    use_is_news,
    verify,
    verify_digest,
)

__all__ = [
    "PREFIX",
    "Caller",
    "EmailTaken",
    "Role",
    "add_user",
    "any_token",
    "create_token",
    "digest_of",
    "disable_user",
    "enable_user",
    "ensure_user",
    "find_subject",
    "find_user",
    "list_tokens",
    "list_users",
    "parse_role",
    "revoke_token",
    "set_role",
    "still_allowed",
    "touch",
    "use_is_news",
    "verify",
    "verify_digest",
]
