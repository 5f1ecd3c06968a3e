"""The toxic that resets connections."""

from __future__ import annotations

import random
from collections.abc import Mapping

from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import MS, toxic


@toxic("reset_peer")
class ResetPeer(Stage):
    """Waits for the first data or end, then for `timeout`, and ends; nothing gets through."""

    attribute_names = ("timeout",)
    resets = True

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._met = False

    @property
    def removal_ends(self) -> bool:
        """Once data met it, there is nothing to go back to."""
        return self._met

    def start(self, attributes: Mapping[str, int], drawn: bool, now_s: float) -> list[Chunk]:
        """Begin a run; once bytes were lost there is no way back to passing them on."""
        return super().start(attributes, drawn or self._met, now_s)

    def _begin(self, now_s: float) -> None:
        if self._met:
            self._wait_until(now_s + self.attributes["timeout"] * MS)

    def _take(self, chunk: Chunk, now_s: float) -> None:
        self._finish(now_s)

    def _waited(self, now_s: float) -> None:
        self.end()

    def _finish(self, now_s: float) -> None:
        self._met = True
        self._begin(now_s)
