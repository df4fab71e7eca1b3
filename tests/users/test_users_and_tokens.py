"""Users, roles and tokens, on each database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, TypeVar

import pytest

from alertctl import preferences, users
from alertctl.addresses import address_key
from alertctl.db import Store
from alertctl.errors import InvalidEvent, NotAllowed, NotFound
from alertctl.users import Identity, JwtChange, JwtUser, Role
from alertctl.users.accounts import users as users_table

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


@pytest.mark.parametrize(("text", "hint"), [("develper", "did you mean developer"), ("root", "use viewer")])
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
    with pytest.raises(InvalidEvent, match="already registered"):
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
    assert users.hash_token(secret) in stored
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
    store.write(lambda it: users.add_user(it, "other@corp.example", "admin", clock()))
    store.write(lambda it: users.change_user(it, ADDRESS, role="viewer"))
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


def test_a_token_is_found_by_a_part_of_its_id_and_revoked_by_the_complete_one(store: Store, clock: Any) -> None:
    item, secret = made(store, clock)
    with pytest.raises(NotFound, match="only a part"):
        store.write(lambda it: users.revoke_token(it, item.id[-8:], clock()))
    token_id = read(store, users.find_token, item.id[-8:].upper())
    revoked = store.write(lambda it: users.revoke_token(it, token_id, clock()))
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
        read(store, users.find_token, first.id[:8])


def test_the_last_should_record_use_once_a_minute(store: Store, clock: Any) -> None:
    _, secret = made(store, clock)
    caller = read(store, users.verify, secret, clock())
    assert users.should_record_use(caller, clock())
    store.write(lambda it: users.touch(it, [(caller, clock())]))
    clock.advance(59)
    assert not users.should_record_use(read(store, users.verify, secret, clock()), clock())
    clock.advance(1)
    assert users.should_record_use(read(store, users.verify, secret, clock()), clock())


def test_a_disabled_user_is_let_in_again_when_enabled(store: Store, clock: Any) -> None:
    _, secret = made(store, clock)
    assert store.write(lambda it: users.change_user(it, ADDRESS, disabled=True)).disabled
    with pytest.raises(NotAllowed, match="disabled"):
        read(store, users.verify, secret, clock())
    store.write(lambda it: users.change_user(it, ADDRESS, disabled=False))
    assert read(store, users.verify, secret, clock()).role is Role.DEVELOPER


PAT = Identity("https://id.example", "u-1")


def login(
    store: Store, clock: Any, email: str | None = ADDRESS, identity: Identity = PAT, *, link: bool = False
) -> JwtUser:
    return store.write(lambda it: users.ensure_user(it, identity, email, clock(), link=link))[0]


def test_what_a_jwt_changes_about_its_user_is_returned_once(store: Store, clock: Any) -> None:
    def changes(email: str) -> list[JwtChange]:
        return store.write(lambda it: users.ensure_user(it, PAT, email, clock()))[1]

    assert (changes(ADDRESS), changes(ADDRESS)) == ([JwtChange.REGISTERED], [])
    with store.writing() as connection:
        connection.execute(users_table.update().where(users_table.c.subject == PAT.subject).values(issuer=None))
    new = "new@corp.example"
    assert (changes(new), changes(new)) == ([JwtChange.BOUND, JwtChange.EMAIL], [])


def test_a_disabled_user_without_an_issuer_keeps_the_email(store: Store, clock: Any) -> None:
    user = login(store, clock)
    store.write(lambda it: users.change_user(it, user.id, disabled=True))
    with store.writing() as connection:
        connection.execute(users_table.update().where(users_table.c.id == user.id).values(issuer=None))
    again, changes = store.write(lambda it: users.ensure_user(it, PAT, "new@corp.example", clock()))
    assert (again.email, again.disabled, changes) == (ADDRESS, True, [JwtChange.BOUND])


def role_of(store: Store, user: str) -> str:
    return read(store, users.find_user, user).role


def test_an_identity_is_registered_once_as_a_viewer(store: Store, clock: Any) -> None:
    first = login(store, clock)
    assert login(store, clock) == first
    assert (first.email, first.role) == (ADDRESS, Role.VIEWER)
    assert len(read(store, users.list_users)) == 1


def test_an_email_never_selects_another_user(store: Store, clock: Any) -> None:
    owner = store.write(lambda it: users.add_user(it, ADDRESS, "admin", clock()))
    newcomer = login(store, clock)
    assert (newcomer.email, newcomer.role) == (None, Role.VIEWER)
    assert read(store, users.find_user, ADDRESS) == owner
    assert login(store, clock) == newcomer


def test_a_kelvin_sign_is_no_k(store: Store, clock: Any) -> None:
    store.write(lambda it: users.add_user(it, "kim@corp.example", "admin", clock()))
    kelvin = address_key("email", "\u212aIM@Corp.Example")
    assert kelvin == "\u212aim@corp.example"
    newcomer = login(store, clock, kelvin, link=True)
    assert (newcomer.email, newcomer.role) == (kelvin, Role.VIEWER)
    with pytest.raises(NotFound):
        read(store, users.find_user, "\u212aim@corp.exampl")
    assert read(store, users.find_user, "KIM@corp.example").role == "admin"
    assert read(store, users.find_user, kelvin).id == newcomer.id


def test_the_same_subject_of_two_issuers_is_two_users(store: Store, clock: Any) -> None:
    others = (Identity("https://other.example", "u-1"), Identity("", "u-1"))
    user_ids = [login(store, clock, None, identity).id for identity in (PAT, *others)]
    assert len(set(user_ids)) == 3
    assert [login(store, clock, None, identity).id for identity in (PAT, *others)] == user_ids


def test_a_subject_that_was_recorded_before_issuers_is_bound_at_its_first_login(store: Store, clock: Any) -> None:
    old = store.write(lambda it: users.add_user(it, ADDRESS, "analyst", clock()))
    store.write(lambda it: it.exec_driver_sql("UPDATE users SET subject = 'u-1'"))
    bound = login(store, clock)
    assert (bound.id, bound.role) == (old.id, Role.ANALYST)
    other = login(store, clock, identity=Identity("https://other.example", "u-1"))
    assert (other.id != old.id, other.email) == (True, None)


def test_two_first_logins_at_once_make_one_user(store: Store, clock: Any) -> None:
    both = Barrier(2)

    def first_login(_: int) -> JwtUser:
        both.wait(10)
        return login(store, clock)

    for attempt in range(10):
        with ThreadPoolExecutor(2) as pool:
            user_ids = list(pool.map(first_login, range(2)))
        assert (user_ids[0], len(read(store, users.list_users))) == (user_ids[1], 1), attempt
        store.write(lambda it: users.remove_user(it, ADDRESS))


def test_a_changed_email_is_registered_unless_another_user_has_it(store: Store, clock: Any) -> None:
    first = login(store, clock)
    assert login(store, clock, "pat@new.example").email == "pat@new.example"
    store.write(lambda it: users.add_user(it, ADDRESS, "viewer", clock()))
    kept = login(store, clock)
    assert (kept.id, kept.email) == (first.id, "pat@new.example")
    assert login(store, clock, None) == kept
    store.write(lambda it: users.change_user(it, ADDRESS, email="moved@corp.example"))
    assert login(store, clock).email == ADDRESS


def test_linking_gives_an_account_without_identity_but_not_its_role(store: Store, clock: Any) -> None:
    _, secret = made(store, clock, "admin")
    account = read(store, users.find_user, ADDRESS)
    linked = login(store, clock, link=True)
    assert (linked.id, linked.role) == (account.id, Role.VIEWER)
    assert login(store, clock, link=True) == linked
    assert read(store, users.verify, secret, clock()).role is Role.ADMIN
    another = login(store, clock, identity=Identity("https://id.example", "u-2"), link=True)
    assert (another.id != account.id, another.email) == (True, None)


def test_a_role_that_is_set_after_linking_counts(store: Store, clock: Any) -> None:
    made(store, clock, "developer")
    login(store, clock, link=True)
    store.write(lambda it: users.change_user(it, ADDRESS, role="analyst"))
    assert login(store, clock, link=True).role is Role.ANALYST


def test_linking_needs_an_email(store: Store, clock: Any) -> None:
    nameless = login(store, clock, None)
    store.write(lambda it: users.unlink_user(it, nameless.id))
    assert login(store, clock, None, link=True).id != nameless.id


def test_a_disabled_account_that_is_linked_stays_disabled(store: Store, clock: Any) -> None:
    store.write(lambda it: users.add_user(it, ADDRESS, "developer", clock()))
    store.write(lambda it: users.change_user(it, ADDRESS, disabled=True))
    assert login(store, clock, link=True).disabled


def test_an_unlinked_user_is_another_one_at_the_next_login(store: Store, clock: Any) -> None:
    first = login(store, clock)
    unlinked = store.write(lambda it: users.unlink_user(it, ADDRESS))
    assert (unlinked.id, unlinked.issuer, unlinked.subject) == (first.id, None, None)
    again = login(store, clock)
    assert (again.id != first.id, again.email) == (True, None)


def test_an_email_is_changed_once_and_never_to_another_users(store: Store, clock: Any) -> None:
    store.write(lambda it: users.add_user(it, "ops@corp.example", "viewer", clock()))
    store.write(lambda it: users.add_user(it, ADDRESS, "viewer", clock()))
    with pytest.raises(users.EmailTaken):
        store.write(lambda it: users.change_user(it, ADDRESS, email="OPS@corp.example"))
    with pytest.raises(InvalidEvent, match="not a single email address"):
        store.write(lambda it: users.change_user(it, ADDRESS, email="nobody"))
    assert store.write(lambda it: users.change_user(it, ADDRESS, email=ADDRESS.upper())).email == ADDRESS
    assert store.write(lambda it: users.change_user(it, ADDRESS, email="New@corp.example")).email == "new@corp.example"


def test_a_removed_user_goes_with_preferences_and_tokens(store: Store, clock: Any) -> None:
    _, secret = made(store, clock)
    someone = read(store, users.find_user, ADDRESS)
    changes = {"slack_channel": "#dev", "notify_on_rollout_advance": True}
    store.write(lambda it: preferences.update(it, someone.id, changes, clock()))
    assert store.write(lambda it: users.remove_user(it, ADDRESS)) == someone
    with pytest.raises(NotFound):
        read(store, users.find_user, ADDRESS)
    with pytest.raises(NotAllowed):
        read(store, users.verify, secret, clock())
    with store.reading() as connection:
        for table in ("token", "preference", "event_preference"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_the_last_admin_can_not_be_removed(store: Store, clock: Any) -> None:
    for name, role in (("a", "admin"), ("b", "admin"), ("c", "admin"), ("d", "developer")):
        store.write(lambda it, name=name, role=role: users.add_user(it, f"{name}@corp.example", role, clock()))
    store.write(lambda it: users.change_user(it, "c@corp.example", disabled=True))
    store.write(lambda it: users.remove_user(it, "b@corp.example"))
    with pytest.raises(InvalidEvent, match=r"a@corp.example is the last admin"):
        store.write(lambda it: users.remove_user(it, "a@corp.example"))
    for name in ("c", "d"):
        store.write(lambda it, name=name: users.remove_user(it, f"{name}@corp.example"))
    assert [item.email for item in read(store, users.list_users)] == ["a@corp.example"]


def test_of_two_admins_removed_at_once_one_stays(store: Store, clock: Any) -> None:
    both = Barrier(2)

    def remove(name: str) -> bool:
        both.wait(10)
        try:
            store.write(lambda it: users.remove_user(it, name))
        except InvalidEvent:
            return False
        return True

    for _ in range(10):
        names = [
            store.write(lambda it, n=n: users.add_user(it, f"{n}@corp.example", "admin", clock())).id for n in "ab"
        ]
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(remove, names)) == [False, True]
        store.write(lambda it: it.exec_driver_sql("DELETE FROM users"))


def test_users_without_an_email_are_listed_by_id(store: Store, clock: Any) -> None:
    ids = [login(store, clock, None, Identity("", f"u-{number}")).id for number in range(3)]
    store.write(lambda it: users.add_user(it, ADDRESS, "viewer", clock()))
    names, after = [], ""
    while page := read(store, lambda it, after: users.list_users(it, after=after, limit=2), after):
        names += [item.name for item in page]
        after = names[-1]
    assert sorted(names) == sorted([*ids, ADDRESS])
    assert names == [item.name for item in read(store, users.list_users)]


def test_a_token_of_a_user_without_an_email_names_their_id(store: Store, clock: Any) -> None:
    user = login(store, clock, None)
    item, secret = store.write(lambda it: users.create_token(it, user.id, "viewer", None, clock()))
    assert item.user == user.id
    assert read(store, users.verify, secret, clock()).name == user.id


@pytest.mark.parametrize("change", [{"role": "developer"}, {"disabled": True}, {"role": "viewer", "disabled": True}])
def test_the_last_admin_is_neither_demoted_nor_disabled(store: Store, clock: Any, change: dict[str, Any]) -> None:
    store.write(lambda it: users.add_user(it, ADDRESS, "admin", clock()))
    with pytest.raises(InvalidEvent, match="the last admin"):
        store.write(lambda it: users.change_user(it, ADDRESS, **change))
    store.write(lambda it: users.change_user(it, ADDRESS, role="admin", disabled=False, email="new@corp.example"))
    store.write(lambda it: users.add_user(it, "other@corp.example", "admin", clock()))
    assert store.write(lambda it: users.change_user(it, "new@corp.example", **change))


def test_a_token_with_the_scope_publish_belongs_to_a_developer(store: Store, clock: Any) -> None:
    item, secret = store.write(lambda it: users.create_token(it, ADDRESS, None, None, clock(), scope="publish"))
    assert (item.role, item.scope) == ("developer", "publish")
    assert read(store, users.list_tokens) == [item]
    caller = read(store, users.verify, secret, clock())
    assert (caller.role, caller.scope) == (Role.DEVELOPER, "publish")
    store.write(lambda it: users.change_user(it, ADDRESS, role="viewer"))
    assert read(store, users.verify, secret, clock()).role is Role.VIEWER


@pytest.mark.parametrize(("role", "scope"), [(None, None), ("developer", "publish"), (None, "all")])
def test_a_token_has_either_a_role_or_a_known_scope(store: Store, clock: Any, role: Any, scope: Any) -> None:
    with pytest.raises(InvalidEvent):
        store.write(lambda it: users.create_token(it, ADDRESS, role, None, clock(), scope=scope))
