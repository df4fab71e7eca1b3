"""Warnings about variables that nothing reads, and none about those of other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alertctl.config import reference
from alertctl.config.sources import IN_FILES
from alertctl.config.warnings import _COMMON_WITH_SERVER, edit_distance, warnings
from tests.support import cli_process
from tests.support.cases import each

MISTAKES = [
    ("SLACK_ENABLE", "SLACK_ENABLED"),
    ("SLACK_ENALBED", "SLACK_ENABLED"),
    ("EMAIL_ENABLE", "EMAIL_ENABLED"),
    ("SLACK_BOT_TOKENS", "SLACK_BOT_TOKEN"),
    ("SLACK_BOTTOKEN", "SLACK_BOT_TOKEN"),
    ("SLACK_BOT_TOKEN_FIEL", "SLACK_BOT_TOKEN_FILE"),
    ("SENDGRID_APIKEY", "SENDGRID_API_KEY"),
    ("SMTP_HOSTS", "SMTP_HOST"),
    ("SMTP_PASWORD", "SMTP_PASSWORD"),
    ("SMTP_USER_NAME", "SMTP_USERNAME"),
    ("NOTIFICATION_ADMIN_EMAIL", "NOTIFICATION_ADMIN_EMAILS"),
    ("RETRY_SCHEDULES", "RETRY_SCHEDULE"),
    ("PRUNE_SUCESS_DAYS", "PRUNE_SUCCESS_DAYS"),
    ("JWT_ALGORITHM", "JWT_ALGORITHMS"),
    ("DATABASE_URLS", "DATABASE_URL"),
    ("ALERTCTL_SERVR", "ALERTCTL_SERVER"),
    ("ALERTCTL_TOKN", "ALERTCTL_TOKEN"),
    ("ALERTCTL_STRIKT", "ALERTCTL_STRICT"),
]
FOREIGN = """
SLACK_WEBHOOK SLACK_WEBHOOK_URL SLACK_CHANNEL SLACK_CHANNEL_ID SLACK_TOKEN SLACK_API_TOKEN SLACK_APP_TOKEN SLACK_APP_ID
SLACK_USER_TOKEN SLACK_SIGNING_SECRET SLACK_CLIENT_ID SLACK_CLIENT_SECRET SLACK_BOT_ID SLACK_BOT_USER_ID SLACK_URL
SLACK_TEAM_ID SLACK_USERNAME SLACK_ICON_EMOJI SLACK_NOTIFY SLACK_DEBUG SLACK_DISABLED SLACK_DEFAULT_USER
SMTP_SERVER SMTP_USER SMTP_PASS SMTP_FROM SMTP_FROM_ADDRESS SMTP_SENDER SMTP_TLS SMTP_SSL SMTP_USE_TLS SMTP_STARTTLS
SMTP_SECURE SMTP_AUTH SMTP_DOMAIN SMTP_HOSTNAME SMTP_ADDRESS SMTP_URL SMTP_URI SMTP_TIMEOUT SMTP_LOGIN SMTP_ENABLED
SMTP_HELO SMTP_PROXY SMTP_TO SMTP_MAIL SMTP_ENCRYPTION SMTP_AUTHENTICATION
EMAIL EMAIL_HOST EMAIL_PORT EMAIL_HOST_USER EMAIL_HOST_PASSWORD EMAIL_USE_TLS EMAIL_USE_SSL EMAIL_BACKEND EMAIL_FROM
EMAIL_TO EMAIL_USER EMAIL_PASSWORD EMAIL_SENDER EMAIL_ADDRESS EMAIL_SUBJECT_PREFIX EMAIL_SERVER EMAIL_URL
SENDGRID_USERNAME SENDGRID_PASSWORD SENDGRID_FROM SENDGRID_FROM_EMAIL SENDGRID_SENDER SENDGRID_TEMPLATE_ID SENDGRID_KEY
DATABASE_HOST DATABASE_PORT DATABASE_NAME DATABASE_USER DATABASE_USERNAME DATABASE_PASSWORD DATABASE_URI DATABASE_DSN
DATABASE_POOL_SIZE DATABASE_SSL DATABASE_PRIVATE_URL DATABASE_URL_TEST DATABASE_REPLICA_URL DATABASE_DIR DATABASE_SCHEMA
JWT_SECRET_KEY JWT_PRIVATE_KEY JWT_KEY JWT_EXPIRATION JWT_EXPIRES_IN JWT_ACCESS_TOKEN_EXPIRES JWT_TTL JWT_ISS JWT_AUD
JWT_PASSPHRASE JWT_TOKEN JWT_REFRESH_SECRET JWT_COOKIE_NAME JWT_LIFETIME JWT_SIGNING_KEY JWT_HEADER_NAME
RETRY_COUNT RETRY_MAX RETRY_DELAY RETRY_LIMIT RETRY_ATTEMPTS RETRY_TIMEOUT RETRY_BACKOFF RETRY_INTERVAL
NOTIFICATION_EMAIL NOTIFICATION_EMAILS NOTIFICATION_URL NOTIFICATION_TOKEN NOTIFICATION_WEBHOOK NOTIFICATION_SERVICE
PRUNE_DAYS PRUNE_IMAGES ALERTCTL_TEST_DATABASE_URL ALERTCTL_VERSION ALERTCTL_HOME
""".split()  # noqa: SIM905


@pytest.fixture
def warned(tmp_path: Path):
    def warnings_with(environ=None, dotenv: str = "", flags=None) -> list[tuple[str, str]]:
        (tmp_path / ".env").write_text(dotenv)
        return warnings({"HOME": str(tmp_path), **(environ or {})}, tmp_path, flags)

    return warnings_with


@each(("name", "meant"), MISTAKES)
def test_a_name_close_to_a_settings_is_warned_about_wherever_it_stands(warned, name, meant):
    expected = [(name, f"is not a setting; did you mean {meant}?")]
    assert warned({name: "1"}) == expected
    assert warned(dotenv=f"{name}=1\n") == expected
    assert warned({name: "1"}, dotenv=f"{name}=1\n") == expected


@each("name", FOREIGN)
def test_a_well_known_variable_of_another_program_is_none_of_our_business(warned, name):
    assert warned({name: "1"}) == []


def test_no_setting_is_taken_for_another(warned):
    for name in [*(name for name, _, _ in reference()), *(f"{name}_FILE" for name in IN_FILES)]:
        assert [warning for warning in warned({name: ""}) if "did you mean" in warning[1]] == []


def test_a_close_name_beside_the_right_one_belongs_to_another_program(warned):
    assert warned({"JWT_ALGORITHM": "HS256", "JWT_ALGORITHMS": "HS256"}) == []


@pytest.mark.parametrize("off", [{}, {"SLACK_ENABLED": "false"}, {"SLACK_ENABLED": ""}])
def test_a_slack_token_whose_channel_is_off_is_warned_about(warned, off):
    (warning,) = warned({"SLACK_BOT_TOKEN": "xoxb-1", **off})
    assert warning == ("SLACK_BOT_TOKEN", "is set but not used: SLACK_ENABLED is not true")
    assert warned({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_ENABLED": "true"}) == []


@pytest.mark.parametrize(("name", "value"), [("SENDGRID_API_KEY", "SG.1"), ("SMTP_HOST", "mail")])
def test_a_mail_provider_whose_channel_is_off_is_warned_about(warned, name, value):
    assert [warning[0] for warning in warned({name: value})] == [name]
    assert warned({name: value, "EMAIL_ENABLED": "1"}) == []
    assert warned({name: ""}) == []


def test_a_wrong_switch_is_an_error_and_no_warning(warned):
    assert warned({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_ENABLED": "maybe"}) == []


def test_a_server_has_settings_of_its_own(warned):
    environ = {"ALERTCTL_SERVER": "https://h", "SLACK_ENABLE": "1", "SLACK_BOT_TOKEN": "xoxb-1", "ALERTCTL_TOKN": "x"}
    assert warned(environ) == [("ALERTCTL_TOKN", "is not a setting; did you mean ALERTCTL_TOKEN?")]
    assert [name for name, _ in warned(environ, flags={"ALERTCTL_SERVER": ""})] == [
        "SLACK_ENABLE",
        "ALERTCTL_TOKN",
        "SLACK_BOT_TOKEN",
    ]


@pytest.mark.parametrize(
    ("server", "exposed"),
    [("http://alertctl:8000", True), ("http://a.ns.svc", True), ("https://alertctl", False), ("http://[::1]:1", False)],
)
def test_a_token_that_travels_unencrypted_inside_a_network_is_warned_about(warned, server, exposed):
    expected = [("ALERTCTL_SERVER", "uses http, which sends the token unencrypted; use https")] if exposed else []
    assert warned({"ALERTCTL_SERVER": server, "ALERTCTL_TOKEN": "actl_1"}) == expected
    assert warned({"ALERTCTL_SERVER": server}) == []


@pytest.mark.parametrize("arguments", [("log",), ("send", "--event", "generic_alert", "--title", "x")])
def test_no_command_sends_a_token_unencrypted_over_a_public_network(tmp_path, arguments):
    ran = run_in(tmp_path, *arguments, ALERTCTL_SERVER="http://192.0.2.1:9", ALERTCTL_TOKEN="actl_1")
    refusal = "alertctl: ALERTCTL_SERVER: uses http, which sends the token unencrypted; use https"
    assert ran.stderr.splitlines()[0] == refusal
    # `send` never fails its caller: the event is in the spool.
    assert (ran.returncode, "spooled as" in ran.stderr) == ((0, True) if arguments[0] == "send" else (2, False))


def test_the_names_that_are_known_without_loading_the_settings_are_settings():
    known = {name for name, _, _ in reference()} | {f"{name}_FILE" for name in IN_FILES}
    assert {f"ALERTCTL_{field}" for field in _COMMON_WITH_SERVER} <= known


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("", "", 0), ("a", "", 1), ("ENABLE", "ENABLED", 1), ("ab", "ba", 1), ("kitten", "sitting", 3), ("abc", "abc", 0)],
)
def test_the_edit_distance_counts_slips(first, second, distance):
    assert edit_distance(first, second) == edit_distance(second, first) == distance


def run_in(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {"HOME": str(folder), "PATH": os.defpath, "COLUMNS": "200", **environ}
    command = [sys.executable, "-m", "alertctl", *arguments]
    return cli_process.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("send", "--event", "generic_alert", "--title", "x"), 0),
        # Ends at once, behind the warning.
        (("serve", "--host", "no.such.host.invalid"), 2),
        (("test", "slack"), 3),
        (("doctor", "db"), 0),
    ],
)
def test_commands_that_send_warn_once_for_each_name_on_stderr(tmp_path, arguments, code):
    ran = run_in(tmp_path, *arguments, SLACK_ENABLE="true", SLACK_BOT_TOKEN="xoxb-1")
    assert ran.returncode == code
    lines = [line for line in ran.stderr.splitlines() if "SLACK_ENABLE:" in line or "SLACK_BOT_TOKEN: is set" in line]
    assert lines == [
        "alertctl: warning: SLACK_ENABLE: is not a setting; did you mean SLACK_ENABLED?",
        "alertctl: warning: SLACK_BOT_TOKEN: is set but not used: SLACK_ENABLED is not true",
    ]
    assert "did you mean" not in ran.stdout


def test_config_check_lists_them_with_its_other_warnings(tmp_path):
    ran = run_in(tmp_path, "config", "check", SLACK_ENABLE="true", EMAIL_ENABLED="maybe")
    assert ran.returncode == 2
    assert "did you mean SLACK_ENABLED?" in ran.stdout


@pytest.mark.parametrize("arguments", [("log",), ("config", "show"), ("spool", "list"), ("db", "status")])
def test_commands_that_only_read_do_not_warn(tmp_path, arguments):
    assert run_in(tmp_path, *arguments, SLACK_ENABLE="true", SLACK_BOT_TOKEN="xoxb-1").stderr.count("warning") == 0
