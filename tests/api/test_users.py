"""Users, roles and tokens, on each database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from alertctl import users
from alertctl.errors import InvalidEvent, NotAllowed, NotFound
from alertctl.store import Store
from alertctl.users import Role

T = TypeVar("T")
ADDRESS = "dev@corp.example"


def made(store: Store, clock: Any, role: str = "developer", expires: timedelta | None = None) -> tuple[Any, str]:
    return store.write(lambda it: users.create_token(it, ADDRESS, role, expires, clock()))


def read(store: Store, work: Callable[..., T], *more: Any) -> T:
    with store.reading() as connection:
        return work(connection, *more)


def test_roles_are_ordered() -> None:
    assert [role.value for role in sorted(Role, key=lambda role: role.rank)] == [
        *("viewer", "analyst", "developer", "admin")
    ]
    assert Role.DEVELOPER.reaches(Role.ANALYST)
    assert not Role.ANALYST.reaches(Role.DEVELOPER)


@pytest.mark.parametrize(("text", "hint"), [("develper", "did you mean developer"), ("root", "one of viewer")])
def test_an_unknown_role_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(InvalidEvent, match=hint):
        users.parse_role(text)


def test_a_user_is_named_by_id_or_by_email_in_any_case(store: Store, clock: Any) -> None:
    added = store.write(lambda it: users.add_user(it, " Dev@Corp.Example ", "Analyst", clock()))
    assert (added.email, added.role) == (ADDRESS, "analyst")
    for name in (added.id, ADDRESS, "DEV@corp.example"):
        assert read(store, users.find_user, name) == added


@pytest.mark.parametrize("name", ["", "  ", "nobody@corp.example", "a\0b", "%"])
def test_an_unknown_user_is_not_found(store: Store, name: str) -> None:
    with pytest.raises(NotFound):
        read(store, users.find_user, name)


def test_an_email_is_registered_once(store: Store, clock: Any) -> None:
    store.write(lambda it: users.add_user(it, ADDRESS, "viewer", clock()))
    with pytest.raises(InvalidEvent, match="registered already"):
        store.write(lambda it: users.add_user(it, ADDRESS.upper(), "admin", clock()))
    assert [user.role for user in read(store, users.list_users)] == ["viewer"]


def test_users_whose_addresses_only_look_alike_are_two(store: Store, clock: Any) -> None:
    looks = [
        "weiß@x.example",
        "weiss@x.example",
        "kai@x.example",
        "\u212aai@x.example",
        "a@faß.example",
        "a@fass.example",
    ]
    for email in looks:
        store.write(lambda it, email=email: users.add_user(it, email, "viewer", clock()))
    with store.reading() as connection:
        ids = {users.find_user(connection, email).id for email in looks}
    assert len(ids) == len(looks)


def test_a_token_is_only_stored_as_a_hash(store: Store, clock: Any) -> None:
    item, secret = made(store, clock)
    assert secret.startswith("actl_")
    assert len(secret) >= 37
    with store.reading() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM token").all())
    assert secret not in stored
    assert users.digest_of(secret) in stored
    assert secret.endswith(item.hint)


def test_a_token_makes_its_user_who_then_has_its_role(store: Store, clock: Any) -> None:
    made(store, clock, "analyst")
    assert read(store, users.find_user, ADDRESS).role == "analyst"


def test_a_token_above_its_users_role_is_refused_and_says_how_to_raise_it(store: Store, clock: Any) -> None:
    made(store, clock, "viewer")
    with pytest.raises(InvalidEvent, match=f"user set-role {ADDRESS} admin") as caught:
        made(store, clock, "admin")
    assert caught.value.field == "role"


def test_a_token_for_an_id_that_nobody_has_is_not_found(store: Store, clock: Any) -> None:
    with pytest.raises(NotFound):
        store.write(lambda it: users.create_token(it, "no-such-id", "viewer", None, clock()))


def test_a_token_of_a_user_who_was_demoted_does_no_more_than_they_may(store: Store, clock: Any) -> None:
    _, secret = made(store, clock, "admin")
    store.write(lambda it: users.set_role(it, ADDRESS, "viewer"))
    assert read(store, users.verify, secret, clock()).role is Role.VIEWER


def test_a_token_ends_when_it_expires(store: Store, clock: Any) -> None:
    _, secret = made(store, clock, expires=timedelta(days=90))
    clock.advance(90 * 86_400 - 1)
    assert read(store, users.verify, secret, clock()).email == ADDRESS
    assert read(store, users.any_token, clock())
    clock.advance(1)
    with pytest.raises(NotAllowed, match="expired"):
        read(store, users.verify, secret, clock())
    assert not read(store, users.any_token, clock())


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(seconds=-1), timedelta(days=40_000)])
def test_an_expiry_that_makes_no_sense_is_refused(store: Store, clock: Any, expires: timedelta) -> None:
    with pytest.raises(InvalidEvent, match="expires"):
        made(store, clock, expires=expires)


def test_a_token_is_revoked_by_a_part_of_its_id(store: Store, clock: Any) -> None:
    item, secret = made(store, clock)
    revoked = store.write(lambda it: users.revoke_token(it, item.id[-8:].upper(), clock()))
    assert (revoked.id, revoked.revoked_at) == (item.id, clock())
    with pytest.raises(NotAllowed, match="revoked"):
        read(store, users.verify, secret, clock())
    clock.advance(60)
    again = store.write(lambda it: users.revoke_token(it, item.id, clock()))
    assert again.revoked_at == revoked.revoked_at


@pytest.mark.parametrize("part", ["", "zz", "%", "_", "0" * 40, "ffffffff-ffff"])
def test_an_id_part_that_fits_no_token_is_not_found(store: Store, clock: Any, part: str) -> None:
    made(store, clock)
    with pytest.raises(NotFound):
        store.write(lambda it: users.revoke_token(it, part, clock()))


def test_an_id_part_that_fits_two_tokens_is_refused(store: Store, clock: Any) -> None:
    first, _ = made(store, clock)
    made(store, clock)
    with pytest.raises(NotFound, match="more than one"):
        store.write(lambda it: users.revoke_token(it, first.id[:8], clock()))


def test_the_last_use_is_news_once_a_minute(store: Store, clock: Any) -> None:
    _, secret = made(store, clock)
    caller = read(store, users.verify, secret, clock())
    assert users.use_is_news(caller, clock())
    store.submit(users.touch, (caller, clock()))
    clock.advance(59)
    assert not users.use_is_news(read(store, users.verify, secret, clock()), clock())
    clock.advance(1)
    assert users.use_is_news(read(store, users.verify, secret, clock()), clock())


def test_a_disabled_user_is_let_in_again_when_enabled(store: Store, clock: Any) -> None:
    _, secret = made(store, clock)
    assert store.write(lambda it: users.disable_user(it, ADDRESS)).disabled
    with pytest.raises(NotAllowed, match="disabled"):
        read(store, users.verify, secret, clock())
    store.write(lambda it: users.enable_user(it, ADDRESS))
    assert read(store, users.verify, secret, clock()).role is Role.DEVELOPER


def test_a_platforms_user_is_registered_once_and_keeps_their_row(store: Store, clock: Any) -> None:
    first = store.write(lambda it: users.ensure_user(it, "u-1", "Pat@Corp.Example", Role.ANALYST, clock()))
    again = store.write(lambda it: users.ensure_user(it, "u-1", "pat@new.example", None, clock()))
    assert first == again
    assert (first.email, first.role) == ("pat@corp.example", "analyst")


def test_a_platforms_user_who_was_added_by_email_is_the_same_person(store: Store, clock: Any) -> None:
    added = store.write(lambda it: users.add_user(it, ADDRESS, "developer", clock()))
    found = store.write(lambda it: users.ensure_user(it, "u-1", ADDRESS, None, clock()))
    assert (found.id, found.role) == (added.id, "developer")


def test_a_platforms_user_can_not_take_over_anothers_address(store: Store, clock: Any) -> None:
    store.write(lambda it: users.ensure_user(it, "u-1", ADDRESS, None, clock()))
    with pytest.raises(users.EmailTaken):
        store.write(lambda it: users.ensure_user(it, "u-2", ADDRESS, Role.ADMIN, clock()))
