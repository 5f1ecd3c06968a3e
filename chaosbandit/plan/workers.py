"""Simulated campaigns on all processors: a process each, which asks for one campaign after another.

Workers hear of nothing but their pipe. They end when it does, also when whoever started them was
killed, and Ctrl-C is not theirs to answer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import HarnessError
from chaosbandit.plan.campaigns import Cost, simulated

PATIENCE_S = 5.0  # for a process to end that was told to


@dataclass(frozen=True, slots=True)
class Task:
    """One campaign to simulate."""

    scenario: Scenario
    seed: int
    number: int


class Workers:
    """Worker processes, started when entered and gone when left, whatever happens in between."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        try:
            for _ in range(self.workers):
                self._start_one()
        except BaseException:
            self._end_all()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_all()

    def run(
        self,
        scenario: Scenario,
        seed: int,
        numbers: Iterable[int],
        more: Callable[[Sequence[Cost]], bool] = lambda costs: True,
    ) -> list[Cost]:
        """These campaigns, in the order asked whoever simulated them.

        After each, `more` sees those that are there without a gap and says whether another begins.
        What has begun is finished, so that it is always the first ones that are there.

        Raises:
            HarnessError: a worker died.
        """
        asked = list(numbers)
        waiting = iter([Task(scenario, seed, number) for number in asked])
        idle, busy, found = list(self._processes), set[Connection](), dict[int, Cost]()
        first: list[Cost] = []  # without a gap
        while True:
            for pipe, task in zip(tuple(idle), waiting, strict=False):
                idle.remove(pipe)
                busy.add(pipe)
                _tell(pipe, task)
            if not busy:
                return first
            for pipe in [each for each in wait(busy) if isinstance(each, Connection)]:
                busy.remove(pipe)
                cost = _hear(pipe)
                found[cost.number] = cost
                idle.append(pipe)
                while len(first) < len(asked) and asked[len(first)] in found:
                    first.append(found.pop(asked[len(first)]))
                if not more(first):
                    waiting = iter(())

    def _start_one(self) -> None:
        """One more process, which never sees a Ctrl-C: it inherits the mask, not a handler."""
        spawn = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # started later, it would take the mask away
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=work, args=(theirs,), daemon=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
            self._processes[ours] = process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()

    def _end_all(self) -> None:
        for pipe, process in self._processes.items():
            pipe.close()
            process.terminate()  # in the middle of a campaign nothing is lost
        for process in self._processes.values():
            process.join(PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join(PATIENCE_S)
            process.close()
        self._processes.clear()


def work(pipe: Connection) -> None:
    """Simulate what comes through the pipe until it ends."""
    try:
        while True:
            task = pipe.recv()
            try:
                pipe.send(simulated(task.scenario, task.seed, task.number))
            except Exception as error:  # whoever asked says it
                pipe.send(error)
    except (EOFError, OSError):  # nobody is there any more
        return


def _tell(pipe: Connection, task: Task) -> None:
    try:
        pipe.send(task)
    except OSError as error:
        raise _died() from error


def _hear(pipe: Connection) -> Cost:
    try:
        heard = pipe.recv()
    except (EOFError, OSError) as error:
        raise _died() from error
    if isinstance(heard, Exception):
        raise heard
    assert isinstance(heard, Cost)
    return heard


def _died() -> HarnessError:
    return HarnessError(
        "a process that simulates campaigns died, nothing was sent to any target",
        do="see whether memory is short and try again",
    )
