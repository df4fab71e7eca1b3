"""From what is written to `Settings`, with every mistake named at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from alertctl.config.database import default_url
from alertctl.config.layers import IN_FILES, Sources, Value, blank, gather, resolve, whence
from alertctl.config.settings import Settings, reference, shown
from alertctl.config.trust import Refusal, refuse_addresses
from alertctl.config.values import quoted
from alertctl.errors import ConfigError


def load(
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    refuse: bool = True,
) -> Settings:
    """Read and check all settings. `flags` are by NAME; those that are None count as not given.

    Raises ConfigError with one line for each mistake. `environ` and `cwd` are the process's
    own unless given. An address that the working folder may not set (see `trust.py`) is a mistake, too; without
    `refuse` it is left at its default and listed in `Settings.refusals`.
    """
    environ = os.environ if environ is None else environ
    cwd = cwd or Path()
    sources = gather(environ, cwd, flags or {})
    written = resolve(sources)
    problems = [*sources.problems, *_unknown(sources)]
    addresses = _refused_addresses(written, environ)
    if refuse:
        problems += [f"{name}: {refusal.message}" for name, refusal in addresses.items()]
    written = {name: value for name, value in written.items() if name not in addresses}
    sections = {section: _section(model, section, written, environ, cwd, problems) for section, model in _sections()}
    if problems:
        raise ConfigError(problems)
    settings = Settings(**sections)
    settings._written = written
    settings._refusals = {**_refused_trust(sources), **addresses}
    return settings


def _refused_addresses(written: Mapping[str, Value], environ: Mapping[str, str]) -> dict[str, Refusal]:
    refused = refuse_addresses(written, environ)
    return {name: refusal for name, refusal in refused.items() if not _is_default(name, written[name].raw)}


def _refused_trust(sources: Sources) -> dict[str, Refusal]:
    known = {name for name, _, _ in reference()}
    return {
        name: refusal
        for name, refusal in sources.refused.items()
        if name in known and not _is_default(name, sources.refused_values[name])
    }


def _is_default(name: str, raw: object) -> bool:
    """Return whether this is what the setting would be anyway: a copy of `.env.example` changes nothing."""
    default = next(default for known, default, _ in reference() if known == name)
    return shown(tuple(raw) if isinstance(raw, list) else raw).strip().rstrip("/") == default.rstrip("/")


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        yield section, model


def _section(
    model: type[BaseModel],
    section: str,
    written: Mapping[str, Value],
    environ: Mapping[str, str],
    cwd: Path,
    problems: list[str],
) -> Any:
    """One section, checked; None when something in it is wrong, which is then in `problems`."""
    raw = {field: written[name].raw for field, name in _names(model, section) if name in written}
    raw = {field: value for field, value in raw.items() if not blank(value)}
    if section == "database":
        # The model's own default asks the process; here the environment was passed in.
        raw.setdefault("url", default_url(environ))
    try:
        return model.model_validate(raw, context={"cwd": cwd})
    except ValidationError as error:
        problems.extend(_lines(error, section, written))
        return None


def _names(model: type[BaseModel], section: str) -> Iterator[tuple[str, str]]:
    return ((field, f"{section}_{field}".upper()) for field in model.model_fields)


def _lines(error: ValidationError, section: str, written: Mapping[str, Value]) -> Iterator[str]:
    for each in error.errors(include_url=False, include_input=False):
        name = f"{section}_{each['loc'][0]}".upper()
        said = each.get("ctx", {}).get("error", each["msg"])
        origin = written[name].origin if name in written else "default"
        yield f"{name}: {said}{whence(origin)}"


def _unknown(sources: Sources) -> Iterator[str]:
    """Sections and keys of the TOML file that nobody reads: a typo there would otherwise be silent."""
    known = {section: _keys(model, section) for section, model in _sections()}
    for section, fields in sources.table.items():
        if section not in known:
            nearest = _nearest(f"[{section}]", [f"[{each}]" for each in known])
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
            yield f"{name}: [{section}] has no {_plain(key)}{_nearest(key, known)}{where}"


def _where(sources: Sources) -> str:
    return whence(sources.table_origin)


def _keys(model: type[BaseModel], section: str) -> list[str]:
    not_in_toml = ("ALERTCTL_CONFIG", "ALERTCTL_NO_DOTENV")
    keys = [field for field, name in _names(model, section) if name not in not_in_toml]
    return [*keys, *(f"{field}_file" for field, name in _names(model, section) if name in IN_FILES)]


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]}?" if close and close[0] != word else ""


def _plain(key: str) -> str:
    """A TOML key as an error may show it."""
    return key if key.isidentifier() else quoted(key)
