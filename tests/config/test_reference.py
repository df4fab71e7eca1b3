"""The reference and the example files match the settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr

from alertctl.config import Settings, reference
from alertctl.config.sources import IN_FILES, SECTIONS

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_TOML = ("ALERTCTL_CONFIG", "ALERTCTL_NO_DOTENV")


def test_every_setting_has_a_name_a_section_and_a_description():
    names = [name for name, _, _ in reference()]
    assert len(names) == len(set(names))
    assert tuple(Settings.model_fields) == SECTIONS
    assert all(description.strip() for _, _, description in reference())
    assert [name for name, _, _ in Settings().describe()] == names


def test_every_secret_setting_is_one_that_a_file_can_hold():
    secret = {name for name, value in Settings()._items() if isinstance(value, SecretStr)}
    assert secret | {"DATABASE_URL", "JWT_PUBLIC_KEY"} == set(IN_FILES)


def test_the_documented_defaults_are_the_real_ones_when_written_out(settings_in):
    settings = settings_in({name: default for name, default, _ in reference()})
    assert settings.model_dump() == settings_in().model_dump()


def _uncommented(file: str, pattern: str) -> str:
    return re.sub(pattern, r"\1", (ROOT / file).read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize(("name", "file"), [("dotenv", ".env.example"), ("toml", "alertctl.toml.example")])
def test_the_examples_load_as_they_are(settings_in, name, file):
    settings = settings_in(**{name: (ROOT / file).read_bytes()})
    assert {origin for _, _, origin in settings.describe()} == {"default"}


def test_the_dotenv_example_has_every_setting_with_its_default(settings_in):
    text = _uncommented(".env.example", r"^#([A-Z_]+=)")
    settings = settings_in(dotenv=text)
    assert settings.model_dump() == settings_in(dotenv="").model_dump()
    assert re.findall(r"(?m)^([A-Z_]+)=", text) == [name for name, _, _ in reference()]
    assert all(f"{name}_FILE" in text or name in text.partition("\n\n")[0] for name in IN_FILES)


def test_the_toml_example_has_every_setting_with_its_default(settings_in):
    text = _uncommented("alertctl.toml.example", r"^#([a-z_]+ = )")
    assert settings_in(toml=text).model_dump() == settings_in(toml="").model_dump()
    table = tomllib.loads(text)
    names = [f"{section}_{field}".upper() for section, fields in table.items() for field in fields]
    assert names == [name for name, _, _ in reference() if name not in NOT_IN_TOML]


@pytest.mark.parametrize("file", [".env.example", "alertctl.toml.example"])
def test_the_examples_describe_each_setting_in_the_references_words(file):
    text = re.sub(r"\n# ", " ", (ROOT / file).read_text("utf-8"))
    for name, _, description in reference():
        assert description in text or (name in NOT_IN_TOML and file.endswith(".toml.example"))
