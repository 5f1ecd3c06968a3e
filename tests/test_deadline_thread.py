"""Work that may hang: its result, its error, or the end of our patience, waited for both ways."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaosbandit.deadline_thread import awaited_within, within


def waited(within_s: float, work: Callable[[], Any]) -> Any:
    """On an event loop of its own."""
    return asyncio.run(awaited_within(within_s, work))


both = pytest.mark.parametrize("wait", [within, waited])


@both
def test_what_the_work_returns_or_raises(wait: Callable[..., Any]) -> None:
    assert wait(2.0, lambda: 7) == 7
    assert wait(2.0, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        wait(2.0, lambda: 1 // 0)


@both
def test_work_that_hangs_is_left_behind(wait: Callable[..., Any]) -> None:
    let_go = threading.Event()
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        wait(0.05, let_go.wait)
    assert time.monotonic() - began_s < 5
    hanging = [each for each in threading.enumerate() if each is not threading.main_thread()]
    assert all(each.daemon for each in hanging)  # nothing that holds the process
    let_go.set()  # and with nobody there to be told, it ends in peace


def test_the_loop_goes_on_meanwhile() -> None:
    async def both_at_once() -> int:
        let_go = threading.Event()
        waiting = asyncio.create_task(awaited_within(5.0, lambda: let_go.wait(5.0)))
        await asyncio.sleep(0)
        let_go.set()
        return await waiting

    assert asyncio.run(both_at_once()) is True
