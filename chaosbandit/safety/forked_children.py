"""What forked children must not keep: a lock or connection they hold would hide our death."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class _Closeable(Protocol):
    def close(self) -> None: ...


_not_for_children: weakref.WeakSet[_Closeable] = weakref.WeakSet()


def keep_from_children(closeable: _Closeable) -> None:
    """Close it in every forked child."""
    _not_for_children.add(closeable)


def _close_in_child() -> None:
    for closeable in list(_not_for_children):
        closeable.close()


os.register_at_fork(after_in_child=_close_in_child)
