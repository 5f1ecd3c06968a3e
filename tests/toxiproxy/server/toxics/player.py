"""Toxics as scripts: bytes and times in, bytes and times out, no sockets and no clock.

A line of a script is what happens at a time in milliseconds: bytes are pushed, `END` ends the
input. What comes out is listed the same way; between the lines the stage is woken whenever it asks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from chaosbandit.toxiproxy.server.stages import Chunk, Stage
from chaosbandit.toxiproxy.server.toxics import STAGES

END = b"<end>"
Line = tuple[float, bytes]
Case = tuple[dict[str, int], list[Line], list[Line]]
"""Attributes, a script, and what comes out."""
FOREVER_MS = 10_000_000.0


class Player:
    """Plays a script to a stage and notes what comes out, times in milliseconds.

    Without attributes the stage is not drawn.
    """

    def __init__(self, type_: str, **attributes: int) -> None:
        self.stage: Stage = STAGES[type_](random.Random(0))
        self.seen: list[Line] = []
        self._ended = False
        self._note(0, self.stage.start(attributes, bool(attributes), 0.0))

    def play(self, script: Sequence[Line], until_ms: float = FOREVER_MS) -> list[Line]:
        """Return everything seen so far, once the script is over and nothing more is due."""
        for at_ms, data in script:
            self.do(at_ms, lambda now_s, data=data: self._hand_over(data, now_s))  # type: ignore[misc]
        self._wake_until(until_ms)
        return self.seen

    def do(self, at_ms: float, act: Callable[[float], list[Chunk]]) -> None:
        """Do something else at a time."""
        self._wake_until(at_ms)
        self._note(at_ms, act(at_ms / 1000))

    def _hand_over(self, data: bytes, now_s: float) -> list[Chunk]:
        return self.stage.eof(now_s) if data == END else self.stage.push(Chunk(data, now_s), now_s)

    def _wake_until(self, at_ms: float) -> None:
        while self.stage.due_s is not None and self.stage.due_s * 1000 <= at_ms:
            due_s = self.stage.due_s
            assert self.stage.wake(due_s - 0.0001) == []  # too early is harmless
            self._note(due_s * 1000, self.stage.wake(due_s))

    def _note(self, at_ms: float, chunks: list[Chunk]) -> None:
        self.seen += [(round(at_ms, 3), chunk.data) for chunk in chunks]
        if self.stage.ended and not self._ended:
            self._ended = True
            self.seen.append((round(at_ms, 3), END))


ABC = [(0.0, b"a"), (10.0, b"b"), (20.0, b"c"), (30.0, END)]
