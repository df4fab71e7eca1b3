"""Settings from files and variables in a temporary folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from alertctl.config import Settings, load
from alertctl.errors import ConfigError


@pytest.fixture
def settings_in(tmp_path: Path):
    """Load from variables and from files that are written first, all in one folder, which is HOME too."""

    def load_from(environ: Mapping[str, str] | None = None, flags=None, **files: str | bytes) -> Settings:
        for name, content in files.items():
            path = tmp_path / {"dotenv": ".env", "toml": "alertctl.toml"}.get(name, name)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load({"HOME": str(tmp_path), **(environ or {})}, tmp_path, flags)

    return load_from


@pytest.fixture
def problems_in(settings_in):
    def problems(*args, **files) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            settings_in(*args, **files)
        assert all(line and "\n" not in line for line in caught.value.problems)
        return caught.value.problems

    return problems
