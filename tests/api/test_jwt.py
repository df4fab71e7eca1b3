"""The platform's tokens (JWT): which are accepted, as whom, and which are not."""

from __future__ import annotations

import base64
import hmac
import http.server
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from alertctl import users
from alertctl.api.jwks import MAX_WAITING, KeySet
from alertctl.db import Store, upgrade
from alertctl.errors import ConfigError, NotAllowed, Unreachable
from tests.support.api_server import ROLES, ApiServer, running
from tests.support.cases import each
from tests.support.waiting import wait_until

SECRET = "a secret of the platform, 32 bytes or more"
EC = ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(_name: str = "ours") -> rsa.RSAPrivateKey:
    """Return the RSA key of this name. It takes 140 ms of CPU time, which no worker spends to collect the tests."""
    return rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**more: Any) -> dict[str, Any]:
    values = {"sub": "u-1", "email": "Pat@Corp.Example", "role": "admin", "exp": int(time.time()) + 600, **more}
    return {name: value for name, value in values.items() if value is not ...}


def shared(secret: str = SECRET, algorithm: str = "HS256", **more: Any) -> str:
    return jwt.encode(claims(**more), secret, algorithm)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: Any, payload: Any, key: bytes = b"") -> str:
    """A token made by hand, as an attacker would: signed with HMAC-SHA256 under `key`, or not at all."""
    body = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{body}.{b64(hmac.digest(key, body.encode(), 'sha256')) if key else ''}"


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def status(api: ApiServer, token: str, path: str = "/delivery-log") -> int:
    return api.ask("GET", path, by=token).status


STRICT = {"secret": SECRET, "issuer": "platform", "audience": "alertctl"}


@pytest.fixture
def shared_lab(store: Store) -> Iterator[ApiServer]:
    with running(store, jwt=STRICT) as api:
        yield api


@pytest.fixture(scope="module")
def claims_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with fresh(tmp_path_factory) as store, running(store, jwt=STRICT) as api:
        yield api


@pytest.fixture(scope="module")
def key_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    keys = {"public_key": pem(rsa_key()), "algorithms": ["RS256", "HS256", "ES256"]}
    with fresh(tmp_path_factory) as store, running(store, jwt=keys) as api:
        yield api


@contextmanager
def fresh(folders: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(f"sqlite:///{folders.mktemp('jwt') / 'alertctl.db'}")
    upgrade(store)
    yield store
    store.close()


@pytest.mark.postgres
def test_a_first_call_registers_the_user_with_the_tokens_email(shared_lab: ApiServer) -> None:
    token = shared(iss="platform", aud="alertctl")
    preferences = shared_lab.ask("GET", "/preferences", by=token).json
    with shared_lab.store.reading() as connection:
        user = users.find_user(connection, "pat@corp.example")
    assert (user.id, user.issuer, user.subject) == (preferences["user_id"], "platform", "u-1")
    assert status(shared_lab, token) == 200
    assert shared_lab.ask("GET", "/preferences", by=token).json == preferences


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, 200),
        ({"aud": ["other", "alertctl"]}, 200),
        ({"sub": 7}, 200),
        ({"iss": "other"}, 401),
        ({"iss": ...}, 401),
        ({"aud": "other"}, 401),
        ({"aud": ...}, 401),
        ({"exp": 1}, 401),
        ({"exp": ...}, 401),
        ({"exp": "soon"}, 401),
        ({"nbf": 2**40}, 401),
        ({"sub": ...}, 401),
        ({"sub": ""}, 401),
        ({"sub": "a\0b"}, 401),
        ({"sub": "x" * 256}, 401),
        ({"sub": True}, 401),
        ({"sub": ["a"]}, 401),
        ({"email": ...}, 200),
        ({"email": "no address"}, 200),
        ({"email": 7}, 200),
        ({"email_verified": False}, 200),
        ({"role": "viewer"}, 403),
        ({"role": "superuser"}, 403),
        ({"role": True}, 403),
        ({"role": {"admin": True}}, 403),
        ({"role": None}, 403),
        ({"role": ...}, 403),
        ({"role": "ADMIN"}, 200),
        ({"role": ["viewer", "admin"]}, 200),
        ({"role": ["authenticated", "Admin", 7, None]}, 200),
        ({"role": []}, 403),
    ],
)
def test_claims_decide_who_it_is_and_what_they_may(claims_lab: ApiServer, more: dict[str, Any], code: int) -> None:
    name = uuid4().hex
    values = {"iss": "platform", "aud": "alertctl", "sub": name, "email": f"{name}@corp.example", **more}
    assert status(claims_lab, shared(**values)) == code


def test_a_platforms_user_who_is_disabled_is_let_in_no_more(shared_lab: ApiServer) -> None:
    token = shared(iss="platform", aud="alertctl")
    event = {"event_type": "rollout_advance"}
    assert shared_lab.ask("POST", "/events", event, by=token).status == 202
    shared_lab.store.write(lambda it: users.change_user(it, "pat@corp.example", disabled=True))
    assert shared_lab.ask("POST", "/events", event, by=token).status == 401
    assert status(shared_lab, token) == 401
    assert status(shared_lab, shared(iss="platform", aud="alertctl", email="pat@new.example")) == 401
    assert shared_lab.user_id("pat@corp.example")


def me(api: ApiServer, **more: Any) -> dict[str, Any]:
    """Return the caller that a token with these claims identifies."""
    answer = api.ask("GET", "/me", by=shared(**{"iss": "platform", "aud": "alertctl", **more}))
    assert answer.status == 200, answer.body
    user: dict[str, Any] = answer.json
    return user


@pytest.mark.parametrize(
    "more",
    [
        *({"email_verified": value} for value in (..., True, False, "false", "true", None, 1)),
        {"email": "\u212aim@corp.example", "email_verified": True},
    ],
    ids=ascii,
)
def test_a_token_with_a_local_users_email_is_another_user(shared_lab: ApiServer, more: dict[str, Any]) -> None:
    email = "kim@corp.example"
    owners = shared_lab.token("kim", "admin")
    intruder = me(shared_lab, **{"email": email, "role": ..., **more})
    assert (intruder["id"] != shared_lab.user_id(email), intruder["role"]) == (True, "viewer")
    assert intruder["email"] in (None, "\u212aim@corp.example")
    assert shared_lab.ask("GET", "/me", by=owners).json["role"] == "admin"
    assert shared_lab.store.write(lambda it: users.find_user(it, email)).subject is None


def test_a_taken_email_is_logged_once_with_who_came_and_without_the_address(
    shared_lab: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert me(shared_lab, email="admin@corp.example")["email"] is None
    (line,) = [record.getMessage() for record in caplog.records if "another user" in record.getMessage()]
    assert "'u-1'" in line
    assert "'platform'" in line
    assert "@" not in line


def test_users_of_two_issuers_stay_two_where_none_is_configured(store: Store) -> None:
    with running(store, jwt={"secret": SECRET}) as api:
        user_ids = [me(api, iss=issuer, email=...)["id"] for issuer in ("a", "b", "", ..., "a")]
        assert len(set(user_ids)) == 3
        assert (user_ids[2], user_ids[0]) == (user_ids[3], user_ids[4])
        for issuer in (7, None, ["a"], "a\0b", "x" * 256):
            assert status(api, raw({"alg": "HS256"}, claims(iss=issuer), SECRET.encode())) == 401


def test_a_role_claim_counts_for_its_token_only(shared_lab: ApiServer) -> None:
    assert me(shared_lab, role="admin")["role"] == "admin"
    assert me(shared_lab, role=...)["role"] == "viewer"
    shared_lab.store.write(lambda it: users.change_user(it, "pat@corp.example", role="analyst"))
    assert me(shared_lab, role="admin")["role"] == "admin"
    assert me(shared_lab, role="viewer")["role"] == "viewer"
    for claim in (..., None, "authenticated", ["superuser"], []):
        assert me(shared_lab, role=claim)["role"] == "analyst"


@pytest.mark.parametrize(
    ("path", "claim"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["offline_access", "developer"]}}),
        ("app_metadata.role", {"app_metadata": {"role": "developer"}, "role": "authenticated"}),
        ("https://corp.example/roles", {"https://corp.example/roles": ["developer"]}),
        ("https://corp.example/claims.role", {"https://corp.example/claims": {"role": "developer"}}),
        ("a.b", {"a.b": "developer", "a": {"b": "admin"}}),
    ],
)
def test_a_role_is_read_at_a_dotted_path(store: Store, path: str, claim: dict[str, Any]) -> None:
    with running(store, jwt={"secret": SECRET, "role_claim": path}) as api:
        assert me(api, **claim)["role"] == "developer"
        for nothing in ({}, {"realm_access": "developer"}, {"app_metadata": ["developer"]}, {"a": {"b": {}}}):
            assert me(api, **nothing)["role"] == "viewer"


LINKING = {**STRICT, "link_by_email": True}


def test_a_verified_email_links_an_account_once_and_without_its_role(store: Store) -> None:
    with running(store, jwt=LINKING) as api:
        pat = api.token("pat", "admin")
        linked = me(api, role=..., email_verified=True)
        assert (linked["id"], linked["role"]) == (api.user_id("pat@corp.example"), "viewer")
        assert me(api, role="analyst")["role"] == "analyst"
        assert api.ask("GET", "/me", by=pat).json["role"] == "admin"
        assert me(api, sub="u-2", email_verified=True)["email"] is None


def test_a_first_login_of_many_calls_at_once_is_one_audit_line(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "alertctl.audit")
    with running(store, jwt=STRICT) as api, ThreadPoolExecutor(8) as threads:
        token = shared(iss="platform", aud="alertctl")
        answers = list(threads.map(lambda _: api.ask("GET", "/me", by=token).status, range(8)))
    lines = [record.getMessage() for record in caplog.records if record.name == "alertctl.audit"]
    assert (answers, len(lines)) == ([200] * 8, 1), lines


def test_what_a_jwt_changes_about_its_user_is_in_the_audit_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "alertctl.audit")
    with running(store, jwt=LINKING) as api:
        api.token("pat", "admin")
        me(api, email_verified=True)
        other = me(api, sub="u-2", email="new@corp.example")["id"]
        me(api, sub="u-2", email="newer@corp.example")
        me(api, sub="u-2", email="newer@corp.example")
        nobody = me(api, sub="u-3", email=...)["id"]
    lines = [record.getMessage() for record in caplog.records if record.name == "alertctl.audit"]
    assert other != nobody
    assert lines == [
        f"{line} (from 127.0.0.1)"
        for line in (
            "pat@corp.example was linked to the JWT user 'u-1' of issuer 'platform'",
            "new@corp.example was registered as the JWT user 'u-2' of issuer 'platform'",
            "newer@corp.example got this email address from their JWT",
            f"{nobody} was registered as the JWT user 'u-3' of issuer 'platform'",
        )
    ]


@pytest.mark.parametrize("verified", [..., False, "true", "false", 1, None, [True]])
def test_only_a_verified_email_links(store: Store, verified: Any) -> None:
    with running(store, jwt=LINKING) as api:
        api.token("pat", "admin")
        assert me(api, email_verified=verified)["id"] != api.user_id("pat@corp.example")


def test_an_address_that_is_not_the_email_claim_is_not_verified(store: Store) -> None:
    with running(store, jwt={**LINKING, "email_claim": "preferred_username"}) as api:
        api.token("pat", "admin")
        user = me(api, email="eve@corp.example", preferred_username="pat@corp.example", email_verified=True)
        assert user["id"] != api.user_id("pat@corp.example")


def test_a_changed_email_claim_changes_the_registered_email(shared_lab: ApiServer) -> None:
    first = me(shared_lab)
    assert me(shared_lab, email="Pat@New.Example") == {**first, "email": "pat@new.example"}
    assert me(shared_lab, email="no address")["email"] == "pat@new.example"
    assert me(shared_lab, email="eve@new.example", email_verified=False)["email"] == "pat@new.example"
    assert me(shared_lab, email="admin@corp.example")["email"] == "pat@new.example"


def test_a_user_without_an_email_publishes_and_gets_no_email_until_they_name_an_address(shared_lab: ApiServer) -> None:
    token = shared(iss="platform", aud="alertctl", email=...)
    event = {"event_type": "safety_rollback"}

    def recipients() -> set[str]:
        receipt = shared_lab.ask("POST", "/events", event, by=token).json
        return {item["to"] for item in receipt["deliveries"]} - {f"{role}@corp.example" for role in ROLES}

    assert recipients() == {"#platform-alerts", "ops@corp.example"}
    shared_lab.ask("PUT", "/preferences", {"email_address": "me@corp.example"}, by=token)
    assert recipients() == {"#platform-alerts", "ops@corp.example", "me@corp.example"}
    delivery = shared_lab.ask("GET", "/delivery-log?to=me@corp.example", by=token).json["items"][0]["id"]
    detail = shared_lab.ask("GET", f"/delivery-log/{delivery}", by=token).json
    user_id = me(shared_lab, email=...)["id"]
    assert (detail["user"], detail["event"]["published_by"]) == (user_id, user_id)


def test_an_unlinked_or_removed_user_is_registered_anew(shared_lab: ApiServer) -> None:
    first = me(shared_lab)
    assert shared_lab.ask("DELETE", "/admin/users/pat@corp.example/identity").json["subject"] is None
    second = me(shared_lab)
    assert (second["id"] != first["id"], second["email"]) == (True, None)
    assert shared_lab.ask("DELETE", f"/admin/users/{second['id']}").json["id"] == second["id"]
    assert me(shared_lab)["id"] not in (first["id"], second["id"])


def test_claim_names_and_leeway_are_settings(store: Store) -> None:
    names = {"user_claim": "uid", "email_claim": "mail", "role_claim": "grade", "leeway": 60}
    with running(store, jwt={"secret": SECRET, **names}) as api:
        now = int(time.time())
        assert status(api, shared(uid="z", mail="z@corp.example", grade="admin", exp=now - 30)) == 200
        assert status(api, shared()) == 401


def forged() -> list[tuple[str, str]]:
    """Tokens that must not pass where RSA's public key is known to everybody."""
    public, header, other_key = pem(rsa_key()), {"typ": "JWT"}, rsa_key("other")
    return [
        ("not signed", raw({"alg": "none"}, claims())),
        ("not signed, in capitals", raw({"alg": "NONE"}, claims())),
        ("signed with the public key as a secret", raw({"alg": "HS256"}, claims(), public.encode())),
        ("signed with an empty secret", raw({"alg": "HS256"}, claims(), b"\0")),
        ("another key", jwt.encode(claims(), other_key, "RS256")),
        ("another algorithm", jwt.encode(claims(), rsa_key(), "RS512")),
        ("another curve's key", jwt.encode(claims(), EC, "ES256")),
        (
            "its own key in the header",
            jwt.encode(claims(), other_key, "RS256", {"jwk": jwk(other_key, "x")}),
        ),
        ("no algorithm", raw(header, claims())),
        ("an algorithm that is a list", raw({"alg": ["RS256"]}, claims())),
        ("a number for a kid", raw({"alg": "RS256", "kid": 7}, claims())),
        ("not a token", "a.b.c"),
        ("two parts", "a.b"),
        ("a header nested deeply", f"{b64(b'[' * 9000)}.e30.x"),
        ("a header that is not an object", f"{b64(b'[]')}.e30.x"),
        ("too long", "x" * 20_000),
        ("a payload that is not an object", jwt.api_jws.encode(b"[]", rsa_key(), "RS256")),
    ]


@each(("name", "token"), forged)
def test_a_forged_token_is_401(key_lab: ApiServer, name: str, token: str) -> None:
    answer = key_lab.ask("GET", "/preferences", by=token)
    assert answer.status == 401, name
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_of_the_public_keys_owner_passes(key_lab: ApiServer) -> None:
    assert status(key_lab, jwt.encode(claims(), rsa_key(), "RS256")) == 200


def test_a_public_key_that_is_none_is_a_config_error(store: Store) -> None:
    broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    with pytest.raises(ConfigError, match="JWT_PUBLIC_KEY"), running(store, jwt={"public_key": broken}):
        pass


def test_a_key_set_in_a_file_serves_several_kinds_of_keys(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    shared_key = {"kty": "oct", "k": b64(SECRET.encode()), "kid": "o"}
    keys = [jwk(rsa_key(), "r"), jwk(EC, "e", alg="ES256"), jwk(rsa_key("other"), "enc", use="enc"), shared_key]
    path.write_text(json.dumps({"keys": keys}))
    with running(store, jwt={"jwks": str(path)}) as api:
        assert status(api, jwt.encode(claims(), rsa_key(), "RS256", {"kid": "r"})) == 200
        assert status(api, jwt.encode(claims(), EC, "ES256", {"kid": "e"})) == 200
        assert status(api, jwt.encode(claims(), rsa_key("other"), "RS256", {"kid": "enc"})) == 401
        assert status(api, jwt.encode(claims(), rsa_key(), "RS256", {"kid": "e"})) == 401
        assert status(api, jwt.encode(claims(), rsa_key(), "RS256")) == 401
        assert status(api, jwt.encode(claims(), SECRET, "HS256", {"kid": "o"})) == 401
        assert status(api, raw({"alg": "RS256", "kid": "o"}, claims(), SECRET.encode())) == 401


class _Keys(http.server.BaseHTTPRequestHandler):
    document, code, requests = b"", 200, 0
    wait = staticmethod(lambda timeout: True)

    def do_GET(self) -> None:
        type(self).requests += 1
        self.wait(20)
        self.send_response(self.code)
        self.end_headers()
        self.wfile.write(self.document)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def key_server() -> Iterator[tuple[type[_Keys], str]]:
    handler = type("Keys", (_Keys,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_key_set_at_a_url_is_fetched_once_and_again_for_unknown_keys_but_seldom(store: Store) -> None:
    with key_server() as (keys, url), running(store, jwt={"jwks": url}) as api:
        keys.document = json.dumps({"keys": [jwk(rsa_key(), "r")]}).encode()
        token = jwt.encode(claims(), rsa_key(), "RS256", {"kid": "r"})
        assert [status(api, token) for _ in range(3)] == [200] * 3
        assert keys.requests == 1
        tokens = [jwt.encode(claims(), rsa_key(), "RS256", {"kid": f"x{number}"}) for number in range(5)]
        assert [status(api, unknown) for unknown in tokens] == [401] * 5
        assert keys.requests == 1
        assert status(api, token) == 200


@pytest.mark.parametrize(("code", "document"), [(500, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": 1}')])
def test_a_key_set_that_can_not_be_read_is_503(store: Store, code: int, document: bytes) -> None:
    with key_server() as (keys, url), running(store, jwt={"jwks": url}) as api:
        keys.code, keys.document = code, document
        answer = api.ask("GET", "/preferences", by=jwt.encode(claims(), rsa_key(), "RS256", {"kid": "r"}))
        assert answer.status == 503
        assert "retry-after" in answer.headers


def test_without_a_key_no_jwt_is_accepted(api: ApiServer) -> None:
    answer = api.ask("GET", "/preferences", by=shared())
    assert answer.status == 401
    assert "JWT_" in answer.json["detail"]


def test_an_added_key_is_accepted_and_a_withdrawn_key_is_not() -> None:
    published = [jwk(rsa_key(), "old")]
    keys = KeySet(lambda: json.dumps({"keys": published}).encode(), pause=0)
    keys.key("old", "RS256")
    published[:] = [jwk(EC, "new")]
    keys.key("new", "ES256")
    with pytest.raises(NotAllowed):
        keys.key("old", "RS256")


def test_a_key_set_that_is_away_for_a_while_is_remembered() -> None:
    documents = iter([json.dumps({"keys": [jwk(rsa_key(), "r")]}).encode(), b"<html>"])
    keys = KeySet(lambda: next(documents), pause=0)
    keys.key("r", "RS256")
    with pytest.raises(Unreachable):
        keys.key("unknown", "RS256")
    keys.key("r", "RS256")


def test_calls_with_unknown_keys_at_a_key_server_that_hangs_delay_nobody_else(store: Store) -> None:
    answering = threading.Event()
    with key_server() as (keys, url), running(store, jwt={"jwks": url}) as api, ThreadPoolExecutor(60) as pool:
        keys.wait = staticmethod(answering.wait)
        keys.document = json.dumps({"keys": [jwk(rsa_key(), "r")]}).encode()
        token = jwt.encode(claims(), rsa_key(), "RS256", {"kid": "r"})
        calls = [pool.submit(api.ask, "GET", "/preferences", by=token) for _ in range(60)]
        wait_until(lambda: sum(call.done() for call in calls) == 60 - MAX_WAITING)
        assert api.call("GET", "/readyz").status == 200
        assert api.ask("GET", "/preferences").status == 200
        assert not all(call.done() for call in calls)
        answering.set()
        answers = [call.result(20) for call in calls]
    assert Counter(answer.status for answer in answers) == {503: 60 - MAX_WAITING, 200: MAX_WAITING}
    assert {answer.headers.get("retry-after") for answer in answers} == {"2", None}


def test_a_known_key_does_not_wait_while_an_old_set_is_read_again() -> None:
    document = json.dumps({"keys": [jwk(rsa_key(), "r")]}).encode()
    answer, requested = threading.Event(), threading.Event()
    answers = iter([lambda: True, lambda: requested.set() or answer.wait(20)])

    def fetch() -> bytes:
        assert next(answers)()
        return document

    keys = KeySet(fetch, pause=0, max_age=0)
    keys.key("r", "RS256")
    keys.key("r", "RS256")
    assert requested.wait(20)
    keys.key("r", "RS256")
    answer.set()


def test_calls_with_unknown_keys_share_one_reading_and_wait_for_it() -> None:
    document = json.dumps({"keys": [jwk(rsa_key(), "r")]}).encode()
    answer, readings = threading.Event(), []

    def fetch() -> bytes:
        readings.append(threading.current_thread())
        assert answer.wait(20)
        return document

    keys = KeySet(fetch)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(keys.key, "r", "RS256") for _ in range(8)]
        answer.set()
        assert all(call.result(20) for call in calls)
    assert len(readings) == 1


def test_a_key_set_that_can_not_be_read_is_not_asked_for_again_at_once() -> None:
    readings = []

    def fetch() -> bytes:
        readings.append(1)
        raise OSError("away")

    keys = KeySet(fetch)
    for number in range(5):
        with pytest.raises(Unreachable):
            keys.key(f"k{number}", "RS256")
    assert len(readings) == 1


def test_an_empty_key_set_withdraws_all_keys() -> None:
    documents = chain([json.dumps({"keys": [jwk(rsa_key(), "r")]}).encode()], repeat(b'{"keys": []}'))
    keys = KeySet(lambda: next(documents), pause=0)
    keys.key("r", "RS256")
    for kid in ("unknown", "r"):
        with pytest.raises(NotAllowed):
            keys.key(kid, "RS256")


@pytest.mark.parametrize("odd", [5, "key", {}, {"kty": "RSA"}, {"kty": "RSA", "kid": ["r"], "alg": {}}])
def test_an_odd_member_of_a_key_set_does_not_hide_the_good_ones(odd: Any) -> None:
    keys = KeySet(lambda: json.dumps({"keys": [odd, jwk(rsa_key(), "r")]}).encode())
    keys.key("r", "RS256")


def test_an_rsa_key_without_an_algorithm_is_for_every_rsa_algorithm() -> None:
    keys = KeySet(lambda: json.dumps({"keys": [jwk(rsa_key(), "any"), jwk(rsa_key(), "one", alg="RS512")]}).encode())
    for algorithm in ("RS256", "RS512", "PS384"):
        keys.key("any", algorithm)
    keys.key("one", "RS512")
    for algorithm in ("RS256", "PS512", "ES256"):
        with pytest.raises(NotAllowed):
            keys.key("one", algorithm)
