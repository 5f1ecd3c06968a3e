"""Blocking work in a daemon thread of its own: what hangs there holds neither us nor our end.

Name servers, file systems and TLS know no deadline for all they do. Standard library only: the
watchdog imports it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


def within(within_s: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises.

    Raises:
        TimeoutError: it did not end within `within_s`.
    """
    ended: list[Callable[[], T]] = []
    thread = threading.Thread(target=lambda: ended.append(_outcome(work)), daemon=True)
    thread.start()
    thread.join(within_s)
    if not ended:
        raise TimeoutError
    return ended[0]()


async def awaited_within(within_s: float, work: Callable[[], T]) -> T:
    """The same for an event loop, which goes on meanwhile."""
    import asyncio

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Callable[[], T]] = loop.create_future()

    def run() -> None:
        outcome = _outcome(work)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, ended, outcome)

    threading.Thread(target=run, daemon=True).start()
    async with asyncio.timeout(within_s):
        outcome = await ended
    return outcome()


def _settle(ended: asyncio.Future[Callable[[], T]], outcome: Callable[[], T]) -> None:
    if not ended.done():  # given up meanwhile
        ended.set_result(outcome)


def _outcome(work: Callable[[], T]) -> Callable[[], T]:
    try:
        result = work()
    except Exception as error:
        raised = error

        def fail() -> T:
            raise raised

        return fail
    return lambda: result
