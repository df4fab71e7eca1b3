"""docs/architecture.md names what exists, and every layer and module."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/architecture.md").read_text("utf-8")


def _documented_layers() -> list[set[str]]:
    layers: defaultdict[int, set[str]] = defaultdict(set)
    for number, module in re.findall(r"(?m)^\| (\d+) \| `(\w+)` \|", TEXT):
        layers[int(number)].add(module)
    return [layers[number] for number in sorted(layers)]


def _enforced_layers() -> list[set[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    return [set(layer.split(" | ")) for layer in contract["layers"]]


def test_every_path_in_the_architecture_exists():
    paths = set(re.findall(r"\b(?:alertctl|tests)/[\w./]+", TEXT))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_documented_layers_are_those_that_import_linter_checks():
    assert _documented_layers() == _enforced_layers()


def test_every_top_level_module_is_in_the_architecture():
    entries = [
        path for path in (ROOT / "alertctl").iterdir() if (path / "__init__.py").exists() or path.suffix == ".py"
    ]
    modules = {path.stem for path in entries} - {"__init__"}
    without_layer = set(re.findall(r"`alertctl/(\w+)(?:/|\.py)`", TEXT))
    assert modules - set().union(*_documented_layers()) - without_layer == set()


def test_no_two_classes_have_the_same_name():
    files = defaultdict(list)
    for path in sorted((ROOT / "alertctl").rglob("*.py")):
        for name in re.findall(r"(?m)^ *class (\w+)[(:]", path.read_text("utf-8")):
            files[name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in files.items() if len(paths) > 1} == {}
