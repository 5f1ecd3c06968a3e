"""The toxic that lets data through slowly."""

from __future__ import annotations

import random

from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import toxic

_STEP_S = 0.1


@toxic("bandwidth")
class Bandwidth(Stage):
    """Lets `rate` kilobytes a second pass, in steps of 100 ms; at 0 or less, nothing."""

    attribute_names = ("rate",)

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._held = Chunk(b"", 0.0)
        self._debt_s = 0.0
        self._since_s = 0.0

    def _begin(self, now_s: float) -> None:
        self._debt_s = 0.0

    def _take(self, chunk: Chunk, now_s: float) -> None:
        self._held = chunk
        rate = self.attributes["rate"]
        if rate <= 0:
            self._wait_until(None)
        else:
            self._debt_s += len(chunk.data) / (rate * 1000)
            self._wait_for_step(now_s)

    def _waited(self, now_s: float) -> None:
        if not self._is_last_step():
            step = self.attributes["rate"] * 100
            self._emit(Chunk(self._held.data[:step], self._held.stamp_s))
            self._held.data = self._held.data[step:]
            self._debt_s -= _STEP_S
            self._wait_for_step(now_s)
        else:
            self._debt_s -= now_s - self._since_s  # a late timer makes the next wait shorter
            self._released()

    def _released(self) -> None:
        self._emit(self._held)

    def _wait_for_step(self, now_s: float) -> None:
        self._since_s = now_s
        self._wait_until(now_s + (self._debt_s if self._is_last_step() else _STEP_S))

    def _is_last_step(self) -> bool:
        return len(self._held.data) <= self.attributes["rate"] * 100
