"""Work that is seen to its end though the task that waits for it is cancelled.

A clean-up that was begun must not be left half done by a Ctrl-C; blocking work has deadlines of its
own. It knows nothing of what is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from chaosbandit.errors import CleanupError

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T], *, interruptible: bool = True) -> T:
    """Finish `work` and only then let a cancellation through, or drop it.

    A clean-up that failed outranks the cancellation.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    failure = task.exception()
    if interruptible and cancelled is not None and not isinstance(failure, CleanupError):
        raise cancelled
    return task.result()


async def in_thread(work: Callable[[], T], *, interruptible: bool = True) -> T:
    """The same for blocking work."""
    return await to_the_end(asyncio.to_thread(work), interruptible=interruptible)
