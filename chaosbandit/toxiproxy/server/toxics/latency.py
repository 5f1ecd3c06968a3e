"""The toxic that delays data."""

from __future__ import annotations

import random

from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import MS, toxic

_LARGEST_JITTER_MS = 10**9


@toxic("latency")
class Latency(Stage):
    """Delays every chunk from when it was read; never reorders, does not delay the end."""

    attribute_names = ("latency", "jitter")
    room = 1024

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._held = Chunk(b"", 0.0)
        self._wait_s = 0.0

    def _take(self, chunk: Chunk, now_s: float) -> None:
        due_s = chunk.stamp_s + self._delay_s()
        self._held, self._wait_s = chunk, due_s - now_s
        self._wait_until(due_s)

    def _waited(self, now_s: float) -> None:
        # a later latency counts the wait that was wanted, so lateness of timers does not add up
        self._held.stamp_s += self._wait_s
        self._released()

    def _released(self) -> None:
        self._emit(self._held)

    def _delay_s(self) -> float:
        delay_ms = self.attributes["latency"]
        jitter_ms = min(self.attributes["jitter"], _LARGEST_JITTER_MS)
        if jitter_ms > 0:
            delay_ms += self.rng.randrange(-jitter_ms, jitter_ms)
        return delay_ms * MS
