"""One direction of one connection: a chain of stages between a source and a sink.

    source ─▶ unread ─▶ stage ─▶ out ─▶ stage ─▶ out ─▶ sink

Chunks move on as soon as the next place takes them; while it does not, everything before it waits,
back to the source, which is then paused. Changing the chain is an edit of a list and never waits
for data. Must not know sockets or proxies: time comes from `Timers`, bytes go to a `Pipe`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chaosbandit.toxiproxy.server.random_draws import Draws
from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import STAGES
from chaosbandit.toxiproxy.wire_format import ToxicRecord

CHUNK_BYTES = 32 * 1024
SOON_S = 0.0005
"""Shorter waits are spent in turns of the loop, whose timers have a grain of a millisecond."""


class Timer(Protocol):
    """A pending callback."""

    def when(self) -> float:
        """Return when it will be called."""

    def cancel(self) -> None:
        """Do not call it."""


class Timers(Protocol):
    """What a link needs of an event loop."""

    def time(self) -> float:
        """Return the time now."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call back at a time."""


class Pipe(Protocol):
    """Both ends of a link, as far as it may touch them."""

    def write(self, data: bytes) -> None:
        """Send to the sink, or drop if it is gone."""

    def finish(self) -> None:
        """Close the sink after what was written."""

    def pause(self, paused: bool) -> None:
        """Stop reading from the source, or read again."""


@dataclass(slots=True)
class _Slot:
    toxic: ToxicRecord
    stage: Stage
    out: deque[Chunk] = field(default_factory=deque)
    end_passed: bool = False


class Link:
    """The chain at work; `direct` says that bytes may go past it because it is empty."""

    def __init__(
        self, timers: Timers, pipe: Pipe, draws: Draws, toxics: Sequence[ToxicRecord]
    ) -> None:
        self._timers = timers
        self._pipe = pipe
        self._draws = draws
        self._slots: list[_Slot] = []
        self._unread: deque[bytes] = deque()
        self._source_ended = False
        self._end_read = False
        self._writable = True
        self._paused = False
        self._timer: Timer | None = None
        self.direct = True
        if toxics:
            now_s = timers.time()
            for toxic in toxics:
                self._append(toxic, now_s)
            self._pump()

    @property
    def resets(self) -> bool:
        """Whether a toxic was drawn that makes the connection end with a reset."""
        return any(slot.stage.resets and slot.stage.drawn for slot in self._slots)

    # From the ends.

    def feed(self, data: bytes) -> None:
        """Take what was read from the source."""
        if len(data) <= CHUNK_BYTES:
            self._unread.append(data)
        else:
            starts = range(0, len(data), CHUNK_BYTES)
            self._unread.extend(data[start : start + CHUNK_BYTES] for start in starts)
        self._pump()

    def source_ended(self) -> None:
        """Learn that the source will give no more."""
        self._source_ended = True
        if not self.direct:
            self._pump()
        elif not self._end_read:
            self._end_read = True
            self._pipe.finish()

    def sink_paused(self) -> None:
        """Learn that the sink takes no more for now."""
        self._writable = False
        self._settle(self._timers.time())

    def sink_resumed(self) -> None:
        """Learn that the sink takes more, or is gone and drops everything."""
        if self._writable and self.direct:
            return
        self._writable = True
        self._pump()

    def stop(self) -> None:
        """Drop everything inside and cancel what is pending."""
        self._slots.clear()
        self._unread.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # From the API: who is interrupted, and so drawn anew, is the real server's habit.

    def add(self, toxic: ToxicRecord) -> None:
        """Put a toxic at the end, next to the sink; the one before it starts anew."""
        now_s = self._timers.time()
        last = self._slots[-1] if self._slots else None
        if last is None:
            if not self._end_read:
                self._append(toxic, now_s)
        elif not last.stage.ended:
            # what the last toxic held does not meet the new one
            for chunk in (*last.out, *last.stage.interrupt(now_s)):
                self._pipe.write(chunk.data)
            last.out.clear()
            self._append(toxic, now_s)
            self._start(last, now_s)
        self._pump()

    def update(self, toxic: ToxicRecord) -> None:
        """Start the toxic of this name anew with what it is now."""
        now_s = self._timers.time()
        for slot in self._slots:
            if slot.toxic.name == toxic.name and not slot.stage.ended:
                slot.toxic = toxic
                slot.out.extend(slot.stage.interrupt(now_s))
                self._start(slot, now_s)
        self._pump()

    def remove(self, name: str) -> None:
        """Take the toxic of this name out and let go at once what it has; see `Stage`."""
        now_s = self._timers.time()
        for index, slot in enumerate(self._slots):
            if slot.toxic.name == name and not slot.stage.ended:
                slot.out.extend(slot.stage.interrupt(now_s))
                if slot.stage.removal_ends:
                    slot.stage.end()
                else:
                    self._take_out(index, now_s)
                break
        self._pump()

    def _take_out(self, index: int, now_s: float) -> None:
        slot = self._slots.pop(index)
        rest = [*slot.out, *slot.stage.drain()]
        before = self._slots[index - 1] if index else None
        if before is not None and not before.stage.ended:
            rest += [*before.out, *before.stage.interrupt(now_s)]
            before.out.clear()
        for chunk in rest:
            self._give(index, chunk, now_s)
        if slot.stage.input_ended:
            self._give_end(index, now_s)
        if before is not None and not before.stage.ended:
            self._start(before, now_s)

    def _append(self, toxic: ToxicRecord, now_s: float) -> None:
        slot = _Slot(toxic, STAGES[toxic.type](self._draws.rng(toxic)))
        self._slots.append(slot)
        self._start(slot, now_s)

    def _start(self, slot: _Slot, now_s: float) -> None:
        drawn = self._draws.drawn(slot.toxic)
        slot.out.extend(slot.stage.start(slot.toxic.attributes, drawn, now_s))

    # Moving chunks. A place is the index of a slot, or of the sink behind the last one.

    def _pump(self) -> None:
        now_s = self._timers.time()
        moved = True
        while moved:
            moved = False
            for index in reversed(range(len(self._slots))):
                moved |= self._pass_on(index, now_s)
            moved |= self._read(now_s)
        self._settle(now_s)

    def _pass_on(self, index: int, now_s: float) -> bool:
        slot = self._slots[index]
        if not slot.out and slot.stage.due_s is not None:
            slot.out.extend(slot.stage.wake(now_s))
        moved = False
        while slot.out and self._takes(index + 1):
            self._give(index + 1, slot.out.popleft(), now_s)
            moved = True
        if slot.stage.ended and not slot.out and not slot.end_passed:
            slot.end_passed = moved = True
            self._give_end(index + 1, now_s)
        return moved

    def _read(self, now_s: float) -> bool:
        moved = False
        while self._unread and self._takes(0):
            self._give(0, Chunk(self._unread.popleft(), now_s), now_s)
            moved = True
        if self._source_ended and not self._unread and not self._end_read:
            self._end_read = moved = True
            self._give_end(0, now_s)
        return moved

    def _takes(self, place: int) -> bool:
        if place == len(self._slots):
            return self._writable
        slot = self._slots[place]
        return not slot.out and not slot.stage.full

    def _give(self, place: int, chunk: Chunk, now_s: float) -> None:
        if place == len(self._slots):
            self._pipe.write(chunk.data)
        else:
            self._slots[place].out.extend(self._slots[place].stage.push(chunk, now_s))

    def _give_end(self, place: int, now_s: float) -> None:
        if place == len(self._slots):
            self._pipe.finish()
        else:
            self._slots[place].out.extend(self._slots[place].stage.eof(now_s))

    def _settle(self, now_s: float) -> None:
        self.direct = not (self._slots or self._unread)
        paused = bool(self._unread) or (self.direct and not self._writable)
        if paused != self._paused:
            self._paused = paused
            self._pipe.pause(paused)
        self._set_timer(now_s)

    def _set_timer(self, now_s: float) -> None:
        dues = [s.stage.due_s for s in self._slots if s.stage.due_s is not None and not s.out]
        when = min(dues, default=None)
        if when is not None and when - now_s < SOON_S:
            when = now_s
        if self._timer is not None:
            if when is not None and self._timer.when() <= when:
                return  # it may come early: then it is set again
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer = self._timers.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._pump()
