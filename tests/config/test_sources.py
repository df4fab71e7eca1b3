"""The order of the sources of settings, and files with secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from alertctl.config import read, state_folder
from alertctl.config.sources import IN_FILES
from alertctl.errors import ConfigError
from tests.support.secret_settings import SECRET

ROOT = Path(__file__).resolve().parents[2]

PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----"


def test_each_source_overrides_the_weaker_ones(settings_in):
    toml = "smtp.host = 'toml'\nsmtp.username = 'toml'\nemail.from_name = 'toml'\nslack.default_channel = 'toml'"
    dotenv = "SMTP_USERNAME=dotenv\nEMAIL_FROM_NAME=dotenv\nSLACK_DEFAULT_CHANNEL=dotenv\n"
    environ = {"EMAIL_FROM_NAME": "environ", "SLACK_DEFAULT_CHANNEL": "environ"}
    settings = settings_in(environ, {"SLACK_DEFAULT_CHANNEL": "flag"}, dotenv=dotenv, toml=toml)
    assert settings.smtp.host == "toml"
    assert settings.smtp.username == "dotenv"
    assert settings.email.from_name == "environ"
    assert settings.slack.default_channel == "flag"
    names = ("SMTP_HOST", "SMTP_USERNAME", "EMAIL_FROM_NAME", "SLACK_DEFAULT_CHANNEL", "SMTP_PORT")
    origins = [settings.origin(name) for name in names]
    assert origins == ["alertctl.toml", ".env", "environment", "flag", "default"]


def test_without_any_setting_both_channels_are_off_and_the_log_is_in_the_state_folder(settings_in, tmp_path):
    settings = settings_in()
    assert not settings.slack.enabled
    assert not settings.email.enabled
    assert settings.slack.default_channel == "#platform-alerts"
    assert settings.smtp.port == 587
    assert settings.database.url == f"sqlite:///{tmp_path}/.local/state/alertctl/alertctl.db"
    assert {origin for _, _, origin in settings.describe()} == {"default"}


def test_the_state_folder_follows_xdg_but_not_a_relative_path(tmp_path):
    home = {"HOME": str(tmp_path)}
    assert state_folder({**home, "XDG_STATE_HOME": "/var/state"}) == Path("/var/state/alertctl")
    assert state_folder({**home, "XDG_STATE_HOME": "state"}) == tmp_path / ".local/state/alertctl"


def test_an_unset_flag_overrides_nothing(settings_in):
    assert settings_in({"ALERTCTL_PORT": "9000"}, {"ALERTCTL_PORT": None}).alertctl.port == 9000


def test_a_flag_may_be_a_number_or_a_boolean(settings_in):
    settings = settings_in({}, {"ALERTCTL_PORT": 0, "SLACK_ENABLED": True})
    assert (settings.alertctl.port, settings.slack.enabled) == (0, True)


def test_a_blank_value_means_the_default_and_hides_weaker_sources(settings_in):
    settings = settings_in({"SMTP_PORT": "", "SENDGRID_API_KEY": " \n"}, dotenv="SMTP_PORT=2525\nSENDGRID_API_KEY=SG.x")
    assert settings.smtp.port == 587
    assert settings.sendgrid.api_key == SecretStr("")


def test_alertctl_config_names_the_toml_file_relative_to_the_working_folder(settings_in):
    settings = settings_in(
        {"ALERTCTL_CONFIG": "other.toml"}, toml="[smtp]\nport = 1", **{"other.toml": "[smtp]\nport=2"}
    )
    assert settings.smtp.port == 2
    assert settings.origin("SMTP_PORT") == "other.toml"


def test_alertctl_config_may_stand_in_dotenv(settings_in):
    files = {"other.toml": "[smtp]\nport = 2"}
    assert settings_in(dotenv="ALERTCTL_CONFIG=other.toml", **files).smtp.port == 2


def test_the_users_config_folder_is_read_when_there_is_no_alertctl_toml(settings_in, tmp_path):
    folder = tmp_path / ".config/alertctl"
    folder.mkdir(parents=True)
    (folder / "alertctl.toml").write_text("[smtp]\nhost = 'mail'")
    settings = settings_in()
    assert settings.smtp.host == "mail"
    assert settings.origin("SMTP_HOST") == str(folder / "alertctl.toml")


def test_unknown_variables_and_foreign_lines_in_dotenv_are_ignored(settings_in):
    dotenv = "export SMTP_HOST=mail # ours\nOTHER='open\nSLACK\nSLACK_WEBHOOK=x\n=\nDJANGO_KEY=y"
    assert settings_in({"SLACK_COLOUR": "red", "ALERTCTL_TEST_DATABASE_URL": "x"}, dotenv=dotenv).smtp.host == "mail"


def test_a_password_in_dotenv_is_taken_as_written(settings_in):
    assert settings_in(dotenv="SMTP_PASSWORD=a${HOME}$b#c").smtp.password.get_secret_value() == "a${HOME}$b#c"


def test_a_folder_named_dotenv_is_no_settings_file(settings_in, tmp_path):
    (tmp_path / ".env").mkdir()
    assert settings_in().smtp.port == 587


def test_files_with_a_byte_order_mark_are_read(settings_in):
    settings = settings_in(dotenv=b"\xef\xbb\xbfSMTP_HOST=mail", toml=b"\xef\xbb\xbf[smtp]\nport = 25")
    assert (settings.smtp.host, settings.smtp.port) == ("mail", 25)


# Secrets from files


@pytest.mark.parametrize("name", IN_FILES)
def test_every_secret_can_come_from_a_file(settings_in, name):
    content = {"JWT_PUBLIC_KEY": PEM, "DATABASE_URL": "postgresql+psycopg://u:pw@h/d"}.get(name, "token")
    settings = settings_in({f"{name}_FILE": "secret"}, secret=f"{content}\n")
    section, field = name.lower().split("_", 1)
    value = getattr(getattr(settings, section), field)
    assert (value.get_secret_value() if isinstance(value, SecretStr) else value) == content
    assert settings.origin(name) == "file secret"


@pytest.mark.parametrize(("content", "expected"), [("pw\n", "pw"), ("pw\r\n", "pw"), (" p w ", " p w "), ("pw", "pw")])
def test_a_password_file_loses_one_newline_and_nothing_else(settings_in, content, expected):
    settings = settings_in({"SMTP_PASSWORD_FILE": "secret"}, secret=content)
    assert settings.smtp.password.get_secret_value() == expected


def test_a_secret_file_counts_where_its_variable_stands(settings_in):
    files = {"strong": "xoxb-strong", "weak": "xoxb-weak"}
    dotenv, toml = "SLACK_BOT_TOKEN=xoxb-dotenv", "[slack]\nbot_token_file = 'missing'"
    settings = settings_in({"SLACK_BOT_TOKEN_FILE": "strong"}, dotenv=dotenv, toml=toml, **files)
    assert settings.slack.bot_token.get_secret_value() == "xoxb-strong"
    assert settings_in({"SLACK_BOT_TOKEN": "xoxb-e"}, dotenv="SLACK_BOT_TOKEN_FILE=weak").secrets() == ("xoxb-e",)


def test_a_secret_file_named_in_toml_is_relative_to_it(settings_in, tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "a.toml").write_text("[slack]\nbot_token_file = 'token'")
    (folder / "token").write_text("xoxb-1")
    assert settings_in({"ALERTCTL_CONFIG": "etc/a.toml"}).secrets() == ("xoxb-1",)


def test_a_secret_and_its_file_in_one_source_is_an_error(problems_in):
    environ = {"SLACK_BOT_TOKEN": SECRET, "SLACK_BOT_TOKEN_FILE": "x"}
    assert problems_in(environ) == ("SLACK_BOT_TOKEN: both SLACK_BOT_TOKEN and SLACK_BOT_TOKEN_FILE are set; keep one",)


def test_a_blank_secret_beside_its_file_is_no_conflict(settings_in):
    assert settings_in({"SLACK_BOT_TOKEN": "", "SLACK_BOT_TOKEN_FILE": "f"}, f="xoxb-1").secrets() == ("xoxb-1",)
    assert settings_in({"SLACK_BOT_TOKEN": "xoxb-2", "SLACK_BOT_TOKEN_FILE": ""}).secrets() == ("xoxb-2",)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("missing", "missing does not exist"),
        (".", ". cannot be read: Is a directory"),
        ("binary", "binary:2 is not UTF-8 text"),
        ("/dev/zero", "/dev/zero cannot be read: larger than 1000000 bytes"),
        ("a\0b", "a?b cannot be read: embedded null byte"),
    ],
)
def test_a_secret_file_that_cannot_be_read_is_one_clear_line(problems_in, file, says):
    problems = problems_in({"SMTP_PASSWORD_FILE": file}, binary=b"a\n\xff")
    assert problems == (f"SMTP_PASSWORD_FILE: {says}",)


# Files that are broken


def test_a_windows_dotenv_is_read_without_its_carriage_returns(settings_in):
    assert settings_in(dotenv="SMTP_HOST=mail\r\nSMTP_PASSWORD='p w'\r\n").smtp.host == "mail"


def test_broken_toml_names_file_and_line(problems_in):
    (problem,) = problems_in(toml="[slack]\nenabled = maybe\n")
    assert problem.startswith("ALERTCTL_CONFIG: alertctl.toml is not valid TOML:")
    assert "line 2" in problem


@pytest.mark.parametrize(("name", "file"), [("toml", "alertctl.toml"), ("dotenv", ".env")])
def test_a_file_that_is_not_utf8_names_its_line(problems_in, name, file):
    (problem,) = problems_in(**{name: b"#\n#\n\xff\n"})
    assert f"{file}:3 is not UTF-8 text" in problem


def test_a_line_of_ours_in_dotenv_that_cannot_be_read_is_an_error_without_its_text(problems_in):
    assert problems_in(dotenv=f"A=1\n\n\nSLACK_BOT_TOKEN='{SECRET}\n") == (
        ".env: line 4 is not NAME=value (is a quote open?)",
    )


def test_a_config_file_that_was_asked_for_must_exist(problems_in):
    assert problems_in({"ALERTCTL_CONFIG": "gone.toml"}) == ("ALERTCTL_CONFIG: gone.toml does not exist",)


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("[slack]\nbot_tokn = 'x'", "SLACK_BOT_TOKN: [slack] has no bot_tokn; did you mean bot_token?"),
        ("[smtp]\nPORT = 25", "SMTP_PORT: [smtp] has no PORT; did you mean port?"),
        ("[slak]\nenabled = true", "SLAK: there is no section [slak]; did you mean [slack]?"),
        ("slack = true", "SLACK: [slack] is a section, not a value"),
        ("[alertctl]\nconfig = 'x'", "ALERTCTL_CONFIG: [alertctl] has no config"),
        ('[prune]\n"a\\nb" = 1', 'PRUNE_"A\\NB": [prune] has no "a\\nb"'),
    ],
)
def test_a_typo_in_toml_is_named_with_what_was_meant(problems_in, toml, line):
    assert problems_in(toml=toml) == (f"{line} (from alertctl.toml)",)


def test_read_gives_what_is_set_and_loads_no_pydantic(tmp_path):
    (tmp_path / ".env").write_text("ALERTCTL_TOKEN_FILE=token\n")
    (tmp_path / "token").write_text("actl_1\n")
    script = (
        "import sys; from alertctl.config import read; values = read(flags={'ALERTCTL_TIMEOUT': None})\n"
        "print({name: (each.text, each.origin) for name, each in values.items()}, 'pydantic' in sys.modules)"
    )
    environ = {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "ALERTCTL_SERVER": "https://h",
        "PATH": os.defpath,
    }
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True)
    expected = {"ALERTCTL_SERVER": ("https://h", "environment"), "ALERTCTL_TOKEN": ("actl_1", "file token")}
    assert (ran.stdout, ran.stderr) == (f"{expected} False\n", "")


def test_read_names_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="ALERTCTL_TOKEN_FILE: gone does not exist"):
        read({"ALERTCTL_TOKEN_FILE": "gone"}, tmp_path)
