"""Users, their roles and their tokens. A user is named by id or email."""

from alertctl.users.accounts import (
    EmailTaken,
    add_user,
    change_user,
    find_user,
    list_users,
    names,
    remove_user,
    unlink_user,
)
from alertctl.users.identities import Identity, JwtUser, ensure_user, find_identity, is_email_free
from alertctl.users.roles import PUBLISH, Caller, Role, parse_role
from alertctl.users.tokens import (
    PREFIX,
    any_token,
    create_token,
    find_token,
    hash_token,
    list_tokens,
    owner_of_token_hash,
    revoke_token,
    should_record_use,
    still_allowed,
    touch,
    verify,
)
