"""The folder for the files of a test run: in memory where there is room."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED = 2 * 1024**3


def temporary_folder() -> Path:
    """Return a folder in memory, or the system's: a disk takes 30 times as long for a new folder or a commit."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > NEEDED
    return MEMORY if has_room else Path(tempfile.gettempdir())
