"""How the prober itself is doing: lateness, processor time, requests it could not send.

It never sees what the target answered, so that throwing away a stream for its health cannot favour
either verdict.
"""

from __future__ import annotations

import math
import time
from array import array

from chaosbandit.core.model import Health


class ProberHealth:
    """Measures one stream at a time; `start` forgets the one before."""

    def __init__(self) -> None:
        self._lags_s = array("d")
        self._overloads = self._missed = self._slots = 0
        self._began_s = self._ended_s = 0.0
        self._processor_share: float | None = None
        self._processor_s = (0.0, 0.0)
        self._running = False

    def start(self) -> None:
        """A stream begins."""
        self._lags_s = array("d")
        self._overloads = self._missed = self._slots = 0
        self._processor_share = None
        self._began_s = time.perf_counter()
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

    def asked(self, slots: int) -> None:
        """The stream has come so far, missed slots included."""
        self._slots = slots

    def missed(self, slots: int) -> None:
        """So many slots passed before the feed could be asked: they stay empty."""
        self._missed += slots

    def processor(self, share: float) -> None:
        """The requests are sent by another process, which used this share of a processor."""
        self._processor_share = max(share, self._processor_share or 0.0)

    def health(self) -> Health:
        """Of the last stream, or of the running one until now."""
        if self._running:
            self._mark()
        share = self._processor_share
        if share is None:
            wall_s = self._ended_s - self._began_s
            used_s = self._processor_s[1] - self._processor_s[0]
            share = used_s / wall_s if wall_s > 0 else 0.0
        missed = self._missed / self._slots if self._slots else 0.0
        return Health(_p99(self._lags_s), share, self._overloads, missed)

    def _mark(self) -> None:
        self._ended_s = time.perf_counter()
        self._processor_s = (self._processor_s[0], time.process_time())


def _p99(values: array[float]) -> float:
    """The smallest value that at least 99 % of them do not exceed; 0 of none."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else 0.0
