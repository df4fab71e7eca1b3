"""The files of the checkout that operators and newcomers copy from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from alertctl.config import reference
from alertctl.config.sources import IN_FILES, SECTIONS

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {name for name, _, _ in reference()} | {f"{name}_FILE" for name in IN_FILES}
_OURS = re.compile(rf"\b(?:{'|'.join(SECTIONS).upper()})_[A-Z_]+\b")


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def yaml_of(name: str) -> Any:
    return yaml.safe_load(text(name))


def settings_named_in(name: str) -> set[str]:
    """Every word of a file that looks like one of our settings; ALERTCTL_TEST_… is the tests' own."""
    return {word for word in _OURS.findall(text(name)) if not word.startswith("ALERTCTL_TEST_")}
