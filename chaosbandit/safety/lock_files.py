"""Lock files: locked by a living process, and by no dead one, since the kernel unlocks them.

Standard library only: the watchdog process loads this file without the package. It knows nothing
of what is locked.
"""

from __future__ import annotations

import fcntl
import os
import time
from io import FileIO
from pathlib import Path

from chaosbandit.safety.forked_children import keep_from_children
from chaosbandit.safety.owned_files import open_ours

_LOCK_S = 1.0
_PAUSE_S = 0.02


def locked(path: Path, within_s: float = _LOCK_S) -> FileIO:
    """The file at `path`, made if need be, locked for this process and none of its children.

    Raises:
        BlockingIOError: another process had it all the while.
    """
    give_up_s = time.monotonic() + within_s  # a passing look by `clean` is over by then
    while True:
        file = FileIO(open_ours(path, os.O_RDWR | os.O_CREAT), "r+")
        keep_from_children(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            if time.monotonic() > give_up_s:
                raise
            time.sleep(_PAUSE_S)
        else:
            if _is_at(file.fileno(), path):
                return file
            file.close()  # its former owner has just removed it


def unlock(file: FileIO, path: Path) -> None:
    """Remove the locked file, and only then let go of it; in a forked child it is not ours."""
    if not file.closed and _is_at(file.fileno(), path):
        path.unlink(missing_ok=True)
    file.close()


def is_locked(path: Path) -> bool:
    """Whether a process on this host holds the lock of a file; the kernel drops it at death.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = open_ours(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove_unlocked(path: Path) -> None:
    """Remove a file that nobody holds locked; held ourselves meanwhile, so nobody can begin to."""
    try:
        descriptor = open_ours(path, os.O_RDWR)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, path):
            path.unlink()
    except OSError:
        return  # held by the living, or just removed by another process
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
