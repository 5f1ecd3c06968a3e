"""What every toxic does alike to one direction of one connection, without sockets and clocks.

    push(chunk) ─▶ queue ─▶ take ─▶ wait until due_s ─▶ chunks out
    eof() ───────▶ after the queue ─▶ finish ─────────▶ ended

A stage is told the time, answers with the chunks that leave it now, and says in `due_s` when it
wants `wake`. It must not know where its bytes come from or go to.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(slots=True)
class Chunk:
    """Bytes that were read together, and when they were read as far as later stages may know."""

    data: bytes
    stamp_s: float


class Stage:
    """A toxic at work; this one passes everything on. Toxics fill in the underscored methods.

    A *run* lasts from `start` to the next `interrupt`. In each run a stage is either drawn, and
    acts as its toxic does, or it passes everything on.
    """

    attribute_names: ClassVar[tuple[str, ...]] = ()
    """What the toxic may be told, in the order in which servers write it."""
    room: ClassVar[int] = 0
    """How many chunks may wait in front of the one being worked on."""
    resets: ClassVar[bool] = False
    """Whether connections that begin under this toxic, and are drawn, close with a reset."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.drawn = False
        self.due_s: float | None = None
        self.ended = False
        self.input_ended = False
        self.attributes: Mapping[str, int] = {}
        self._busy = False
        self._queue: deque[Chunk] = deque()
        self._out: list[Chunk] = []

    @property
    def full(self) -> bool:
        """Whether the next chunk has to wait outside."""
        return self._busy and len(self._queue) >= self.room

    @property
    def removal_ends(self) -> bool:
        """Whether taking the stage away ends the stream, because bytes of it were lost."""
        return False

    def start(self, attributes: Mapping[str, int], drawn: bool, now_s: float) -> list[Chunk]:
        """Begin a run with these attributes."""
        self.attributes = attributes
        self.drawn = drawn
        if drawn and not self.ended:
            self._begin(now_s)
        return self.wake(now_s)

    def push(self, chunk: Chunk, now_s: float) -> list[Chunk]:
        """Hand over a chunk; after the end it is dropped."""
        if not self.ended:
            self._queue.append(chunk)
        return self.wake(now_s)

    def eof(self, now_s: float) -> list[Chunk]:
        """Say that no chunk will follow."""
        self.input_ended = True
        return self.wake(now_s)

    def wake(self, now_s: float) -> list[Chunk]:
        """Do what can be done by now; too early is harmless."""
        while not self.ended:
            if self.due_s is not None and self.due_s <= now_s:
                self.due_s, self._busy = None, False
                self._waited(now_s)
            elif self._busy:
                break
            elif self._queue:
                chunk = self._queue.popleft()
                self._take(chunk, now_s) if self.drawn else self._emit(chunk)
            elif self.input_ended:
                self._finish(now_s) if self.drawn else self.end()
            else:
                break
        return self._taken_out()

    def interrupt(self, now_s: float) -> list[Chunk]:
        """End the run: what is being held leaves at once, what is queued stays."""
        if self._busy:
            self._released()
        self.due_s, self._busy = None, False
        return self._taken_out()

    def drain(self) -> list[Chunk]:
        """Give up everything queued, because the stage is being taken away."""
        chunks = [*self._queue]
        self._queue.clear()
        return chunks

    def end(self) -> None:
        """End the stream here, whatever is still queued."""
        self.ended = True
        self.due_s, self._busy = None, False
        self._queue.clear()

    # What toxics fill in; called only while drawn.

    def _begin(self, now_s: float) -> None:
        """Prepare a run."""

    def _take(self, chunk: Chunk, now_s: float) -> None:
        """Deal with the next chunk: emit it, drop it, or keep it and wait."""
        self._emit(chunk)

    def _waited(self, now_s: float) -> None:
        """Go on after the wait."""

    def _released(self) -> None:
        """Emit what was kept, because the wait was interrupted."""

    def _finish(self, now_s: float) -> None:
        """Deal with the end of the stream."""
        self.end()

    # What toxics call.

    def _emit(self, chunk: Chunk) -> None:
        self._out.append(chunk)

    def _wait_until(self, due_s: float | None) -> None:
        """Take nothing more before `due_s`, or before an interrupt."""
        self._busy = True
        self.due_s = due_s

    def _taken_out(self) -> list[Chunk]:
        out, self._out = self._out, []
        return out
