"""Every setting: its name, type, default and meaning. SECTION_FIELD in upper case is the variable's name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr

from alertctl.config import durations, urls, validators
from alertctl.config.database_url import MASK, database_url, default_url, masked, passwords
from alertctl.config.folder_trust import Refusal
from alertctl.config.sources import SecretFile, Value
from alertctl.config.types import (
    Algorithms,
    Credential,
    Days,
    ExistingFile,
    ExistingFolder,
    HmacSecret,
    Host,
    KeySet,
    Password,
    Port,
    SlackUrl,
    Text,
    Url,
    YesOrNo,
)

_NO_SECRET = SecretStr("")
_QUERY_VALUE = re.compile(r"([?&][^=&]*)=[^&]*|(?<=\?)[^=&]+$")


class _Section(BaseModel):
    # Frozen: settings are built once and passed down. No input in errors: it may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Slack(_Section):
    enabled: YesOrNo = Field(False, description="Send alerts to Slack: true or false.")
    bot_token: Credential = Field(_NO_SECRET, description="The Slack app's bot token, xoxb-…")
    default_channel: Annotated[str, BeforeValidator(validators.slack_channel)] = Field(
        "#platform-alerts", description="Channel for events that match no route: #name, name or ID."
    )
    api_url: SlackUrl = Field(
        "https://slack.com/api/", description="URL of Slack's API; different for GovSlack and the sandbox."
    )
    per_second: Annotated[float, BeforeValidator(validators.number(0, 1000))] = Field(
        1.0, description="Messages per second to one channel (Slack allows 1); 0 = no limit."
    )
    burst: Annotated[int, BeforeValidator(validators.integer(1, 1000))] = Field(
        5, description="Messages that may go to one channel at once before SLACK_PER_SECOND applies."
    )
    style: Annotated[str, BeforeValidator(validators.one_of(*validators.STYLES))] = Field(
        "full", description="Style of Slack messages unless a route sets it: full, or compact (two lines)."
    )
    mention: Annotated[tuple[str, ...], BeforeValidator(validators.mentions)] = Field(
        (),
        description="People (by email) and user groups (by id) to mention in SLACK_DEFAULT_CHANNEL, comma-separated.",
    )
    mention_from: Annotated[str, BeforeValidator(validators.one_of("info", "warning", "error", "critical"))] = Field(
        "warning", description="Lowest severity at which SLACK_MENTION applies: info, warning, error or critical."
    )
    threads: Annotated[str, BeforeValidator(validators.one_of("subject", "off"))] = Field(
        "subject",
        description="Messages about one feature flag or experiment in one channel: `subject` = one thread, "
        "`off` = separate messages.",
    )


class Email(_Section):
    enabled: YesOrNo = Field(False, description="Send alerts by email: true or false.")
    from_address: Annotated[str, BeforeValidator(validators.sender)] = Field(
        "alertctl@localhost", description="The sender's address."
    )
    from_name: Text = Field("alertctl", description="The sender's name.")
    logo_url: Annotated[str, BeforeValidator(urls.https_url)] = Field(
        "", description="URL (https) of a logo at the top of each email, shown 32 px high."
    )
    accent: Annotated[str, BeforeValidator(validators.colour)] = Field(
        "", description="Colour of the bar and the button in emails, #rrggbb. Unset: the severity's colour."
    )


class Sendgrid(_Section):
    api_key: Credential = Field(_NO_SECRET, description="SendGrid's API key, SG.…; if unset, SMTP is used.")
    api_url: Url = Field(
        "https://api.sendgrid.com", description="URL of SendGrid's API; for the EU region https://api.eu.sendgrid.com."
    )


class Smtp(_Section):
    host: Host = Field("", description="The mail server, used if SENDGRID_API_KEY is unset.")
    port: Port = Field(587, description="The mail server's port; 465 means TLS from the start.")
    username: Text = Field("", description="User name, if the server requires a login.")
    password: Password = Field(_NO_SECRET, description="Password of SMTP_USERNAME.")
    auth: Annotated[str, BeforeValidator(validators.one_of("password", "xoauth2"))] = Field(
        "password", description="How to log in: password, or xoauth2 with an OAuth access token (Microsoft, Google)."
    )
    oauth_token: Credential = Field(_NO_SECRET, description="OAuth access token of SMTP_USERNAME, for xoauth2.")
    final_timeout: Annotated[float, BeforeValidator(durations.duration_between(0.1, 3600))] = Field(
        600.0,
        description="Seconds to wait for the mail server's answer after the complete message; "
        "a shorter wait may send an alert twice.",
    )
    security: Annotated[str, BeforeValidator(validators.one_of("starttls", "tls", "none"))] | None = Field(
        None,
        description="starttls, tls or none. Unset: tls on port 465, else starttls "
        "(none on a loopback host that offers no STARTTLS).",
    )


class Notification(_Section):
    admin_emails: Annotated[tuple[str, ...], BeforeValidator(validators.addresses)] = Field(
        (),
        description="Email addresses for events that match no route (rollout_advance goes to Slack only), "
        "comma-separated.",
    )


class Database(_Section):
    # Not in the repr: it may hold a password.
    url: Annotated[str, BeforeValidator(database_url)] = Field(
        default_factory=lambda: default_url(os.environ),
        repr=False,
        description="sqlite:///path/to/file.db or postgresql://user:password@host/name. "
        "Unset: alertctl.db in $XDG_STATE_HOME/alertctl or ~/.local/state/alertctl.",
    )


class Retry(_Section):
    schedule: Annotated[tuple[float, ...], BeforeValidator(durations.schedule)] = Field(
        (5.0, 30.0, 120.0, 600.0, 3600.0, 14400.0),
        description="Wait before each retry. If the last retry fails with reason unavailable or ambiguous, "
        "the delivery is final.",
    )


class Prune(_Section):
    success_days: Days = Field(30, description="Days that successful deliveries stay in the log.")
    failed_days: Days = Field(90, description="Days that failed deliveries stay in the log.")
    suppressed_days: Days = Field(30, description="Days that suppressed deliveries stay in the log.")


class Jwt(_Section):
    secret: HmacSecret = Field(_NO_SECRET, description="Shared secret of HS256 tokens, 32 bytes or more.")
    public_key: Annotated[str, BeforeValidator(validators.public_key)] = Field(
        "", description="Public key of RS256 or ES256 tokens, PEM text."
    )
    jwks: KeySet = Field("", description="The identity provider's key set (JWKS): a URL or a file.")
    issuer: Text = Field("", description="Required `iss` of a token. Unset: any issuer, each with its own users.")
    audience: Text = Field("", description="Required `aud` of a token. Unset: not checked.")
    algorithms: Algorithms = Field(
        (),
        description="Accepted algorithms, comma-separated. "
        "Unset: HS256 with JWT_SECRET, RS256 and ES256 with public keys.",
    )
    user_claim: Text = Field("sub", description="The claim with the user's id; a.b is claim b in claim a.")
    email_claim: Text = Field("email", description="The claim with the user's email address.")
    role_claim: Text = Field(
        "role", description="The claim with the user's role or roles; may be a path, such as realm_access.roles."
    )
    link_by_email: YesOrNo = Field(
        False,
        description="Give a new JWT user the existing account with the same email, without its role, "
        "if email_verified is true and the account has no JWT user yet.",
    )
    leeway: Annotated[float, BeforeValidator(durations.duration_between(0, 3600))] = Field(
        10.0, description="Tolerated clock difference, in seconds."
    )


class Alertctl(_Section):
    config: Text = Field(
        "",
        description="The TOML file. Unset: ./alertctl.toml, else alertctl/alertctl.toml "
        "in $XDG_CONFIG_HOME or ~/.config.",
    )
    no_dotenv: YesOrNo = Field(
        False, description="Do not read .env from the working folder: true or false. In the environment only."
    )
    host: Host = Field("127.0.0.1", description="The address that `alertctl serve` listens on.")
    port: Annotated[int, BeforeValidator(validators.integer(0, 65535, "a port"))] = Field(
        8000, description="The port that `alertctl serve` listens on; 0 = any free one."
    )
    lease: Annotated[float, BeforeValidator(durations.duration_between(0.1, 86_400))] | None = Field(
        None,
        description="Lease: seconds before another daemon may retry a claimed delivery; renewed while it is being "
        "sent. Unset: four times ALERTCTL_DEADLINE.",
    )
    deadline: Annotated[float, BeforeValidator(durations.duration_between(0.1, 600))] = Field(
        10.0,
        description="Time limit of one attempt, in seconds. A mail server's answer to the complete message has its own "
        "limit, SMTP_FINAL_TIMEOUT.",
    )
    max_age: Annotated[float, BeforeValidator(durations.duration_between(60, 365 * 86_400))] = Field(
        259_200.0,
        description="Seconds that a delivery waits for credentials, settings or this machine to be fixed "
        "(259200 = 72h).",
    )
    helo: Annotated[str, BeforeValidator(urls.host)] = Field(
        "", description="The name that alertctl gives mail servers (EHLO). Unset: this machine's full host name."
    )
    senders: Annotated[int, BeforeValidator(validators.integer(1, 256))] = Field(
        16, description="Sender threads for each channel."
    )
    ca_bundle: ExistingFile = Field(
        "", description="File of CA certificates (PEM) to trust instead of the default ones."
    )
    server: Url = Field("", description="URL of an `alertctl serve` that commands use instead of the database.")
    token: Credential = Field(_NO_SECRET, description="The token for ALERTCTL_SERVER, actl_…")
    timeout: Annotated[float, BeforeValidator(durations.duration_between(0.1, 86_400))] = Field(
        30.0, description="Seconds that a command waits for ALERTCTL_SERVER, retries included."
    )
    strict: YesOrNo = Field(
        False, description="Make `send` exit with an error if an alert is not delivered, like --strict."
    )
    log_level: Annotated[str, BeforeValidator(validators.one_of("debug", "info", "warning", "error"))] = Field(
        "info", description="Log level: debug, info, warning or error."
    )
    log_format: Annotated[str, BeforeValidator(validators.one_of("text", "json"))] = Field(
        "text", description="Log format: text or json."
    )
    allowed_email_domains: Annotated[tuple[str, ...], BeforeValidator(validators.globs("email"))] = Field(
        (),
        description="Email domains allowed for recipients that callers and users choose, in email and in Slack direct "
        "messages: globs, comma-separated (corp.example, *.corp.example). Unset: all.",
    )
    allowed_slack_channels: Annotated[tuple[str, ...], BeforeValidator(validators.globs("slack"))] = Field(
        (),
        description="Slack channels and people allowed as recipients that callers and users choose: globs, "
        "comma-separated (alerts, team-*, @*@corp.example). Unset: all.",
    )
    events_per_minute: Annotated[int, BeforeValidator(validators.integer(0, 1_000_000))] = Field(
        0, description="Events that one token may publish per minute at this daemon; 0 = no limit."
    )
    templates: ExistingFolder = Field(
        "", description="Folder with your own alert.html or alert.txt for emails, instead of the built-in ones."
    )
    public_url: Url = Field(
        "",
        description="Public URL of this daemon, such as its TLS proxy's. The daemon also publishes the events "
        "that its own system user spooled for a server at this URL.",
    )


class Settings(BaseModel):
    """All settings, checked. Built once by `load` and passed down."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    slack: Slack = Field(default_factory=Slack)
    email: Email = Field(default_factory=Email)
    sendgrid: Sendgrid = Field(default_factory=Sendgrid)
    smtp: Smtp = Field(default_factory=Smtp)
    notification: Notification = Field(default_factory=Notification)
    database: Database = Field(default_factory=Database)
    retry: Retry = Field(default_factory=Retry)
    prune: Prune = Field(default_factory=Prune)
    jwt: Jwt = Field(default_factory=Jwt)
    alertctl: Alertctl = Field(default_factory=Alertctl)
    _values: Mapping[str, Value] = PrivateAttr(default_factory=dict)
    _refusals: Mapping[str, Refusal] = PrivateAttr(default_factory=dict)
    _problems: tuple[str, ...] = PrivateAttr(default=())
    _messages: Mapping[str, Mapping[str, str]] = PrivateAttr(default_factory=dict)

    @property
    def refusals(self) -> Mapping[str, Refusal]:
        """Refused settings of a file in the working folder, by NAME (see `folder_trust.py`); `serve` rejects them."""
        return self._refusals

    @property
    def channels(self) -> dict[str, bool]:
        """The channels, by section name, and whether each is enabled."""
        return {name: section.enabled for name, section in self if "enabled" in type(section).model_fields}

    @property
    def messages(self) -> Mapping[str, Mapping[str, str]]:
        """The sections `[messages.TYPE]` of the TOML file: templates by event type and part (`events.wording`)."""
        return self._messages

    @property
    def routes(self) -> object:
        """The routes as TOML has them: `routing.parse_routes` reads them."""
        return self._values["ROUTES"].raw if "ROUTES" in self._values else ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The mistakes that `load` tolerated, one line each, starting with the setting's name."""
        return self._problems

    def origin(self, name: str) -> str:
        """Return the origin of a value (see `Value.origin`)."""
        return self._values[name].origin if name in self._values else "default"

    def file_of(self, name: str) -> SecretFile | None:
        """Return the file that NAME_FILE names, if the setting comes from one."""
        return self._values[name].file if name in self._values else None

    def changed(self, section: str, field: str, value: object, raw: str) -> Settings:
        """Return a copy with another value of one setting; `raw` is its text."""
        section_copy = getattr(self, section).model_copy(update={field: value})
        settings = self.model_copy(update={section: section_copy})
        name = setting_name(section, field)
        settings._values = {**self._values, name: replace(self._values[name], raw=raw)}
        return settings

    def secrets(self) -> tuple[str, ...]:
        """Return every secret that is set, longest first, for redaction; a database's password also decoded."""
        values = [value.get_secret_value() for _, value in self._items() if isinstance(value, SecretStr)]
        return tuple(
            sorted({*filter(None, values), *passwords(self.database.url)}, key=lambda secret: (-len(secret), secret))
        )

    def describe(self) -> list[tuple[str, str, str]]:
        """Return name, value as text with secrets masked, and origin of every setting, in the order of this file."""
        notes = {name: f" ({refusal.file} refused)" for name, refusal in self._refusals.items()}
        return [(name, shown(value), self.origin(name) + notes.get(name, "")) for name, value in self._items()]

    def _items(self) -> Iterator[tuple[str, Any]]:
        for section, fields in self:
            yield from ((setting_name(section, field), value) for field, value in fields)


def shown(value: object) -> str:
    """Return a setting's value as in `.env`, secrets masked; empty for an unset one."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        waits = all(isinstance(part, float) for part in value)
        return " ".join(map(durations.format_duration, value)) if waits else ",".join(value)
    if isinstance(value, float):
        return validators.plain_number(value)
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        # Only key sets have a query, and some services put a key into it.
        value = _QUERY_VALUE.sub(lambda parameter: f"{parameter[1]}={MASK}", value)
    # A token in the wrong variable (SMTP_USERNAME for SMTP_PASSWORD) is still a secret.
    return validators.TOKEN.sub(MASK, masked(str(value))) if value is not None else ""


MODELS: dict[str, Any] = {section: field.annotation for section, field in Settings.model_fields.items()}


def setting_name(section: str, field: str) -> str:
    return f"{section}_{field}".upper()


def reference() -> list[tuple[str, str, str]]:
    """Return NAME, default as text (empty: unset) and description of every setting, in the order of this file."""
    return [
        (setting_name(section, name), "" if field.default_factory else shown(field.default), field.description or "")
        for section, model in MODELS.items()
        for name, field in model.model_fields.items()
    ]
