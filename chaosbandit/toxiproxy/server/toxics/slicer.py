"""The toxic that cuts data into small pieces."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import toxic

_US = 1e-6


@toxic("slicer")
class Slicer(Stage):
    """Cuts chunks into pieces of about `average_size` and waits `delay` microseconds after each.

    An `average_size` of 0 or less cuts nothing, and cuts stay inside their piece whatever the
    variation: the real server dies of both.
    """

    attribute_names = ("average_size", "size_variation", "delay")

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._pieces: deque[Chunk] = deque()

    def _take(self, chunk: Chunk, now_s: float) -> None:
        self._pieces.extend(Chunk(data, chunk.stamp_s) for data in self._cut(chunk.data))
        self._waited(now_s)

    def _waited(self, now_s: float) -> None:
        if self._pieces:
            self._emit(self._pieces.popleft())
            # never 0: between any two pieces others get their turn
            self._wait_until(now_s + max(self.attributes["delay"], 1) * _US)

    def _released(self) -> None:
        if self._pieces:
            data = b"".join(piece.data for piece in self._pieces)
            self._emit(Chunk(data, self._pieces[0].stamp_s))
            self._pieces.clear()

    def _cut(self, data: bytes) -> Iterator[bytes]:
        average = self.attributes["average_size"]
        variation = max(self.attributes["size_variation"], 0)
        uncut = [(0, len(data))]
        while uncut:
            start, end = uncut.pop()
            if average <= 0 or end - start < 2 or end - start - average <= variation:
                yield data[start:end]
                continue
            middle = start + (end - start) // 2
            if variation > 0:
                middle += self.rng.randrange(-variation, variation)
            middle = min(max(middle, start + 1), end - 1)
            uncut += [(middle, end), (start, middle)]
