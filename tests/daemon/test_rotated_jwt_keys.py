"""The platform's JWT keys change in JWT_SECRET_FILE and JWT_PUBLIC_KEY_FILE: the daemon uses them without a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.waiting import wait_until

OLD_SECRET, NEW_SECRET = "the platform's old secret, 32 bytes", "the platform's new secret, 32 bytes"


def rsa_pair(bits: int = 2048) -> tuple[str, str]:
    """Return a new private and public key as PEM text."""
    key = rsa.generate_private_key(65537, bits)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def token(key: str, algorithm: str) -> str:
    return jwt.encode({"sub": "u-1", "role": "admin", "exp": int(time.time()) + 600}, key, algorithm)


def replace(file: Path, content: str) -> None:
    """Replace the file, as Kubernetes and Vault do."""
    new = file.with_name("new")
    new.write_text(f"{content}\n")
    new.replace(file)


def status(call: Any, daemon: Any, bearer: str) -> int:
    call.token = bearer
    answer: int = call(daemon, "GET", "delivery-log")[0]
    return answer


def publish(call: Any, daemon: Any, bearer: str) -> int:
    call.token = bearer
    answer: int = call(daemon, "POST", "events", {"event_type": "generic_alert", "title": "x", "to": ["slack:#ops"]})[0]
    return answer


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
def test_a_key_that_changes_in_its_file_verifies_the_next_token(
    serve: Any, call: Any, tmp_path: Path, algorithm: str
) -> None:
    file = tmp_path / "key"
    is_shared = algorithm == "HS256"
    (old, old_file), (new, new_file) = (
        ((OLD_SECRET, OLD_SECRET), (NEW_SECRET, NEW_SECRET)) if is_shared else (rsa_pair(), rsa_pair())
    )
    replace(file, old_file)
    daemon = serve(**{"JWT_SECRET_FILE" if is_shared else "JWT_PUBLIC_KEY_FILE": str(file)})
    assert (status(call, daemon, token(old, algorithm)), status(call, daemon, token(new, algorithm))) == (200, 401)
    assert publish(call, daemon, token(old, algorithm)) == 202
    replace(file, new_file)
    # Publishing remembers a token for some seconds.
    assert publish(call, daemon, token(old, algorithm)) == 401
    assert (status(call, daemon, token(old, algorithm)), status(call, daemon, token(new, algorithm))) == (401, 200)
    assert new not in "".join(daemon.log)


@pytest.mark.parametrize("unusable", ["", "short", "missing"])
def test_an_unusable_file_keeps_the_last_key_and_is_logged_once(
    serve: Any, call: Any, tmp_path: Path, unusable: str
) -> None:
    file = tmp_path / "key"
    replace(file, OLD_SECRET)
    daemon = serve(JWT_SECRET_FILE=str(file))
    assert status(call, daemon, token(OLD_SECRET, "HS256")) == 200
    file.unlink()
    if unusable != "missing":
        replace(file, unusable)
    assert [status(call, daemon, token(OLD_SECRET, "HS256")) for _ in range(3)] == [200] * 3
    wait_until(lambda: "JWT_SECRET_FILE" in "".join(daemon.log))
    assert "".join(daemon.log).count("JWT_SECRET_FILE") == 1


@pytest.mark.parametrize("content", ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "too short"])
def test_a_public_key_that_others_can_break_or_that_is_none_keeps_the_last_one(
    serve: Any, call: Any, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "key"
    private, public = rsa_pair()
    replace(file, public)
    daemon = serve(JWT_PUBLIC_KEY_FILE=str(file))
    assert status(call, daemon, token(private, "RS256")) == 200
    replace(file, rsa_pair(1024)[1] if content == "too short" else content)
    assert status(call, daemon, token(private, "RS256")) == 200
    wait_until(lambda: "the last secret stays in use" in "".join(daemon.log))
