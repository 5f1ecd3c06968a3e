"""The toxic that delays the end of a stream."""

from __future__ import annotations

from chaosbandit.toxiproxy.server.stages import Stage
from chaosbandit.toxiproxy.server.toxics import MS, toxic


@toxic("slow_close")
class SlowClose(Stage):
    """Passes data on and holds the end of the stream for `delay`."""

    attribute_names = ("delay",)

    def _finish(self, now_s: float) -> None:
        self._wait_until(now_s + self.attributes["delay"] * MS)

    def _waited(self, now_s: float) -> None:
        self.end()
