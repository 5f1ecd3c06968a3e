"""What Ctrl-C, SIGTERM and SIGHUP do: end the command in order, with its exit code, at any moment.

    nothing is started yet   leave at once
    before and after a run   the first one unwinds the command, further ones are ignored
    during a run             the first one ends it, the second skips the look at the data path

All that happens on the way out has deadlines, so nobody has to press a third time.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from chaosbandit.errors import ChaosbanditError, Exit

if TYPE_CHECKING:
    import asyncio

    from chaosbandit.engine import Engine

T = TypeVar("T")

_ENDING = "interrupted: removing faults, then looking at the path; once more skips the look\n"
_received: list[Exit] = []  # callbacks can swallow what `_unwind` raises
_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedRunError(ChaosbanditError):
    """A signal ended the command before there was a run that could say so itself."""

    def __init__(self, code: Exit) -> None:
        self.exit_code = code
        super().__init__("interrupted; nothing was left in place")


def arm() -> None:
    """From now on a signal ends the command at once, without a word, as if never started."""
    for number in _heeded():
        signal.signal(number, _leave)


def unwind_from_now_on() -> None:
    """Something was begun that has to be ended: the first signal raises `SystemExit`."""
    for number in _heeded():
        if signal.getsignal(number) is _leave:
            signal.signal(number, _unwind)


def ignore() -> None:
    """The command is on its way out: nothing may cut its last steps short."""
    for number in _ALL:
        signal.signal(number, signal.SIG_IGN)


def _heeded() -> list[signal.Signals]:
    """Without those that `nohup`, or a shell's `&`, told us to ignore."""
    return [number for number in _ALL if signal.getsignal(number) is not signal.SIG_IGN]


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(int(_code_of(number)))  # raising could be swallowed by an import in progress


def _unwind(number: int, _: FrameType | None) -> None:
    ignore()
    _received.append(_code_of(number))
    raise SystemExit(int(_received[0]))


def _code_of(number: int) -> Exit:
    return Exit.SIGINT if number == signal.SIGINT else Exit.SIGTERM


class Interrupts:
    """Turns signals into cancellations of one task, and remembers which came first."""

    def __init__(self) -> None:
        self.engine: Engine | None = None  # ends its run when cancelled, and may be told twice
        self.over = False
        self.code: Exit | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen on the running loop for the current task; after a signal only the end follows."""
        import asyncio

        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        before = {number: signal.getsignal(number) for number in _heeded()}
        for number in before:
            loop.add_signal_handler(number, self._interrupt, number, task)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, before)
            for number, former in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, former if self.code is None else signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, before)

    def _interrupt(self, number: int, task: asyncio.Task[Any]) -> None:
        first = self.code is None
        if first:
            self.code = _code_of(number)
        if self.over or not (first or self.engine is not None):
            return
        if self.engine is not None and self.code is not None:
            from chaosbandit.core.model import Cause  # loaded by now, with the engine

            ended = self.code is Exit.SIGTERM
            self.engine.interrupted_by = Cause.TERMINATED if ended else Cause.INTERRUPTED
            if first:
                _say(_ENDING)
        task.cancel()


def _say(line: str) -> None:
    with suppress(OSError, ValueError):  # a terminal that is gone must not keep faults in place
        sys.stderr.write(line)
        sys.stderr.flush()


def interruptible(work: Callable[[Interrupts], Coroutine[Any, Any, T]]) -> T:
    """`asyncio.run` in which signals cancel `work`; what it cleans up is awaited.

    Raises:
        InterruptedRunError: a signal ended it and `work` had no answer of its own to that.
    """
    import asyncio

    interrupts = Interrupts()

    async def watched() -> T:
        with interrupts.watching():
            if _received:
                raise InterruptedRunError(_received[0])
            return await work(interrupts)

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        if interrupts.code is None:
            raise
        raise InterruptedRunError(interrupts.code) from None
