"""Worker processes: the same answers as one process, and none of them left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence

import pytest

from chaosbandit.errors import HarnessError
from chaosbandit.plan.campaigns import Cost, simulated
from chaosbandit.plan.workers import Workers
from tests.simulated import SLOPPY, ladder, scenario

ASKED = scenario(SLOPPY, over=ladder(0.1, 1.0))


def test_campaigns_are_those_of_one_process_in_order() -> None:
    heard: list[int] = []

    def more(costs: Sequence[Cost]) -> bool:
        heard.append(len(costs))
        return True

    with Workers(2) as pool:
        found = pool.run(ASKED, 5, range(12), more)
        again = pool.run(ASKED, 5, [3])
    assert found == [simulated(ASKED, 5, number) for number in range(12)]
    assert again == found[3:4] and len(heard) == 12 and sorted(heard) == heard
    assert multiprocessing.active_children() == []


def test_the_first_campaigns_are_there_when_enough_are() -> None:
    """What has begun is finished: a dear campaign is not left out."""
    with Workers(2) as pool:
        found = pool.run(ASKED, 5, range(50), lambda costs: len(costs) < 4)
    assert 4 <= len(found) < 50
    assert [cost.number for cost in found] == list(range(len(found)))


def test_no_more_processes_than_processors() -> None:
    assert Workers().workers == os.cpu_count()


def test_leaving_in_the_middle_ends_the_processes() -> None:
    with pytest.raises(KeyboardInterrupt), Workers(2) as pool:
        workers = multiprocessing.active_children()
        assert len(workers) == 2

        def interrupted(costs: Sequence[Cost]) -> bool:
            raise KeyboardInterrupt

        pool.run(ASKED, 0, range(50), interrupted)
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_said() -> None:
    with pytest.raises(HarnessError, match="a process that simulates campaigns died"):
        with Workers(2) as pool:
            workers = multiprocessing.active_children()

            def killed(costs: Sequence[Cost]) -> bool:
                for worker in workers:
                    if worker.is_alive() and worker.pid is not None:
                        os.kill(worker.pid, signal.SIGKILL)
                return True

            pool.run(ASKED, 0, range(50), killed)
    assert multiprocessing.active_children() == []


def test_what_goes_wrong_in_a_worker_is_raised_here() -> None:
    from dataclasses import replace

    unknown = replace(ASKED, search=replace(ASKED.search, policy="guess"))
    with Workers(1) as pool, pytest.raises(Exception, match="wanted one of"):
        pool.run(unknown, 0, range(2))
