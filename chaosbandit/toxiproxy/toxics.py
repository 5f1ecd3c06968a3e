"""The toxics themselves: what each does to the chunks of one direction of one connection.

Each is one class entered under its type, and knows nothing of sockets, links or proxies. Attributes
come unchecked, as in Toxiproxy; where the real server would crash on a value, the class says what
happens instead.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping

from chaosbandit.toxiproxy.stages import Chunk, Stage, toxic

_MS = 1e-3
_US = 1e-6
_LARGEST_JITTER_MS = 10**9
_BANDWIDTH_STEP_S = 0.1


@toxic("noop")
class Noop(Stage):
    """Passes everything on."""


@toxic("latency")
class Latency(Stage):
    """Delays every chunk from when it was read; never reorders, does not delay the end."""

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
        return delay_ms * _MS


@toxic("timeout")
class Timeout(Stage):
    """Drops all data and ends after `timeout` without any; at 0 it never ends by itself."""

    @property
    def removal_ends(self) -> bool:
        return True

    def _begin(self, now_s: float) -> None:
        timeout_ms = self.attributes["timeout"]
        if timeout_ms > 0:
            self.due_s = now_s + timeout_ms * _MS

    def _take(self, chunk: Chunk, now_s: float) -> None:
        self._begin(now_s)

    def _waited(self, now_s: float) -> None:
        self.end()


@toxic("limit_data")
class LimitData(Stage):
    """Ends once `bytes` have passed, counted over all runs in which it was drawn."""

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


@toxic("slow_close")
class SlowClose(Stage):
    """Passes data on and holds the end of the stream for `delay`."""

    def _finish(self, now_s: float) -> None:
        self._wait_until(now_s + self.attributes["delay"] * _MS)

    def _waited(self, now_s: float) -> None:
        self.end()


@toxic("reset_peer")
class ResetPeer(Stage):
    """Waits for the first data or end, then for `timeout`, and ends; nothing gets through."""

    resets = True

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._met = False

    @property
    def removal_ends(self) -> bool:
        return self._met

    def start(self, attributes: Mapping[str, int], drawn: bool, now_s: float) -> list[Chunk]:
        """Begin a run; once bytes were lost there is no way back to passing them on."""
        return super().start(attributes, drawn or self._met, now_s)

    def _begin(self, now_s: float) -> None:
        if self._met:
            self._wait_until(now_s + self.attributes["timeout"] * _MS)

    def _take(self, chunk: Chunk, now_s: float) -> None:
        self._finish(now_s)

    def _waited(self, now_s: float) -> None:
        self.end()

    def _finish(self, now_s: float) -> None:
        self._met = True
        self._begin(now_s)


@toxic("bandwidth")
class Bandwidth(Stage):
    """Lets `rate` kilobytes a second pass, in steps of 100 ms; at 0 or less, nothing."""

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
            self._debt_s -= _BANDWIDTH_STEP_S
            self._wait_for_step(now_s)
        else:
            self._debt_s -= now_s - self._since_s  # a late timer makes the next wait shorter
            self._released()

    def _released(self) -> None:
        self._emit(self._held)

    def _wait_for_step(self, now_s: float) -> None:
        self._since_s = now_s
        self._wait_until(now_s + (self._debt_s if self._is_last_step() else _BANDWIDTH_STEP_S))

    def _is_last_step(self) -> bool:
        return len(self._held.data) <= self.attributes["rate"] * 100


@toxic("slicer")
class Slicer(Stage):
    """Cuts chunks into pieces of about `average_size` and waits `delay` microseconds after each.

    An `average_size` of 0 or less cuts nothing, and cuts stay inside their piece whatever the
    variation: the real server dies of both.
    """

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
