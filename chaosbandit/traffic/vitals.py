"""How the prober itself is doing: lateness, processor time, requests it could not send.

It never sees what the target answered, so that throwing away a stream for its vitals cannot favour
either verdict.
"""

from __future__ import annotations

import math
import time
from array import array

from chaosbandit.core.model import Health


class Vitals:
    """Measures one stream at a time; `start` forgets the one before."""

    def __init__(self) -> None:
        self._lags_s = array("d")
        self._overloads = 0
        self._wall_s = (0.0, 0.0)
        self._processor_s = (0.0, 0.0)
        self._running = False

    def start(self) -> None:
        """A stream begins."""
        self._lags_s = array("d")
        self._overloads = 0
        self._wall_s = (time.perf_counter(),) * 2
        self._processor_s = (time.process_time(),) * 2
        self._running = True

    def stop(self) -> None:
        """The stream has ended; `health` keeps speaking of it."""
        self._mark()
        self._running = False

    def released(self, lag_s: float) -> None:
        """A request was released this much later than intended."""
        self._lags_s.append(lag_s)

    def overloaded(self) -> None:
        """A request could not be sent, for reasons of ours."""
        self._overloads += 1

    def health(self) -> Health:
        """Of the last stream, or of the running one until now."""
        if self._running:
            self._mark()
        wall_s = self._wall_s[1] - self._wall_s[0]
        processor_s = self._processor_s[1] - self._processor_s[0]
        return Health(
            lag_p99_s=_p99(self._lags_s),
            cpu_share=processor_s / wall_s if wall_s > 0 else 0.0,
            overloads=self._overloads,
        )

    def _mark(self) -> None:
        self._wall_s = (self._wall_s[0], time.perf_counter())
        self._processor_s = (self._processor_s[0], time.process_time())


def _p99(values: array[float]) -> float:
    """The smallest value that at least 99 % of them do not exceed; 0 of none."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else 0.0
