"""The one real clock of a run. It knows nothing of what is timed; all else is given a `Clock`."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """`ports.Clock` on the machine's own clocks; monotonic time never jumps, epoch time may."""

    def now_s(self) -> float:
        """Seconds on the monotonic clock, the one asyncio's own timers use."""
        return time.monotonic()

    def epoch_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def sleep(self, duration_s: float) -> None:
        """Wait; asyncio's timers are about a millisecond coarse."""
        await asyncio.sleep(duration_s)
