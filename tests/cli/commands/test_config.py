"""`alertctl config show|check`, and settings that contradict each other."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from alertctl.cli.main import app
from alertctl.config import check, reference
from alertctl.config.sources import SECTIONS
from tests.support.cases import each
from tests.support.secret_settings import SECRET, SECRET_SETTINGS


def _pem(bits: int) -> str:
    """Return a new public key. It takes 140 ms of CPU time, so the tests below make it when they run."""
    key = rsa.generate_private_key(65537, bits).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


CHECKS = [
    ({"SLACK_ENABLED": "1"}, "SLACK_BOT_TOKEN", "error"),
    ({"SLACK_ENABLED": "1", "SLACK_BOT_TOKEN": "xapp-1"}, "SLACK_BOT_TOKEN", "warning"),
    ({"EMAIL_ENABLED": "1"}, "SMTP_HOST", "error"),
    ({"EMAIL_ENABLED": "1", "SMTP_HOST": "mail"}, "EMAIL_FROM_ADDRESS", "warning"),
    ({"EMAIL_ENABLED": "1", "SMTP_HOST": "mail", "EMAIL_ACCENT": "#ffcc00"}, "EMAIL_ACCENT", "warning"),
    ({"SENDGRID_API_KEY": "key"}, "SENDGRID_API_KEY", "warning"),
    ({}, "SLACK_ENABLED", "warning"),
    ({"SMTP_USERNAME": "me"}, "SMTP_PASSWORD", "error"),
    ({"SMTP_PASSWORD": "pw"}, "SMTP_USERNAME", "warning"),
    (
        {"SMTP_HOST": "mail", "SMTP_SECURITY": "none", "SMTP_USERNAME": "me", "SMTP_PASSWORD": "pw"},
        "SMTP_SECURITY",
        "warning",
    ),
    ({"SMTP_PORT": "465", "SMTP_SECURITY": "starttls"}, "SMTP_SECURITY", "warning"),
    ({"JWT_SECRET": "short"}, "JWT_SECRET", "error"),
    ({"JWT_SECRET": "x" * 31 + "\n"}, "JWT_SECRET", "error"),
    ({"JWT_SECRET": f"'{'x' * 30}'"}, "JWT_SECRET", "error"),
    ({"JWT_SECRET": f'"{"x" * 32}"'}, "JWT_SECRET", "warning"),
    ({"JWT_SECRET": "x" * 32}, "JWT_ISSUER", "warning"),
    ({"JWT_SECRET": "x" * 32, "JWT_ISSUER": "i"}, "JWT_AUDIENCE", "warning"),
    ({"JWT_JWKS": "http://idp.corp.example/jwks"}, "JWT_JWKS", "error"),
    ({"JWT_JWKS": "HTTP://10.0.0.1/jwks"}, "JWT_JWKS", "error"),
    ({"JWT_JWKS": "https://idp.example/.well-known/openid-configuration"}, "JWT_JWKS", "error"),
    ({"JWT_JWKS": "https://idp.example/.well-known/oauth-authorization-server?x=1"}, "JWT_JWKS", "error"),
    ({"JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "JWT_PUBLIC_KEY", "error"),
    ({"DATABASE_URL": "postgresql://u:p@db.corp.example/x"}, "DATABASE_URL", "warning"),
    ({"DATABASE_URL": "postgresql://u:p@db.corp.example/x?sslmode=require"}, "DATABASE_URL", "warning"),
    ({"DATABASE_URL": "postgresql://u:p@localhost,db2:5433/x"}, "DATABASE_URL", "warning"),
    ({"DATABASE_URL": "postgresql:///x?host=10.0.0.7"}, "DATABASE_URL", "warning"),
    ({"JWT_LINK_BY_EMAIL": "true"}, "JWT_LINK_BY_EMAIL", "warning"),
    ({"JWT_ALGORITHMS": "HS256"}, "JWT_SECRET", "error"),
    ({"JWT_ALGORITHMS": "ES256"}, "JWT_PUBLIC_KEY", "error"),
    ({"ALERTCTL_SERVER": "http://h", "ALERTCTL_TOKEN": "actl_1"}, "ALERTCTL_SERVER", "warning"),
    ({"ALERTCTL_SERVER": "http://h.example", "ALERTCTL_TOKEN": "actl_1"}, "ALERTCTL_SERVER", "error"),
    ({"SLACK_API_URL": "http://slack.example/api", "SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_API_URL", "error"),
    ({"SLACK_API_URL": "http://10.1.2.3/api", "SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_API_URL", "warning"),
    ({"ALERTCTL_LEASE": "5s"}, "ALERTCTL_LEASE", "error"),
]

SLACK_ON = {"SLACK_ENABLED": "1", "SLACK_BOT_TOKEN": "xoxb-1"}


@each(("environ", "name", "severity"), lambda: [*CHECKS, ({"JWT_PUBLIC_KEY": _pem(1024)}, "JWT_PUBLIC_KEY", "error")])
def test_settings_that_do_not_fit_together_are_named(settings_in, environ, name, severity):
    problems = {(problem.name, problem.severity) for problem in check(settings_in(environ))}
    assert (name, severity) in problems


@each(
    "environ",
    lambda: [
        {"SLACK_ENABLED": "1", "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_API_URL": "http://127.0.0.1:9/api/"},
        {"EMAIL_ENABLED": "1", "SENDGRID_API_KEY": "SG.1", "EMAIL_FROM_ADDRESS": "a@corp.example"},
        {"ALERTCTL_SERVER": "https://alerts.corp.example", "ALERTCTL_TOKEN": "actl_1"},
        {
            **SLACK_ON,
            "JWT_SECRET": "x" * 32,
            "JWT_PUBLIC_KEY": _pem(2048),
            "JWT_ISSUER": "i",
            "JWT_AUDIENCE": "a",
            "JWT_JWKS": "http://localhost:9/jwks?tenant=1",
        },
        {**SLACK_ON, "DATABASE_URL": "postgresql://u:p@db.corp.example/x?sslmode=verify-full"},
        {**SLACK_ON, "DATABASE_URL": "postgresql://u:p@127.0.0.1:5432,[::1]:5433/x"},
        {**SLACK_ON, "DATABASE_URL": "postgresql://u@%2Frun%2Fpostgresql/x"},
        {**SLACK_ON, "DATABASE_URL": "postgresql:///x?host=/run/postgresql"},
        {
            "EMAIL_ENABLED": "1",
            "EMAIL_FROM_ADDRESS": "a@corp.example",
            "SMTP_HOST": "localhost",
            "SMTP_SECURITY": "none",
            "SMTP_USERNAME": "me",
            "SMTP_PASSWORD": "pw",
        },
    ],
)
def test_settings_that_work_have_no_problem(settings_in, environ):
    assert check(settings_in(environ)) == []


@pytest.mark.parametrize(
    ("document", "severity"),
    [
        ('{"issuer": "i", "jwks_uri": "https://idp.example/jwks"}', "error"),
        ("no JSON", "error"),
        (json.dumps({"keys": [{"kty": "RSA", "e": "AQAB", "n": "x" * 171}]}), "error"),
        (json.dumps({"keys": [{"kty": "RSA", "e": "AQAB", "n": "x" * 342}, {"kty": "EC"}, 7]}), None),
    ],
)
def test_a_key_set_in_a_file_is_checked(settings_in, tmp_path, document, severity):
    (tmp_path / "jwks.json").write_text(document)
    problems = check(settings_in({"JWT_JWKS": str(tmp_path / "jwks.json")}))
    assert [problem.severity for problem in problems if problem.name == "JWT_JWKS"] == [severity][: bool(severity)]


def test_a_file_without_certificates_is_no_ca_bundle(tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    ran = _run(tmp_path, "check", "-o", "json", ALERTCTL_CA_BUNDLE=str(bundle))
    assert ran.exit_code == 2
    assert [row["name"] for row in json.loads(ran.stdout)["items"] if row["severity"] == "error"] == [
        "ALERTCTL_CA_BUNDLE"
    ]


def _run(tmp_path: Path, *arguments: str, **environ: str):
    clean = {name: None for name in os.environ if name.startswith(tuple(f"{section}_".upper() for section in SECTIONS))}
    runner = CliRunner(env={**clean, "HOME": str(tmp_path), "XDG_CONFIG_HOME": None, "COLUMNS": "80", **environ})
    return runner.invoke(app, ["config", *arguments])


def test_config_show_prints_values_and_origins_without_secrets(tmp_path):
    ran = _run(tmp_path, "show", "-o", "json", **SECRET_SETTINGS)
    rows = {row["name"]: row for row in json.loads(ran.stdout)["items"]}
    assert ran.exit_code == 0
    assert rows["SLACK_BOT_TOKEN"] == {
        "name": "SLACK_BOT_TOKEN",
        "value": "********",
        "origin": "environment",
    }
    assert rows["SMTP_PORT"] == {"name": "SMTP_PORT", "value": "587", "origin": "default"}
    assert SECRET not in ran.output


@pytest.mark.parametrize("width", [40, 80])
def test_config_show_fits_its_terminal_and_cuts_nothing(tmp_path, width):
    addresses = ",".join(f"person-{number}@long-domain.example" for number in range(9))
    ran = _run(
        tmp_path,
        "show",
        NOTIFICATION_ADMIN_EMAILS=addresses,
        EMAIL_FROM_NAME="[red]Dev[/red]",
        COLUMNS=str(width),
        **SECRET_SETTINGS,
    )
    assert ran.exit_code == 0
    assert max(map(len, ran.stdout.splitlines())) <= width
    assert len(ran.stdout.splitlines()) < 3 * len(reference())
    assert "[red]Dev[/red]" in ran.stdout
    assert all(name in ran.stdout for name, _, _ in reference())
    assert "person-8" in re.sub(r"\s+", "", ran.stdout)
    assert SECRET not in ran.output


def test_config_check_names_each_mistake_and_ends_with_2(tmp_path):
    ran = _run(tmp_path, "check", "-o", "json", SMTP_PORT="70000", SLACK_ENABLED="maybe")
    assert ran.exit_code == 2
    assert json.loads(ran.stdout)["items"] == [
        {"severity": "error", "name": "SLACK_ENABLED", "message": '"maybe" is neither true nor false'},
        {"severity": "error", "name": "SMTP_PORT", "message": "70000 is not a port (1 to 65535)"},
    ]


def test_config_check_ends_with_0_when_there_are_only_warnings(tmp_path):
    ran = _run(tmp_path, "check")
    assert ran.exit_code == 0
    assert "warning" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80


def test_config_check_prints_no_data_when_nothing_is_wrong(tmp_path):
    good = {"SLACK_ENABLED": "1", "SLACK_BOT_TOKEN": "xoxb-1"}
    ran = _run(tmp_path, "check", **good)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "The settings are valid.\n")
    assert json.loads(_run(tmp_path, "check", "-o", "json", **good).stdout) == {"items": []}
