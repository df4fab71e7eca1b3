"""Read secrets again that NAME_FILE names: a rotated secret needs no restart."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from alertctl.config.checks import check
from alertctl.config.settings import MODELS, Settings, setting_name
from alertctl.config.sources import SecretFile, is_blank

OnChange = Callable[[Sequence[str]], object]
log = logging.getLogger("alertctl.config")


class SecretFiles:
    """Settings with the secrets that their files hold now. Safe for many threads.

    `prefixes` limits them to the settings whose names begin so. A file that is missing, empty or invalid keeps the last
    secret: the file may be about to be replaced. `on_change` is called with all secrets after a change.
    """

    def __init__(self, settings: Settings, prefixes: Sequence[str], on_change: OnChange | None = None) -> None:
        self.settings = settings
        self._on_change = on_change
        self._files = {
            (section, field): file
            for section, model in MODELS.items()
            for field in model.model_fields
            if (name := setting_name(section, field)).startswith(tuple(prefixes)) and (file := settings.file_of(name))
        }
        self._lock = threading.Lock()
        self._stamps: dict[tuple[str, str], object] = {}
        self._problems: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._files)

    def refresh(self, *, force: bool = False) -> bool:
        """Read the files that changed, all of them with `force`. Returns whether `settings` changed.

        While another thread reads, only `force` waits for it: a file that hangs must not stop every thread.
        """
        if not self._lock.acquire(blocking=force):
            return False
        try:
            before = self.settings
            for (section, field), file in self._files.items():
                stamp = file.stamp()
                if force or self._stamps.get((section, field)) != stamp:
                    self._stamps[section, field] = stamp
                    self._read(section, field, file)
            return self.settings is not before
        finally:
            self._lock.release()

    def current(self, *, force: bool = False) -> Settings:
        """Return the settings, after reading the files that changed, all of them with `force`."""
        if self.refresh(force=force) and self._on_change:
            self._on_change(self.settings.secrets())
        return self.settings

    def _read(self, section: str, field: str, file: SecretFile) -> None:
        name = setting_name(section, field)
        model = getattr(self.settings, section)
        problem = ""
        try:
            raw = file.read()
            if is_blank(raw):
                problem = "the file is empty"
            else:
                value = getattr(type(model).model_validate({field: raw}), field)
                if value != getattr(model, field):
                    changed = self.settings.changed(section, field, value, raw)
                    wrong = [item.message for item in check(changed) if (item.name, item.severity) == (name, "error")]
                    problem = wrong[0] if wrong else ""
                    if not problem:
                        self.settings = changed
                        log.info("%s changed: read it again from %s", name, file.path)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)[0]
            problem = str(details.get("ctx", {}).get("error", details["msg"]))
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or str(error)
        if problem and self._problems.get(name) != problem:
            log.warning("%s_FILE: %s: %s; the last secret stays in use", name, file.path, problem)
        self._problems[name] = problem


def current_database_url(settings: Settings, on_change: OnChange | None = None) -> Callable[[], str]:
    """Return a function that reads DATABASE_URL_FILE again, if the database's address comes from it."""
    files = SecretFiles(settings, ("DATABASE_URL",), on_change)
    return lambda: files.current(force=True).database.url
