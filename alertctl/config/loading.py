"""Build `Settings` from all sources and report every mistake at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alertctl.config.database_url import default_url
from alertctl.config.folder_trust import Refusal, refuse_addresses, refuse_trusted_only
from alertctl.config.folders import has_temporary_state, why_state_is_temporary
from alertctl.config.settings import MODELS, Settings, reference, setting_name, shown
from alertctl.config.sources import IN_FILES, Sources, Value, gather, is_blank, origin_note
from alertctl.config.validators import quoted
from alertctl.errors import ConfigError
from alertctl.suggestions import did_you_mean

log = logging.getLogger("alertctl.config")
TABLES = ("messages", "routes")
"""Parts of the TOML file that are more than one setting."""
_NEEDED_TO_RECORD = (
    *("SLACK_DEFAULT_CHANNEL", "ALERTCTL_SERVER"),
    *("ALERTCTL_ALLOWED_EMAIL_DOMAINS", "ALERTCTL_ALLOWED_SLACK_CHANNELS"),
)
"""Settings without which an event could go to the wrong people or into the wrong database."""


def load(
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    refuse: bool = True,
    tolerate: bool = False,
) -> Settings:
    """Read and check all settings. `flags` are by NAME; a flag that is None is ignored.

    Raises ConfigError with one line for each mistake. `environ` and `cwd` default to those of the process. An address
    that the working folder may not set (see `folder_trust.py`) is also a mistake; without `refuse` it keeps its default
    and is listed in `Settings.refusals`. With `tolerate`, a mistake that doesn't prevent recording an event is listed
    in `Settings.problems`, and the setting has its default value.
    """
    environ, cwd = os.environ if environ is None else environ, cwd or Path()
    sources = gather(environ, cwd, flags)
    problems = [*sources.problems, *_unknown(sources)]
    addresses = _changed(refuse_addresses(sources.values, environ), sources.values)
    if refuse:
        problems += [f"{name}: {refusal.message}" for name, refusal in addresses.items()]
    values = {name: value for name, value in sources.values.items() if name not in addresses}
    messages = _messages(sources, problems)
    sections = {section: _section(section, values, environ, cwd, problems) for section in MODELS}
    if problems and not (tolerate and all(_is_tolerable(problem, sources.files) for problem in problems)):
        raise ConfigError(problems)
    settings = Settings(**sections)
    trusted_only = {name: refuse_trusted_only(name, value.origin) for name, value in sources.refused.items()}
    settings._values = values
    settings._refusals = {**_changed(trusted_only, sources.refused), **addresses}
    settings._problems = tuple(problems)
    settings._messages = messages
    return settings


def _changed(refusals: Mapping[str, Refusal], values: Mapping[str, Value]) -> dict[str, Refusal]:
    """Return the refusals of known settings that aren't the default: a copy of `.env.example` changes nothing."""
    defaults = {name: default.rstrip("/") for name, default, _ in reference()}
    changed = {}
    for name, refusal in refusals.items():
        raw = values[name].raw
        text = shown(tuple(raw) if isinstance(raw, list) else raw).strip().rstrip("/")
        if name in defaults and text != defaults[name]:
            changed[name] = refusal
    return changed


def _is_tolerable(problem: str, files: Container[str]) -> bool:
    """Return whether an event can still be recorded in the right database and for the right people.

    A file that could not be used may name the database or a server; `files` are those of `Sources`.
    """
    name = problem.partition(":")[0].removesuffix("_FILE")
    if name in files:
        return False
    channels = (section for section, model in MODELS.items() if "enabled" in model.model_fields)
    if name.startswith(tuple(f"{section}_".upper() for section in (*channels, "alertctl"))):
        # An unknown key may be a misspelt needed one, or `enabled`.
        return name not in _NEEDED_TO_RECORD and any(name == known for known, _, _ in reference())
    return name.startswith(("MESSAGES", "SENDGRID_", "SMTP_", "RETRY_", "PRUNE_", "JWT_"))


def _section(
    section: str, values: Mapping[str, Value], environ: Mapping[str, str], cwd: Path, problems: list[str]
) -> Any:
    """Return a checked section. A wrong value is added to `problems` and replaced by its default."""
    model = MODELS[section]
    set_values = {field: values.get(setting_name(section, field)) for field in model.model_fields}
    raw = {field: value.raw for field, value in set_values.items() if value and not is_blank(value.raw)}
    if section == "database" and "url" not in raw:
        # The model's own default reads the process's environment; here the environment was passed in.
        raw["url"] = default_url(environ)
        if has_temporary_state(environ):
            _warn_of_temporary_log(why_state_is_temporary(environ), raw["url"])
    try:
        return model.model_validate(raw, context={"cwd": cwd})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            name = setting_name(section, str(detail["loc"][0]))
            message = detail.get("ctx", {}).get("error", detail["msg"])
            problems.append(f"{name}: {message}{origin_note(values[name].origin) if name in values else ''}")
        if section == "database":
            return None
        for field in {str(detail["loc"][0]) for detail in error.errors()}:
            del raw[field]
            if field == "enabled":
                # The channel may be meant to be on: its deliveries wait instead of being suppressed.
                raw[field] = True
        return model.model_validate(raw, context={"cwd": cwd})


@cache
def _warn_of_temporary_log(why: str, url: str) -> None:
    """Warn once in a process."""
    log.warning(
        "%s: the delivery log is in %s, which may be deleted when this machine restarts; set XDG_STATE_HOME or "
        "DATABASE_URL",
        why,
        url.removeprefix("sqlite:///"),
    )


def _unknown(sources: Sources) -> Iterator[str]:
    """Yield a problem for each unknown section or key of the TOML file: a typo must not be silent."""
    origin = origin_note(sources.table_origin)
    for section, fields in sources.table.items():
        if section in TABLES:
            # `events.wording` and `routing.parse_routes` check them: they know the event types.
            continue
        if section not in MODELS:
            known = [*(f"[{name}]" for name in (*MODELS, "messages")), "[[routes]]"]
            nearest = did_you_mean(f"[{section}]", known)
            named = _plain(section)
            yield f"{named.upper()}: there is no section [{named}]{nearest}{origin}"
        elif not isinstance(fields, dict):
            yield f"{section.upper()}: [{section}] is a section, not a value{origin}"
        else:
            known = _keys(section)
            for key in fields:
                if key not in known:
                    name = setting_name(section, _plain(key))
                    yield f"{name}: [{section}] has no {_plain(key)}{did_you_mean(key, known)}{origin}"


def _messages(sources: Sources, problems: list[str]) -> dict[str, dict[str, str]]:
    """Return the templates of `[messages.TYPE]` by event type and part; one that isn't text is a problem."""
    origin = origin_note(sources.table_origin)
    table = sources.table.get("messages", {})
    if not isinstance(table, dict):
        problems.append(f"MESSAGES: should be sections [messages.TYPE]{origin}")
        return {}
    messages: dict[str, dict[str, str]] = {}
    for event_type, parts in table.items():
        if not isinstance(parts, dict):
            problems.append(f"MESSAGES: {_plain(event_type)} should be a section [messages.TYPE]{origin}")
            continue
        messages[event_type] = {part: text for part, text in parts.items() if isinstance(text, str)}
        for part in parts.keys() - messages[event_type].keys():
            problems.append(f"MESSAGES: {_plain(part)} of [messages.{_plain(event_type)}] should be text{origin}")
    return messages


def _keys(section: str) -> list[str]:
    names = {field: setting_name(section, field) for field in MODELS[section].model_fields}
    keys = [field for field, name in names.items() if name not in ("ALERTCTL_CONFIG", "ALERTCTL_NO_DOTENV")]
    return [*keys, *(f"{field}_file" for field, name in names.items() if name in IN_FILES)]


def _plain(key: str) -> str:
    """Return a TOML key as it is shown in an error."""
    return key if key.isidentifier() else quoted(key)
