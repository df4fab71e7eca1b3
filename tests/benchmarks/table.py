"""The result for people and for machines: a table on the terminal, JSON in a file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.lines import Line
from tests.benchmarks.sizes import Sizes

LIBRARIES = ("alertctl", "sqlalchemy", "fastapi", "uvicorn", "urllib3", "psycopg", "pydantic")
COLOURS = {"met": "green", "missed": "red", "not measured": "yellow", "not judged": "yellow"}


def table(lines: Sequence[Line]) -> Any:
    """Return all lines as a rich table; notes stand below their line."""
    from rich.table import Table
    from rich.text import Text

    shown = Table("benchmark", "what", "on", box=None, header_style="bold", pad_edge=False)
    for name in ("measured", "yardstick", "ratio", "bar"):
        shown.add_column(name, justify="right")
    shown.add_column("", no_wrap=True)
    before = None
    for line in lines:
        what = Text(line.what).append(f"\n{line.note}" if line.note else "", style="dim")
        against = f"{figure(line.yardstick, line.unit)}\n{line.against}" if line.yardstick is not None else ""
        name = line.row if line.row != before else ""
        result = Text(line.result, style=COLOURS.get(line.result, ""))
        measured = figure(line.value, line.unit) + (f"\nof {line.rounds}" if line.rounds > 1 else "")
        shown.add_row(name, what, line.database, measured, against, _ratio(line), str(line.bar or ""), result)
        before = line.row
    return shown


def _ratio(line: Line) -> str:
    if line.score is None or line.yardstick is None:
        return ""
    return f"{line.score:+.1f} {line.unit}" if line.by == "more" else f"{line.score:.2f}x"


def figure(value: float | None, unit: str) -> str:
    """Return three significant figures with the unit."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".replace(" /", "/").rstrip()


def machine() -> dict[str, Any]:
    """Return the size of this machine, its load and versions."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def size_of_machine() -> str:
    """Return the size and load of this machine in one line."""
    m = machine()
    shown = f"{m['cores']} cores ({m['processor']}), {m['memory_gb']} GB, Python {m['python']}"
    return f"{shown}, load average {m['load_average']:.1f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ImportError:
        return None


def write_json(path: Path, lines: Sequence[Line], sizes: Sizes, quick: bool, began: datetime) -> None:
    document = {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began).total_seconds()),
        "quick": quick,
        "sizes": {name: getattr(sizes, name) for name in sizes.__slots__},
        "machine": machine(),
        "lines": [line.as_json() for line in lines],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
