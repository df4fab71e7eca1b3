"""Valid values of each setting, and the error messages for invalid ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from alertctl.config import is_loopback, load, parse_duration, reference
from alertctl.config.durations import format_duration
from alertctl.config.urls import network_of
from alertctl.errors import ConfigError
from tests.support.cases import each

ROOT = Path(__file__).resolve().parents[2]

PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----"


GOOD = [
    ("SLACK_ENABLED", "YES", True),
    ("SLACK_ENABLED", "off", False),
    ("SLACK_BOT_TOKEN", "xoxb-1\n", SecretStr("xoxb-1")),
    ("SLACK_DEFAULT_CHANNEL", "C0123ABCD", "C0123ABCD"),
    ("SLACK_DEFAULT_CHANNEL", "#größe_1", "#größe_1"),
    ("SLACK_API_URL", "http://127.0.0.1:8/api", "http://127.0.0.1:8/api/"),
    ("SLACK_API_URL", "https://slack-gov.com/api/", "https://slack-gov.com/api/"),
    ("SLACK_PER_SECOND", "0", 0.0),
    ("SENDGRID_API_URL", "http://[::1]:8080/", "http://[::1]:8080"),
    ("SENDGRID_API_KEY", " SG.a.b\n", SecretStr("SG.a.b")),
    ("EMAIL_FROM_ADDRESS", "alerts@corp.local", "alerts@corp.local"),
    ("EMAIL_FROM_ADDRESS", "root@localhost", "root@localhost"),
    ("EMAIL_FROM_ADDRESS", "o'neil+x@xn--bcher-kva.example", "o'neil+x@xn--bcher-kva.example"),
    ("SMTP_HOST", "::1", "::1"),
    ("SMTP_HOST", "[::1]", "::1"),
    ("SMTP_HOST", "mail.faß.example", "mail.xn--fa-hia.example"),
    ("SMTP_PORT", " 465 ", 465),
    ("SMTP_SECURITY", "STARTTLS", "starttls"),
    ("NOTIFICATION_ADMIN_EMAILS", "a@x.example, b@x.example,,A@X.example", ("a@x.example", "b@x.example")),
    ("NOTIFICATION_ADMIN_EMAILS", "weiß@x.example,weiss@x.example", ("weiß@x.example", "weiss@x.example")),
    ("DATABASE_URL", "postgres://u:p%40@h:5/d", "postgresql+psycopg://u:p%40@h:5/d"),
    ("DATABASE_URL", "postgresql:///d?host=/run", "postgresql+psycopg:///d?host=/run"),
    ("DATABASE_URL", "postgresql://u@h1:1,h2/d", "postgresql+psycopg://u@/d?host=h1,h2&port=1,"),
    ("DATABASE_URL", "postgresql://h1,[::1]?user=u", "postgresql+psycopg:///?user=u&host=h1,::1"),
    ("DATABASE_URL", "postgresql://u:p@%2Frun%2Fpg:7/d", "postgresql+psycopg://u:p@/d?host=%2Frun%2Fpg&port=7"),
    ("DATABASE_URL", "sqlite:////var/log.db", "sqlite:////var/log.db"),
    ("DATABASE_URL", "sqlite:///log.db", "sqlite:///log.db"),
    ("RETRY_SCHEDULE", "1s 1.5m, 1h30m 0", (1.0, 90.0, 5400.0, 0.0)),
    ("JWT_ALGORITHMS", "RS256,ES256", ("RS256", "ES256")),
    ("JWT_PUBLIC_KEY", PEM.replace("\n", "\\n"), PEM),
    ("JWT_JWKS", "https://id.example/keys?v=1", "https://id.example/keys?v=1"),
    ("JWT_LEEWAY", "30s", 30.0),
    ("ALERTCTL_LEASE", "1m", 60.0),
    ("ALERTCTL_SERVER", "https://alerts.example:8443/", "https://alerts.example:8443"),
    ("ALERTCTL_LOG_FORMAT", "JSON", "json"),
]


@each(("name", "text", "expected"), GOOD)
def test_a_good_value_is_taken(settings_in, name, text, expected):
    section, field = name.lower().split("_", 1)
    assert getattr(getattr(settings_in({name: text}), section), field) == expected


BAD = [
    ("SLACK_ENABLED", "maybe", '"maybe" is neither true nor false'),
    ("SLACK_BOT_TOKEN", "xoxb 1", "contains a space, a line break or a non-ASCII character"),
    ("SLACK_DEFAULT_CHANNEL", "#a b", '"#a b" is not a Slack channel (#name, a name, or an ID)'),
    ("SLACK_DEFAULT_CHANNEL", "#a\r\nb", '"#a\\r\\nb" is not a Slack channel'),
    ("SLACK_API_URL", "slack.com/api", '"slack.com/api" is not an http:// or https:// address'),
    ("SLACK_API_URL", "https://h:99999/", "is not an http:// or https:// address"),
    ("SLACK_API_URL", "https://", "is not an http:// or https:// address"),
    ("SLACK_PER_SECOND", "nan", '"nan" is not a number (0 to 1000)'),
    ("SLACK_BURST", "1.5", "1.5 is not a whole number (1 to 1000)"),
    ("SLACK_BURST", "9" * 5000, "is not a whole number (1 to 1000)"),
    ("SENDGRID_API_KEY", "SG.a\nb", "contains a space, a line break or a non-ASCII character"),
    ("EMAIL_FROM_ADDRESS", "alerts", '"alerts" is not a single email address (name@domain)'),
    ("EMAIL_FROM_ADDRESS", "älerts@corp.example", '"älerts@corp.example" cannot be a sender; use only ASCII letters'),
    ("EMAIL_FROM_ADDRESS", "a..b@corp.example", "is not a single email address"),
    ("EMAIL_FROM_NAME", "a\nb", '"a\\nb" contains a control character or a line break'),
    ("SMTP_HOST", "mail:25", '"mail:25" is not a host'),
    ("SMTP_HOST", "mail.ä_b.example", "not a valid international name (IDNA 2008)"),
    ("EMAIL_FROM_ADDRESS", "alerts@ä_b.example", "not a valid international name (IDNA 2008)"),
    ("SMTP_HOST", "smtp://mail", '"smtp://mail" is not a host'),
    ("SMTP_HOST", "ma\0il", '"ma\\u0000il" is not a host'),
    ("SMTP_PORT", "70000", "70000 is not a port (1 to 65535)"),
    ("SMTP_PORT", "0", "0 is not a port (1 to 65535)"),
    ("SMTP_PORT", "٢٥", "is not a port"),
    ("SMTP_SECURITY", "ssl", '"ssl" is not one of starttls, tls, none'),
    (
        "NOTIFICATION_ADMIN_EMAILS",
        "a@x.example,bad,b@x.example",
        '"bad" is not a single email address (name@domain)',
    ),
    ("NOTIFICATION_ADMIN_EMAILS", "a@@x,bad", '"a@@x", "bad" are not email addresses (name@domain)'),
    ("DATABASE_URL", "mysql://u:p@h/d", "mysql:// is not a database that alertctl can use"),
    ("DATABASE_URL", "postgresql+asyncpg://h/d", "postgresql+asyncpg:// is not a database"),
    ("DATABASE_URL", "log.db", "is not a database that alertctl can use"),
    ("DATABASE_URL", "sqlite://log.db", "has no file name; write three slashes"),
    ("DATABASE_URL", "sqlite:///", "has no file name"),
    ("DATABASE_URL", "sqlite:///:memory:", "is an in-memory database"),
    ("DATABASE_URL", "sqlite:////var/q?mark.db", "means the file '/var/q', because a ? ends the file name"),
    ("DATABASE_URL", "postgresql://h:port/d", "has an invalid port or host"),
    ("DATABASE_URL", "postgresql://h1:5432,h2:port/d", "has an invalid port or host"),
    ("DATABASE_URL", "postgresql://h1:5432,h2:0/d", "has an invalid port or host"),
    ("DATABASE_URL", "postgresql://u:1/p@h/d", "has an invalid port or host"),
    ("RETRY_SCHEDULE", "5s soon", '"soon" is not a duration (90s, 2m, 1h, 1d, or seconds)'),
    ("RETRY_SCHEDULE", "60d", '"60d" is out of range (0s to 30d)'),
    ("RETRY_SCHEDULE", ",", '"," is not'),
    ("PRUNE_SUCCESS_DAYS", "0", "0 is not a number of days (1 to 36500)"),
    ("JWT_ALGORITHMS", "RS256,none", '"none" is not one of HS256'),
    ("JWT_PUBLIC_KEY", "MFkw", "is not a public key in PEM form"),
    ("JWT_PUBLIC_KEY", "-----BEGIN PRIVATE KEY-----\nx", "is a private key"),
    ("JWT_JWKS", "keys.json", '"keys.json" is not a file'),
    ("ALERTCTL_LEASE", "-1", "-1 is not a duration"),
    ("ALERTCTL_SENDERS", "257", "257 is not a whole number (1 to 256)"),
    ("ALERTCTL_CA_BUNDLE", "ca.pem", '"ca.pem" is not a file'),
    ("ALERTCTL_LOG_LEVEL", "loud", '"loud" is not one of debug, info, warning, error'),
    ("ALERTCTL_TOKEN", "a\udcff", "contains a space, a line break or a non-ASCII character"),
]


@each(("name", "text", "says"), BAD)
def test_a_bad_value_is_one_line_that_begins_with_its_name(problems_in, name, text, says):
    (problem,) = problems_in({name: text})
    assert problem.startswith(f"{name}: ")
    assert says in problem
    assert len(problem) < 200
    assert problem.isprintable()


@each(
    "text",
    [
        "a",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a@b,c@d",
        "a@b;c@d",
        "D <a@b>",
        "a@b..c",
        "a@.b",
        "a@b.",
        "a@b\r\nBcc: c@d",
        "a\0@b",
        "a@b\u2028c",
        "a" * 250 + "@b.example",
        "ä" * 130 + "@b",
    ],
)
def test_anything_but_exactly_one_address_is_refused(problems_in, text):
    (problem,) = problems_in({"EMAIL_FROM_ADDRESS": text})
    assert problem.startswith("EMAIL_FROM_ADDRESS: ")


def test_all_mistakes_are_named_at_once_and_where_they_stand(problems_in):
    environ, dotenv, toml = (
        {"SLACK_ENABLED": "maybe"},
        "SMTP_PORT=70000",
        "[prune]\nfailed_days = -1\nsucess_days = 3",
    )
    assert sorted(problems_in(environ, dotenv=dotenv, toml=toml)) == [
        "PRUNE_FAILED_DAYS: -1 is not a number of days (1 to 36500) (from alertctl.toml)",
        "PRUNE_SUCESS_DAYS: [prune] has no sucess_days; did you mean success_days? (from alertctl.toml)",
        'SLACK_ENABLED: "maybe" is neither true nor false',
        "SMTP_PORT: 70000 is not a port (1 to 65535) (from .env)",
    ]


def test_toml_may_use_its_own_types(settings_in):
    toml = """
    [slack]\nenabled = true\nper_second = 2
    [notification]\nadmin_emails = ["a@x.example", "b@x.example"]
    [retry]\nschedule = [1, 2.5, "3m"]
    [alertctl]\ndeadline = 2.5
    """
    settings = settings_in(toml=re.sub(r"(?m)^ +", "", toml))
    assert settings.slack.enabled is True
    assert settings.notification.admin_emails == ("a@x.example", "b@x.example")
    assert settings.retry.schedule == (1.0, 2.5, 180.0)
    assert settings.alertctl.deadline == 2.5


@pytest.mark.parametrize("value", ["[1]", "{a = 1}", "1979-05-27", "inf", "nan", "9999999999999999999999", "true"])
def test_a_toml_value_of_a_wrong_type_is_one_line_for_every_setting(problems_in, value):
    switches = {"SLACK_ENABLED", "EMAIL_ENABLED", "ALERTCTL_STRICT", "JWT_LINK_BY_EMAIL"}
    right = {"true": switches, "[1]": {"RETRY_SCHEDULE"}}.get(value, set())
    names = [name for name, _, _ in reference() if name not in right | {"ALERTCTL_CONFIG", "ALERTCTL_NO_DOTENV"}]
    toml = "".join(f"{name.lower().replace('_', '.', 1)} = {value}\n" for name in names)
    assert [
        problem.partition(":")[0] for problem in problems_in({"ALERTCTL_CONFIG": "alertctl.toml"}, toml=toml)
    ] == names


# Durations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("2m", 120),
        ("1h", 3600),
        ("1d", 86400),
        ("1w", 604800),
        ("500ms", 0.5),
        ("1h30m", 5400),
        ("90", 90),
        (90, 90),
        (1.5, 1.5),
        (" 2M ", 120),
        ("0", 0),
    ],
)
def test_durations_are_read_as_seconds(text, expected):
    assert parse_duration(text) == expected


@each("text", ["", "s", "1x", "-1s", "1 h 30", "1h!", "nan", "inf", "1e3", True, None, [], float("nan")])
def test_an_invalid_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(0, 10_000_000))
def test_a_duration_written_out_reads_back_the_same(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text())
def test_every_text_is_a_duration_or_a_value_error(text):
    message = ""
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        message = str(error)
    assert message.isprintable()


@given(st.sampled_from([name for name, _, _ in reference()]), st.text(max_size=200))
def test_every_text_in_a_variable_is_valid_or_a_clear_line(name, text):
    lines: tuple[str, ...] = ()
    try:
        load({"XDG_STATE_HOME": "/nonexistent", name: text}, Path("/nonexistent"))
    except ConfigError as error:
        lines = error.problems
    assert all(line.startswith(name) and line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("db.localhost", True),
        ("127.0.0.9", True),
        ("[::1]", True),
        ("mail", False),
        ("", False),
    ],
)
def test_loopback_hosts_are_known_without_a_look_up(host, expected):
    assert is_loopback(host) is expected


@each(
    ("host", "network"),
    [
        *(
            (host, "loopback")
            for host in ("localhost", "api.localhost", "127.1.2.3", "[::1]", "127.1", "::ffff:127.0.0.1")
        ),
        *((host, "private") for host in ("alertctl", "alertctl.", "a.svc", "a.ns.svc.cluster.local", "a.internal")),
        *((host, "private") for host in ("10.0.0.1", "172.31.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1")),
        *((host, "private") for host in ("fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1")),
        *((host, "public") for host in ("corp.example", "svc.example", "8.8.8.8", "172.32.0.1", "2001:4860::1")),
        # Resolvers read all of these as 8.8.8.8.
        *((host, "public") for host in ("134744072", "0x8080808", "010.8.8.8", "8.8.2056", "::ffff:8.8.8.8")),
    ],
)
def test_the_network_of_a_host_is_known_by_its_name(host, network):
    assert network_of(host) == network
