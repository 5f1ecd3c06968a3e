"""The real clock keeps to the clock asyncio's timers use."""

from __future__ import annotations

import asyncio
import time

from chaosbandit.ports import Clock
from chaosbandit.traffic.clock import SystemClock


def test_sleeping_takes_the_time_asked_for() -> None:
    async def main(clock: Clock) -> tuple[float, float]:
        start_s = clock.now_s()
        loop_s = asyncio.get_running_loop().time()
        await clock.sleep(0.05)
        return clock.now_s() - start_s, abs(loop_s - start_s)

    slept_s, apart_s = asyncio.run(main(SystemClock()))
    assert 0.049 <= slept_s < 1.0
    assert apart_s < 0.5


def test_epoch_is_the_wall_clock() -> None:
    assert abs(SystemClock().epoch_s() - time.time()) < 1.0
