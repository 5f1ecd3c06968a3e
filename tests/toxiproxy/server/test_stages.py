"""What every stage does, shown with stages made for it."""

from __future__ import annotations

import random

from chaosbandit.toxiproxy.server.stages import Chunk, Stage


class Hold(Stage):
    """Keeps each chunk for a second."""

    room = 1

    def _take(self, chunk: Chunk, now_s: float) -> None:
        self.kept = chunk
        self._wait_until(now_s + 1)

    def _waited(self, now_s: float) -> None:
        self._emit(self.kept)

    def _released(self) -> None:
        self._emit(self.kept)


def _holding() -> Hold:
    stage = Hold(random.Random(0))
    stage.start({}, True, 0.0)
    stage.push(Chunk(b"a", 0.0), 0.0)
    return stage


def test_is_full_once_busy_and_its_room_is_taken() -> None:
    stage = _holding()
    first = stage.full
    stage.push(Chunk(b"b", 0.0), 0.0)
    assert (first, stage.full) == (False, True)


def test_an_interrupt_releases_what_is_held_and_keeps_what_is_queued() -> None:
    stage = _holding()
    stage.push(Chunk(b"b", 0.0), 0.0)
    assert [chunk.data for chunk in stage.interrupt(0.5)] == [b"a"]
    assert stage.due_s is None
    assert [chunk.data for chunk in stage.start({}, False, 0.5)] == [b"b"]


def test_the_end_comes_after_the_queue() -> None:
    stage = _holding()
    stage.eof(0.0)
    early = stage.ended
    stage.wake(1.0)
    assert (early, stage.ended) == (False, True)


def test_an_ended_stage_drops_what_follows() -> None:
    stage = _holding()
    stage.end()
    assert stage.push(Chunk(b"b", 0.0), 0.0) + stage.wake(9.0) + stage.drain() == []


def test_a_drain_gives_up_the_queue() -> None:
    stage = _holding()
    stage.push(Chunk(b"b", 0.0), 0.0)
    assert [chunk.data for chunk in stage.drain()] == [b"b"]
