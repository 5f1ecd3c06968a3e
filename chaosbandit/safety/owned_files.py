"""Files and folders of ours: opened without following links, and asked whose they are.

What another user may have written is read, but nothing in it is carried out. Standard library
only, since the watchdog loads this; it knows nothing of what the files mean.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

LARGEST_BYTES = 1 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotOursError(PermissionError):
    """Others could change what is written there; the text is a sentence."""


def open_ours(path: Path, flags: int) -> int:
    """A descriptor of the file at `path`, which is no link; made for this user alone.

    Raises:
        OSError: it cannot be opened; ELOOP where it is a link.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def read_ours(path: Path) -> tuple[str, bool]:
    """The text of the file at `path`, and whether this user alone can have written it.

    Raises:
        OSError: it cannot be read, or is no ordinary file.
        UnicodeDecodeError: it is no text.
    """
    with os.fdopen(open_ours(path, os.O_RDONLY), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_BYTES:
            raise NotOursError(f"found {stat.filemode(found.st_mode)}, wanted a small file")
        return file.read(LARGEST_BYTES).decode(), _is_private(found)


def is_private(folder: Path) -> bool:
    """Whether this user alone can put files into a folder; false where there is none."""
    try:
        return _is_private(folder.lstat())
    except OSError:
        return False


def make_private(folder: Path) -> None:
    """Make `folder`, if need be with its parents, so that nobody else can write there.

    Raises:
        NotOursError: it is somebody else's, or somebody else could put another in its place.
        OSError: it cannot be made.
    """
    _make(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is no folder")
    if found.st_uid != os.geteuid():
        raise NotOursError(f"{folder} belongs to {_user(found.st_uid)}, not to this user")
    if found.st_mode & _OTHERS_WRITE:
        raise NotOursError(f"{folder} can be written to by others: {_better(folder)}")
    for parent in folder.parents:
        above = parent.stat()
        if above.st_mode & _OTHERS_WRITE and not above.st_mode & stat.S_ISVTX and not _alone(above):
            raise NotOursError(
                f"{parent} can be written to by others, who could put another folder in the place "
                f"of {folder}: {_better(parent)}"
            )


def _make(folder: Path) -> None:
    """As `mkdir -p`, with every folder that is made for this user alone."""
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def _is_private(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE


def _alone(found: os.stat_result) -> bool:
    """Whether only this user's own group may write: many systems give each user one."""
    if found.st_mode & stat.S_IWOTH:
        return False
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(found.st_gid)
    except KeyError:
        return False
    members = set(group.gr_mem) <= {user.pw_name}
    return group.gr_gid == user.pw_gid and group.gr_name == user.pw_name and members


def _better(folder: Path) -> str:
    return f"run `chmod go-w {shlex.quote(str(folder))}`, or name another folder"


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
