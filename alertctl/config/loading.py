"""Build `Settings` from all sources and report every mistake at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from alertctl.config.database_url import default_url
from alertctl.config.folders import has_temporary_state
from alertctl.config.settings import Settings, reference, shown
from alertctl.config.sources import IN_FILES, Sources, Value, gather, is_blank, origin_note, resolve
from alertctl.config.trust import Refusal, refuse_addresses
from alertctl.config.validators import quoted
from alertctl.errors import ConfigError
from alertctl.suggestions import did_you_mean

log = logging.getLogger("alertctl.config")
_NEEDED_TO_RECORD = ("SLACK_DEFAULT_CHANNEL", "ALERTCTL_CONFIG", "ALERTCTL_SERVER")
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
    that the working folder may not set (see `trust.py`) is also a mistake; without `refuse` it keeps its default and is
    listed in `Settings.refusals`. With `tolerate`, a mistake that doesn't prevent recording an event is listed in
    `Settings.problems`, and the setting has its default value.
    """
    environ = os.environ if environ is None else environ
    cwd = cwd or Path()
    sources = gather(environ, cwd, flags or {})
    values = resolve(sources)
    problems = [*sources.problems, *_unknown(sources)]
    addresses = _refused_addresses(values, environ)
    if refuse:
        problems += [f"{name}: {refusal.message}" for name, refusal in addresses.items()]
    values = {name: value for name, value in values.items() if name not in addresses}
    sections = {section: _section(model, section, values, environ, cwd, problems) for section, model in _sections()}
    if problems and not (tolerate and all(map(_is_tolerable, problems))):
        raise ConfigError(problems)
    settings = Settings(**sections)
    settings._values = values
    settings._refusals = {**_refused_trust(sources), **addresses}
    settings._problems = tuple(problems)
    return settings


def _refused_addresses(values: Mapping[str, Value], environ: Mapping[str, str]) -> dict[str, Refusal]:
    refused = refuse_addresses(values, environ)
    return {name: refusal for name, refusal in refused.items() if not _is_default(name, values[name].raw)}


def _refused_trust(sources: Sources) -> dict[str, Refusal]:
    known = {name for name, _, _ in reference()}
    return {
        name: refusal
        for name, refusal in sources.refused.items()
        if name in known and not _is_default(name, sources.refused_values[name])
    }


def _is_default(name: str, raw: object) -> bool:
    """Return whether a value equals the setting's default: a copy of `.env.example` changes nothing."""
    default = next(default for known, default, _ in reference() if known == name)
    return shown(tuple(raw) if isinstance(raw, list) else raw).strip().rstrip("/") == default.rstrip("/")


def _is_tolerable(problem: str) -> bool:
    """Return whether an event can still be recorded in the right database and for the right people."""
    name = problem.partition(":")[0].removesuffix("_FILE")
    channels = (section for section, model in _sections() if "enabled" in model.model_fields)
    if name.startswith(tuple(f"{section}_".upper() for section in (*channels, "alertctl"))):
        # An unknown key may be a misspelt needed one, or `enabled`.
        known = (setting for model_section, model in _sections() for _, setting in _names(model, model_section))
        return name in known and name not in _NEEDED_TO_RECORD
    return name.startswith(("SENDGRID_", "SMTP_", "RETRY_", "PRUNE_", "JWT_"))


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        yield section, model


def _section(
    model: type[BaseModel],
    section: str,
    values: Mapping[str, Value],
    environ: Mapping[str, str],
    cwd: Path,
    problems: list[str],
) -> Any:
    """Return a checked section. A wrong value is added to `problems` and replaced by its default."""
    raw = {field: values[name].raw for field, name in _names(model, section) if name in values}
    raw = {field: value for field, value in raw.items() if not is_blank(value)}
    if section == "database" and "url" not in raw:
        # The model's own default reads the process's environment; here the environment was passed in.
        raw["url"] = default_url(environ)
        if has_temporary_state(environ):
            _warn_of_temporary_log(raw["url"])
    try:
        return model.model_validate(raw, context={"cwd": cwd})
    except ValidationError as error:
        problems.extend(_lines(error, section, values))
        if section == "database":
            return None
        for field in {str(detail["loc"][0]) for detail in error.errors()}:
            del raw[field]
            if field == "enabled":
                # The channel may be meant to be on: its deliveries wait instead of being suppressed.
                raw[field] = True
        return model.model_validate(raw, context={"cwd": cwd})


@cache
def _warn_of_temporary_log(url: str) -> None:
    """Warn once in a process."""
    log.warning(
        "the home folder is not writable: the delivery log is in %s, which may be deleted when this machine "
        "restarts; set XDG_STATE_HOME or DATABASE_URL",
        url.removeprefix("sqlite:///"),
    )


def _names(model: type[BaseModel], section: str) -> Iterator[tuple[str, str]]:
    return ((field, f"{section}_{field}".upper()) for field in model.model_fields)


def _lines(error: ValidationError, section: str, values: Mapping[str, Value]) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        name = f"{section}_{detail['loc'][0]}".upper()
        message = detail.get("ctx", {}).get("error", detail["msg"])
        origin = values[name].origin if name in values else "default"
        yield f"{name}: {message}{origin_note(origin)}"


def _unknown(sources: Sources) -> Iterator[str]:
    """Yield a problem for each unknown section or key of the TOML file: a typo must not be silent."""
    known = {section: _keys(model, section) for section, model in _sections()}
    for section, fields in sources.table.items():
        if section not in known:
            nearest = did_you_mean(f"[{section}]", [f"[{name}]" for name in known])
            named = _plain(section)
            yield f"{named.upper()}: there is no section [{named}]{nearest}{_where(sources)}"
        elif isinstance(fields, dict):
            yield from _unknown_keys(section, fields, known[section], _where(sources))
        else:
            yield f"{section.upper()}: [{section}] is a section, not a value{_where(sources)}"


def _unknown_keys(section: str, fields: Iterable[str], known: list[str], where: str) -> Iterator[str]:
    for key in fields:
        if key not in known:
            name = f"{section}_{_plain(key)}".upper()
            yield f"{name}: [{section}] has no {_plain(key)}{did_you_mean(key, known)}{where}"


def _where(sources: Sources) -> str:
    return origin_note(sources.table_origin)


def _keys(model: type[BaseModel], section: str) -> list[str]:
    not_in_toml = ("ALERTCTL_CONFIG", "ALERTCTL_NO_DOTENV")
    keys = [field for field, name in _names(model, section) if name not in not_in_toml]
    return [*keys, *(f"{field}_file" for field, name in _names(model, section) if name in IN_FILES)]


def _plain(key: str) -> str:
    """Return a TOML key as it is shown in an error."""
    return key if key.isidentifier() else quoted(key)
