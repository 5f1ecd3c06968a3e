"""Waiting for what other threads and processes bring about, and being waited for by them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import NoReturn

PATIENCE_S = 20.0
_ORPHAN_S = 120


def wait_for(
    condition: Callable[[], object],
    within_s: float = PATIENCE_S,
    *,
    every_s: float = 0.01,
    told: Callable[[], object] = lambda: "",
) -> None:
    """Return as soon as it is so; where it never is, fail with what `told` says then."""
    give_up_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_s, f"not so within {within_s:g} s {told()}"
        time.sleep(every_s)


async def until(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """As `wait_for`, while the event loop goes on."""
    await asyncio.to_thread(wait_for, condition, within_s)


def stays(condition: Callable[[], object], for_s: float) -> bool:
    """Whether it is so all the while: what must not happen has no event to wait for."""
    give_up_s = time.monotonic() + for_s
    while condition():
        if time.monotonic() >= give_up_s:
            return True
        time.sleep(0.01)
    return False


def wait_to_be_killed() -> NoReturn:
    """What a process does that a test kills; one that was forgotten ends by itself."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_ORPHAN_S)
    while True:
        signal.pause()
