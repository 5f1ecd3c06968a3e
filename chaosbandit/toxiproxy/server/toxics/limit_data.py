"""The toxic that hangs up after an amount of data."""

from __future__ import annotations

import random

from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import toxic


@toxic("limit_data")
class LimitData(Stage):
    """Ends once `bytes` have passed, counted over all runs in which it was drawn."""

    attribute_names = ("bytes",)

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._passed = 0

    def _take(self, chunk: Chunk, now_s: float) -> None:
        limit = self.attributes["bytes"]
        chunk.data = chunk.data[: max(limit - self._passed, 0)]
        if chunk.data:
            self._passed += len(chunk.data)
            self._emit(chunk)
        if self._passed >= limit:
            self.end()
