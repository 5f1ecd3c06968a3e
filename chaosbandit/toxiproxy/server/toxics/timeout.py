"""The toxic that lets nothing through, and hangs up after a while."""

from __future__ import annotations

from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import MS, toxic


@toxic("timeout")
class Timeout(Stage):
    """Drops all data and ends after `timeout` without any; at 0 it never ends by itself."""

    attribute_names = ("timeout",)

    @property
    def removal_ends(self) -> bool:
        """What it swallowed cannot be passed on."""
        return True

    def _begin(self, now_s: float) -> None:
        timeout_ms = self.attributes["timeout"]
        if timeout_ms > 0:
            self.due_s = now_s + timeout_ms * MS

    def _take(self, chunk: Chunk, now_s: float) -> None:
        self._begin(now_s)

    def _waited(self, now_s: float) -> None:
        self.end()
