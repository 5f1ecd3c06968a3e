"""Files that are surely there, or surely gone, after a crash of the process or of the host.

Standard library only: the watchdog process loads this file without the package. It knows nothing
of what the files mean.
"""

from __future__ import annotations

import os
from pathlib import Path

from chaosbandit.safety.owned_files import open_ours


def write_durably(path: Path, text: str) -> None:
    """Put `text` at `path` at once and for good: a reader finds all of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)  # of a killed process with our number
    try:
        descriptor = open_ours(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Remove `path` for good, and what a killed process left of writing it."""
    path.unlink(missing_ok=True)
    for draft in path.parent.glob(f".{path.name}.*.draft"):
        draft.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = open_ours(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
