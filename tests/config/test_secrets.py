"""No secret appears in an error, a repr or a description."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from alertctl.config import Settings
from alertctl.config.database_url import masked
from alertctl.config.secret_files import SecretFiles
from alertctl.errors import ConfigError
from tests.support.cases import each
from tests.support.secret_settings import SECRET, SECRET_SETTINGS


def test_secrets_are_masked_in_what_is_described_and_in_every_repr(settings_in):
    settings = settings_in(SECRET_SETTINGS)
    assert SECRET not in repr(settings) + str(settings) + repr(settings.describe()) + repr(settings._values)
    rows = {name: shown for name, shown, _ in settings.describe()}
    assert rows["SLACK_BOT_TOKEN"] == "********"
    assert rows["DATABASE_URL"] == "postgresql+psycopg://me:********@db/alerts?sslpassword=********"
    assert rows["ALERTCTL_SERVER"] == ""


@pytest.mark.parametrize("token", [f"xoxb-{SECRET}-1", f"SG.{SECRET}.2"])
@pytest.mark.parametrize("name", ["SMTP_USERNAME", "SMTP_HOST", "EMAIL_FROM_NAME"])
def test_a_token_in_the_wrong_variable_is_masked_too(settings_in, name, token):
    assert SECRET not in repr(settings_in({name: token}).describe())


@pytest.mark.parametrize("query", [f"sig={SECRET}", f"tenant=1&api_key={SECRET}", SECRET, f"a=b={SECRET}"])
def test_a_key_in_a_url_is_masked(settings_in, query):
    rows = {name: shown for name, shown, _ in settings_in({"JWT_JWKS": f"https://idp.example/jwks?{query}"}).describe()}
    assert SECRET not in rows["JWT_JWKS"]
    assert rows["JWT_JWKS"].startswith("https://idp.example/jwks?")


def test_all_secrets_are_listed_for_redaction_the_longest_first(settings_in):
    secrets = settings_in(SECRET_SETTINGS).secrets()
    assert {f"xoxb-{SECRET}-1", f"{SECRET} 3", f"{SECRET}%404", f"{SECRET}@4", f"{SECRET}-5"} <= set(secrets)
    assert all(any(secret in value or "@4" in secret for secret in secrets) for value in SECRET_SETTINGS.values())
    assert list(map(len, secrets)) == sorted(map(len, secrets), reverse=True)
    assert Settings().secrets() == ()


@pytest.mark.parametrize("name", [*SECRET_SETTINGS, "JWT_PUBLIC_KEY"])
@each("value", [f"{SECRET} \n\0 x", f"mysql://u:{SECRET}@h/\0", f"\udcff{SECRET}", f"sqlite://{SECRET}"])
def test_a_bad_secret_is_never_repeated_in_its_error(settings_in, name, value):
    message = ""
    try:
        message = repr(settings_in({name: value}))
    except ConfigError as error:
        message = str(error) + repr(error.__cause__)
    assert SECRET not in message


@pytest.mark.parametrize("name", ["SLACK_DEFAULT_CHANNEL", "SMTP_PORT", "SLACK_ENABLED", "SMTP_HOST", "SLACK_API_URL"])
@each("value", ["xoxb-1-{} !", "SG.{}!", "postgres://u:{}@h/d", "https://u:{}@h"])
def test_a_secret_in_the_wrong_variable_is_not_repeated_either(problems_in, name, value):
    assert SECRET not in "".join(problems_in({name: value.format(SECRET)}))


def test_a_toml_secret_of_a_wrong_type_is_not_repeated(problems_in):
    assert SECRET not in "".join(problems_in(toml=f"[slack]\nbot_token = ['{SECRET}']\n[database]\nurl = ['{SECRET}']"))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("sqlite:////var/a:b@c.db", "sqlite:////var/a:b@c.db"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://:pw@h/d", "postgresql://:********@h/d"),
        ("postgresql://u:p/w?x@h/d", "postgresql://u:********@h/d"),
    ],
)
def test_only_the_password_of_a_database_address_is_masked(link, expected):
    assert masked(link) == expected


def test_a_secret_written_where_its_files_name_belongs_is_not_repeated(problems_in):
    assert problems_in({"SLACK_BOT_TOKEN_FILE": f"xoxb-{SECRET}"}) == ("SLACK_BOT_TOKEN_FILE: the file does not exist",)


def test_a_secret_file_that_hangs_stops_one_thread_only(settings_in, tmp_path):
    file = tmp_path / "secret"
    file.write_text("a" * 32)
    files = SecretFiles(settings_in({"JWT_SECRET_FILE": str(file)}), ("JWT_",))
    file.unlink()
    os.mkfifo(file)
    with ThreadPoolExecutor(2) as threads:
        # Opening the pipe takes until somebody writes to it.
        first = threads.submit(files.current)
        while not files._lock.locked():
            time.sleep(0.001)
        second = threads.submit(files.current)
        try:
            assert second.result(10).jwt.secret.get_secret_value() == "a" * 32
        finally:
            file.write_text("b" * 32)
    assert first.result().jwt.secret.get_secret_value() == "b" * 32
