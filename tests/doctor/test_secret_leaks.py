"""No secret is in the output of failing sends and the doctor, with every logger at DEBUG."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import cli_process
from tests.support.doctor_with_faults import SECRETS, USER

ROOT = Path(__file__).parents[2]
FAULTS = {
    "sendgrid": (
        *("ok", "ECHO", "http_401", "html_200", "rst", "redirect_307:http://127.0.0.1:9/"),
        *("http_403", "http_503", "429:abc", "invalid_utf8", "half_headers", "close_after_request", "short_body"),
    ),
    "smtp": (
        *("ok", "ECHO", "auth_535", "greeting_garbage", "mail_550", "dot_554"),
        *("auth_454", "greeting_554", "ehlo_refused", "rcpt_550", "dot_451", "close_after_dot", "rst"),
    ),
}
FREQUENT = 6
"""So many of each provider's faults are tried without --long."""


def forms(secret: str) -> set[bytes]:
    """A secret as itself, in JSON, in a URL, and in base64 as AUTH PLAIN, AUTH LOGIN and Basic send it."""
    spoken = (secret, f"\0{USER}\0{secret}", f"{USER}:{secret}")
    encoded = {base64.b64encode(text.encode()).rstrip(b"=") for text in spoken}
    return {secret.encode(), json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode()} | encoded


def leaked(everything: bytes) -> set[str]:
    return {name for name, secret in SECRETS.items() if any(form in everything for form in forms(secret))}


@pytest.mark.parametrize("mailer", FAULTS)
def test_no_secret_is_written_under_any_fault_of_a_provider(tmp_path, mailer, long):
    faults = FAULTS[mailer] if long else FAULTS[mailer][:FREQUENT]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "PYTHONDONTWRITEBYTECODE")}
    program = "import runpy; runpy.run_module('tests.support.doctor_with_faults', run_name='__main__')"
    ran = cli_process.run(
        [sys.executable, "-c", program, mailer, *faults],
        env={**kept, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    assert [line for line in ran.stdout.decode().splitlines() if line.startswith("survived")] == [
        f"survived {fault}" for fault in faults
    ]
    databases = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(databases) >= len(faults)
    assert b"DEBUG:" in ran.stderr
    assert leaked(b"".join([ran.stdout, ran.stderr, *databases])) == set()


def test_the_search_finds_a_written_secret():
    for name, secret in SECRETS.items():
        assert leaked(b"..." + base64.b64encode(f"\0{USER}\0{secret}".encode()) + b"...") == {name}
        assert leaked(f"<{secret}>".encode()) == {name}
