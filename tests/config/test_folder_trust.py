"""A file in the working folder can't redirect the secrets of a stronger source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alertctl.client.server_config import server_of
from alertctl.config import check, load, read, reference
from alertctl.config.folder_trust import DIRECTS, is_trusted_only
from alertctl.config.sources import IN_FILES
from alertctl.errors import ConfigError
from alertctl.http.proxies import proxy_for
from tests.support import cli_process

SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-environment",
    "SENDGRID_API_KEY": "SG.environment",
    "SMTP_PASSWORD": "planted-password",
    "SMTP_OAUTH_TOKEN": "planted-token",
    "ALERTCTL_TOKEN": "actl_environment",
    "JWT_JWKS": "https://keys.corp.example/jwks.json",
}
ELSEWHERE = {
    "SLACK_API_URL": "https://evil.example/api/",
    "SENDGRID_API_URL": "https://evil.example",
    "SMTP_HOST": "evil.example",
    "SMTP_PORT": "2525",
    "SMTP_SECURITY": "none",
    "ALERTCTL_SERVER": "https://evil.example",
    "ALERTCTL_CA_BUNDLE": "evil.pem",
}
PAIRS = [(address, secret) for address, secrets in DIRECTS.items() for secret in secrets]
TRUSTED_ONLY = [name for name, _, _ in reference() if is_trusted_only(name)]


def toml_of(**settings: str) -> str:
    return "".join(f"{name.lower().replace('_', '.', 1)} = '{value}'\n" for name, value in settings.items())


def written_as(file: str, **settings: str) -> dict[str, str]:
    dotenv = "".join(f"{name}={value}\n" for name, value in settings.items())
    return {"dotenv": dotenv} if file == "dotenv" else {"toml": toml_of(**settings)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder of its own, below HOME."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "evil.pem").write_text("")
    return tmp_path / "work"


@pytest.fixture
def load_in(folder: Path):
    """Load in the working folder; HOME is the folder above it."""

    def load_from(environ=None, flags=None, **more):
        return load({"HOME": str(folder.parent), **(environ or {})}, folder, flags, **more)

    return load_from


def problem_of(load_from, *args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        load_from(*args, **kwargs)
    (line,) = caught.value.problems
    return line


# An address beside a secret from a stronger place


@pytest.mark.parametrize("file", ["dotenv", "toml"])
@pytest.mark.parametrize(("address", "secret"), PAIRS)
def test_an_address_in_the_folder_is_refused_beside_a_secret_of_the_environment(
    problems_in, tmp_path, address, secret, file
):
    (tmp_path / "evil.pem").write_text("")
    (line,) = problems_in({secret: SECRETS[secret]}, **written_as(file, **{address: ELSEWHERE[address]}))
    name = {"dotenv": ".env", "toml": "alertctl.toml"}[file]
    # A file in the folder may not set JWT_JWKS.
    advice = "" if secret == "JWT_JWKS" else f" set both in {name},"
    assert line == (
        f"{address}: is not used from {name} in the working folder together with {secret} from the environment; "
        f"export {address},{advice} or set it in a TOML file that --config names"
    )
    assert SECRETS[secret] not in line


@pytest.mark.parametrize("file", ["dotenv", "toml"])
@pytest.mark.parametrize(("address", "secret"), [pair for pair in PAIRS if pair[1] != "JWT_JWKS"])
def test_an_address_and_its_secret_in_one_file_of_the_folder_are_fine(settings_in, tmp_path, address, secret, file):
    (tmp_path / "evil.pem").write_text("")
    bundle = {"ALERTCTL_CA_BUNDLE": str(tmp_path / "evil.pem")} if address == "ALERTCTL_CA_BUNDLE" else {}
    both = {address: ELSEWHERE[address], secret: SECRETS[secret], **bundle}
    settings = settings_in(**written_as(file, **both))
    assert settings.origin(address) == settings.origin(secret) != "default"


@pytest.mark.parametrize(("address", "secret"), PAIRS)
def test_an_address_of_the_environment_wins_over_the_folders(settings_in, tmp_path, address, secret):
    (tmp_path / "evil.pem").write_text("")
    environ = {secret: SECRETS[secret], address: ELSEWHERE[address]}
    if address == "ALERTCTL_CA_BUNDLE":
        environ[address] = str(tmp_path / "evil.pem")
    settings = settings_in(environ, dotenv=f"{address}=x\n", toml=toml_of(**{address: "x"}))
    assert settings.origin(address) == "environment"


@pytest.mark.parametrize("file", [".config/alertctl/alertctl.toml", "etc/named.toml"])
def test_a_named_configuration_and_the_users_are_as_strong_as_the_environment(load_in, folder, file):
    path = folder.parent / file
    path.parent.mkdir(parents=True)
    environ = {"ALERTCTL_CONFIG": str(path)} if "named" in file else {}
    path.write_text("[slack]\nbot_token = 'xoxb-1'\n")
    (folder / ".env").write_text("SLACK_API_URL=https://evil.example/\n")
    assert f"SLACK_BOT_TOKEN from {path};" in problem_of(load_in, environ)
    path.write_text("[slack]\nbot_token = 'xoxb-1'\napi_url = 'https://gov.example/api/'\n[jwt]\nissuer = 'us'\n")
    (folder / ".env").unlink()
    settings = load_in(environ)
    assert (settings.slack.api_url, settings.jwt.issuer) == ("https://gov.example/api/", "us")
    (folder / "alertctl.toml").write_text("[slack]\napi_url = 'https://evil.example/'\n")
    assert load_in({"ALERTCTL_CONFIG": str(path), **SECRETS}).slack.api_url == "https://gov.example/api/"


def test_the_folders_own_file_counts_fully_once_it_is_named(load_in, folder):
    (folder / "alertctl.toml").write_text("[slack]\napi_url = 'https://gov.example/'\n[alertctl]\nhost = '0.0.0.0'\n")
    for environ, flags in (({"ALERTCTL_CONFIG": "alertctl.toml"}, {}), ({}, {"ALERTCTL_CONFIG": "alertctl.toml"})):
        settings = load_in({"SLACK_BOT_TOKEN": "xoxb-1", **environ}, flags)
        assert (settings.slack.api_url, settings.alertctl.host) == ("https://gov.example/", "0.0.0.0")
        assert settings.refusals == {}


def test_the_users_configuration_is_still_the_users_in_its_own_folder(tmp_path):
    config = tmp_path / ".config/alertctl"
    config.mkdir(parents=True)
    (config / "alertctl.toml").write_text("[slack]\napi_url = 'https://gov.example/'\n[jwt]\nissuer = 'us'\n")
    settings = load({"HOME": str(tmp_path), "SLACK_BOT_TOKEN": "xoxb-1"}, config)
    assert (settings.slack.api_url, settings.jwt.issuer) == ("https://gov.example/", "us")


def test_a_secret_from_a_file_is_as_strong_as_the_source_that_names_the_file(load_in, folder):
    (folder / "token").write_text("xoxb-1\n")
    (folder / ".env").write_text("SLACK_API_URL=https://evil.example/\n")
    assert "SLACK_API_URL" in problem_of(load_in, {"SLACK_BOT_TOKEN_FILE": "token"})
    (folder / ".env").write_text("SLACK_API_URL=https://evil.example/\nSLACK_BOT_TOKEN_FILE=token\n")
    assert load_in().slack.api_url == "https://evil.example/"


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_secret_and_a_blank_address_endanger_nothing(settings_in, blank):
    assert settings_in({"SLACK_BOT_TOKEN": blank}, dotenv="SLACK_API_URL=https://x.example/").slack.api_url
    assert settings_in({"SLACK_BOT_TOKEN": "xoxb-1"}, dotenv=f"SLACK_API_URL={blank}").slack.api_url


def test_defaults_that_are_written_out_in_the_folder_are_not_refused(settings_in, tmp_path):
    uncommented = "".join(f'{name}="{default}"\n' for name, default, _ in reference())
    settings = settings_in({**SECRETS, "SMTP_SECURITY": "tls"}, dotenv=uncommented)
    assert settings.refusals == {}
    for security in ("starttls", "tls", "TLS"):
        assert settings_in({"SMTP_PASSWORD": "pw"}, dotenv=f"SMTP_SECURITY={security}").smtp.security
    toml = "[slack]\napi_url = 'https://slack.com/api'\n[smtp]\nport = 587\n[jwt]\nalgorithms = []\nleeway = 10\n"
    assert settings_in(SECRETS, dotenv="", toml=toml).refusals == {}


# Settings that trust or open something


def other_value(name: str, folder: Path) -> str:
    return {
        "ALERTCTL_HOST": "0.0.0.0",
        "ALERTCTL_NO_DOTENV": "1",
        "JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\\nMFkw\\n-----END PUBLIC KEY-----",
        "JWT_JWKS": "https://evil.example/keys",
        "JWT_ALGORITHMS": "HS256",
        "JWT_LEEWAY": "30",
        "JWT_LINK_BY_EMAIL": "true",
    }.get(name, "evil")


@pytest.mark.parametrize("name", TRUSTED_ONLY)
def test_a_setting_that_trusts_or_opens_something_does_not_count_in_the_folder(load_in, folder, name):
    (folder / ".env").write_text(f'{name}="{other_value(name, folder)}"\n')
    settings = load_in()
    assert settings.origin(name) == "default"
    file_may_set_it = name != "ALERTCTL_NO_DOTENV"
    assert settings.refusals[name].message == (
        f"is not used from .env in the working folder; export {name}"
        f"{', or set it in a TOML file that --config names' if file_may_set_it else ''}"
    )
    assert [(problem.name, problem.severity) for problem in check(settings) if problem.severity == "error"] == [
        (name, "error")
    ]


def test_a_stronger_or_weaker_source_still_sets_what_the_folder_may_not(load_in, folder):
    (folder / ".env").write_text("JWT_AUDIENCE=\nJWT_ISSUER=evil\n")
    users = folder.parent / ".config/alertctl"
    users.mkdir(parents=True)
    (users / "alertctl.toml").write_text("[jwt]\naudience = 'alerts'\n")
    settings = load_in({"JWT_ISSUER": "us"})
    assert (settings.jwt.audience, settings.jwt.issuer) == ("alerts", "us")
    assert settings.refusals == {}


def test_a_foreign_variable_of_another_program_is_not_refused(load_in, folder):
    (folder / ".env").write_text("JWT_SECRET_KEY=django's\nJWT_PRIVATE_KEY=x\n")
    assert load_in().refusals == {}


# Files that a file in the folder names


@pytest.mark.parametrize("name", [name for name in IN_FILES if not is_trusted_only(name)])
@pytest.mark.parametrize("path", ["../secret", "{outside}", "link", "linked/secret", "~/secret", "sub/../../secret"])
def test_a_secrets_file_outside_the_folder_is_never_read(load_in, folder, monkeypatch, name, path):
    monkeypatch.setenv("HOME", str(folder.parent))
    outside = folder.parent / "secret"
    outside.write_text("planted")
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "linked").symlink_to(folder.parent)
    (folder / ".env").write_text(f"{name}_FILE={path.format(outside=outside)}\n")
    line = problem_of(load_in)
    assert line.startswith(f"{name}_FILE: .env in the working folder may only name files inside that folder; export")
    assert "planted" not in line


def test_a_secrets_file_inside_the_folder_is_read(load_in, folder):
    (folder / "secrets").mkdir()
    (folder / "secrets" / "token").write_text("xoxb-1\n")
    (folder / "alertctl.toml").write_text("[slack]\nbot_token_file = 'secrets/token'\n")
    assert load_in().secrets() == ("xoxb-1",)


def test_dotenv_may_name_a_configuration_inside_the_folder_which_is_no_stronger_for_it(load_in, folder):
    (folder / "conf").mkdir()
    (folder / "conf" / "a.toml").write_text("[slack]\napi_url = 'https://evil.example/'\n[jwt]\nissuer = 'x'\n")
    (folder / ".env").write_text("ALERTCTL_CONFIG=conf/a.toml\n")
    assert problem_of(load_in, {"SLACK_BOT_TOKEN": "xoxb-1"}).startswith("SLACK_API_URL: is not used from conf/a.toml")
    assert set(load_in().refusals) == {"JWT_ISSUER"}


@pytest.mark.parametrize("path", ["../other.toml", "link.toml", "../missing.toml"])
def test_dotenv_names_no_configuration_outside_the_folder(load_in, folder, path):
    other = folder.parent / "other.toml"
    other.write_text("[slack]\nbot_token = 'xoxb-other'\n")
    (folder / "link.toml").symlink_to(other)
    (folder / ".env").write_text(f"ALERTCTL_CONFIG={path}\nSLACK_API_URL=https://evil.example/\n")
    assert problem_of(load_in).startswith("ALERTCTL_CONFIG: .env in the working folder may only name files inside")


@pytest.mark.parametrize(("file", "name"), [(".env", ".env"), ("alertctl.toml", "ALERTCTL_CONFIG")])
def test_a_link_out_of_the_folder_does_not_read_another_users_file(load_in, folder, file, name):
    (folder.parent / "prod").write_text("SLACK_BOT_TOKEN='xoxb-prod'\n")
    (folder / file).symlink_to(folder.parent / "prod")
    assert problem_of(load_in).startswith(f"{name}: ")


def test_links_inside_the_folder_are_followed(load_in, folder):
    (folder / "..data").mkdir()
    (folder / "..data" / ".env").write_text("SLACK_BOT_TOKEN=xoxb-1\n")
    (folder / ".env").symlink_to(Path("..data") / ".env")
    assert load_in().secrets() == ("xoxb-1",)


# The database


@pytest.mark.parametrize("variable", ["PGPASSWORD", "PGPASSFILE", "PGSERVICE"])
def test_a_database_of_the_folder_does_not_get_the_drivers_password(load_in, folder, variable):
    (folder / ".env").write_text("DATABASE_URL=postgresql://u@evil.example/d\n")
    assert load_in().origin("DATABASE_URL") == ".env"
    assert problem_of(load_in, {variable: "x"}) == (
        f"DATABASE_URL: is not used from .env in the working folder together with {variable} from the environment; "
        "export DATABASE_URL, write the password into the URL, or set it in a TOML file that --config names"
    )
    for url in ("postgresql://u:pw@h/d", "postgresql://u@h/d?password=pw", "sqlite:///x.db"):
        (folder / ".env").write_text(f"DATABASE_URL={url}\n")
        assert load_in({variable: "x"}).origin("DATABASE_URL") == ".env"


@pytest.mark.parametrize("parameter", ["passfile=passwords", "service=s", "sslkey=key"])
@pytest.mark.parametrize("environ", [{}, {"PGPASSWORD": "x"}])
def test_a_database_of_the_folder_names_no_password_file_even_in_the_folder(load_in, folder, parameter, environ):
    (folder / "passwords").write_text("*:*:*:*:secret\n")
    (folder / ".env").write_text(f"DATABASE_URL=postgresql://u@h/d?{parameter}\n")
    assert problem_of(load_in, environ) == (
        "DATABASE_URL: is not used from .env in the working folder because it names a file with a password or a key; "
        "export DATABASE_URL, or set it in a TOML file that --config names"
    )


# ALERTCTL_NO_DOTENV


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_no_dotenv_in_the_environment_leaves_dotenv_unread(load_in, folder, value):
    (folder / ".env").write_bytes(b"SMTP_HOST=mail\n\xff")
    assert load_in({"ALERTCTL_NO_DOTENV": value}).smtp.host == ""
    assert "SMTP_HOST" not in read({"ALERTCTL_NO_DOTENV": value}, folder)


@pytest.mark.parametrize("value", ["0", "false", "", " "])
def test_no_dotenv_that_is_off_or_blank_changes_nothing(load_in, folder, value):
    (folder / ".env").write_text("SMTP_HOST=mail\n")
    assert load_in({"ALERTCTL_NO_DOTENV": value}).smtp.host == "mail"


def test_a_wrong_no_dotenv_reads_nothing_and_is_named(load_in, folder):
    (folder / ".env").write_text("SMTP_PORT=70000\n")
    assert problem_of(load_in, {"ALERTCTL_NO_DOTENV": "maybe"}).startswith("ALERTCTL_NO_DOTENV: ")


# The other ways in: remote mode, completion, proxies, commands


def test_a_server_of_the_folder_does_not_get_the_environments_token(folder):
    (folder / ".env").write_text("ALERTCTL_SERVER=https://evil.example\nALERTCTL_CA_BUNDLE=evil.pem\n")
    with pytest.raises(ConfigError) as caught:
        server_of(read({"ALERTCTL_TOKEN": "actl_1"}, folder))
    assert [line.partition(":")[0] for line in caught.value.problems[:2]] == ["ALERTCTL_SERVER", "ALERTCTL_CA_BUNDLE"]
    (folder / ".env").write_text("ALERTCTL_SERVER=https://ours.example\nALERTCTL_TOKEN=actl_1\n")
    server = server_of(read({"SLACK_BOT_TOKEN": "xoxb-1"}, folder))
    assert server is not None
    assert (server.url, server.token) == ("https://ours.example", "actl_1")


def test_a_proxy_comes_from_the_environment_only(load_in, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (folder / ".env").write_text("HTTPS_PROXY=http://evil.example\nhttps_proxy=http://evil.example\n")
    load_in()
    assert proxy_for("https") is None


def run_in(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    variables = {"HOME": str(folder.parent), "PATH": os.defpath, "COLUMNS": "200", **environ}
    command = [sys.executable, "-m", "alertctl", *arguments]
    return cli_process.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("config", "check"), ("test", "slack")])
def test_commands_exit_with_2_without_a_call_when_the_folder_redirects_a_token(folder, sandbox, arguments):
    (folder / ".env").write_text(f"SLACK_API_URL={sandbox.settings()['SLACK_API_URL']}\n")
    ran = run_in(folder, *arguments, SLACK_ENABLED="true", SLACK_BOT_TOKEN="xoxb-environment")
    assert ran.returncode == 2
    assert "SLACK_API_URL" in ran.stdout + ran.stderr
    assert sandbox.slack.messages == []


def test_serve_refuses_to_start_on_what_the_folder_trusts_unless_a_flag_says_the_same(folder):
    (folder / ".env").write_text("JWT_SECRET=known-to-a-stranger-known-to-a-stranger\nALERTCTL_HOST=0.0.0.0\n")
    ran = run_in(folder, "serve", "--port", "0")
    assert ran.returncode == 2
    assert [line.split(":")[1].strip() for line in ran.stderr.splitlines()] == ["JWT_SECRET", "ALERTCTL_HOST"]
    ran = run_in(folder, "serve", "--port", "0", "--host", "127.0.0.1")
    assert [line.split(":")[1].strip() for line in ran.stderr.splitlines()] == ["JWT_SECRET"]
    assert run_in(folder, "log").returncode == 0


def test_config_show_names_what_was_refused_and_where_it_stands(folder):
    (folder / ".env").write_text("SLACK_API_URL=https://evil.example/\nJWT_ISSUER=evil\nSLACK_BURST=7\n")
    ran = run_in(folder, "config", "show", SLACK_BOT_TOKEN="xoxb-environment")
    origins = {line.split()[0]: " ".join(line.split()[1:]) for line in ran.stdout.splitlines() if line.strip()}
    assert ran.returncode == 0
    assert origins["SLACK_API_URL"] == "https://slack.com/api/ default (.env refused)"
    assert origins["JWT_ISSUER"] == "default (.env refused)"
    assert origins["SLACK_BURST"] == "7 .env"
    assert "warning: SLACK_API_URL: is not used from .env" in ran.stderr
    assert "evil" not in ran.stdout


def test_config_check_names_everything_that_was_refused_at_once(folder):
    (folder / ".env").write_text("SMTP_HOST=evil.example\nJWT_ISSUER=evil\n")
    environ = {
        "EMAIL_ENABLED": "true",
        "SMTP_USERNAME": "me",
        "SMTP_PASSWORD": "pw",
        "EMAIL_FROM_ADDRESS": "a@b.example",
    }
    ran = run_in(folder, "config", "check", "-o", "json", **environ)
    assert ran.returncode == 2
    items = json.loads(ran.stdout)["items"]
    assert [(item["severity"], item["name"]) for item in items] == [("error", "JWT_ISSUER"), ("error", "SMTP_HOST")]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://alertctl@127.0.0.1:4402/x",
        "postgresql://alertctl@db.corp.example/x?hostaddr=127.0.0.1",
        "postgresql:///x?service=s",
        "postgresql://u:p@127.0.0.1/x?passfile=/etc/passwords",
        "postgresql://u:p@127.0.0.1/x?sslkey=/etc/key",
    ],
)
def test_a_database_of_the_folder_gets_no_password_from_a_file_outside(tmp_path, url):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".pgpass").write_text("*:*:*:*:secret\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".env").write_text(f"DATABASE_URL={url}\n")
    ran = run_in(tmp_path / "folder", "log", HOME=str(tmp_path / "home"))
    assert (ran.returncode, "DATABASE_URL: is not used from .env in the working folder" in ran.stderr) == (2, True)


def test_an_event_is_not_spooled_for_an_address_that_the_folder_may_not_set(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".env").write_text("ALERTCTL_SERVER=http://127.0.0.1:9\n")
    log = f"sqlite:///{tmp_path}/log.db"
    environ = {"HOME": str(tmp_path), "DATABASE_URL": log, "ALERTCTL_TOKEN": "actl_mine"}
    send = ("send", "--event", "generic_alert", "--title", "x", "--queue")
    ran = run_in(tmp_path / "folder", *send, **environ)
    assert (ran.returncode, "spooled as" in ran.stderr, "127.0.0.1:9 publishes" in ran.stderr) == (0, True, False)
    ran = run_in(tmp_path, "log", "-o", "json", HOME=str(tmp_path), DATABASE_URL=log)
    ran = run_in(tmp_path, "log", "-o", "json", HOME=str(tmp_path), DATABASE_URL=log)
    assert json.loads(ran.stdout)["total"] == 1


def test_an_event_whose_database_was_unusable_waits_for_that_setting_and_not_for_the_default(tmp_path):
    home = {"HOME": str(tmp_path)}
    send = ("send", "--event", "generic_alert", "--title", "x", "--queue")
    assert run_in(tmp_path, *send, **home, DATABASE_URL="postgresql://u:p#w@db/x").returncode == 0
    assert json.loads(run_in(tmp_path, "log", "-o", "json", **home).stdout)["total"] == 0
    (entry,) = json.loads(run_in(tmp_path, "spool", "list", "-o", "json", **home).stdout)["items"]
    assert "DATABASE_URL" in json.dumps(entry)
    repaired = home | {"DATABASE_URL": f"sqlite:///{tmp_path}/right.db"}
    run_in(tmp_path, "log", **repaired)
    assert json.loads(run_in(tmp_path, "log", "-o", "json", **repaired).stdout)["total"] == 1
