"""Right answers or none, on real services: short forms of what `benchmarks/answers.py` measures.

All runs begin together, since most of their time is waiting; each test waits for its own.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from benchmarks.answers import SITUATIONS, Run, Situation, shop_with
from tests.real_parts import needs
from tests.servers import real_server_path

pytestmark = pytest.mark.e2e

OPEN_S, WASHOUT_S = 3, 2  # a second look at the path makes up for it
BRIEF = "{resolution: 50%, max_duration: 40s, hold: 2s}"
SHORT: dict[str, tuple[Situation, dict[str, str]]] = {
    "edge-errors": (
        SITUATIONS["edge-errors"],
        {"search": "{resolution: 25%, max_duration: 30s}"},
    ),
    "breaker": (
        replace(SITUATIONS["breaker"], standing=shop_with("--breaker", f"{OPEN_S}")),
        {"search": BRIEF, "timing": f"{{steady_samples: 60, washout: {WASHOUT_S}s}}"},
    ),
    "slow-canary": (SITUATIONS["slow-canary"], {"search": BRIEF}),
    "low-rate-interrupt": (SITUATIONS["low-rate-interrupt"], {}),
}

Ran = Callable[[str], Run]


@pytest.fixture(scope="module")
def ran() -> Iterator[Ran]:
    """Waits for the run of a situation."""
    if real_server_path() is None:
        pytest.skip("no real Toxiproxy server: run .ci/toxiproxy, which builds it")
    needs("nginx")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a shell's background jobs
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with ThreadPoolExecutor(len(SHORT)) as pool:
        runs: dict[str, Future[Run]] = {
            name: pool.submit(situation.run, 1, **changes)
            for name, (situation, changes) in SHORT.items()
        }
        yield lambda name: runs[name].result()


def test_little_time_gives_an_estimate_and_nothing_false(ran: Ran) -> None:
    run = ran("edge-errors")
    assert (run.false, run.answered, run.exit_code) == ("", False, 5), run
    assert run.estimate is not None
    assert 0.005 < run.estimate < 0.4  # inside of the ladder; the truth is 0.05


def test_a_breaker_open_for_longer_than_the_wash_out_costs_no_answer(ran: Ran) -> None:
    run = ran("breaker")
    assert (run.false, run.sides, run.answered, run.exit_code) == ("", 2, True, 0), run


def test_a_canary_that_never_asks_is_not_said_to_hold(ran: Ran) -> None:
    run = ran("slow-canary")
    assert (run.held, run.broke, run.cause) == (None, None, "path not exercised"), run
    assert "path not exercised" in run.stopped


def test_a_run_at_a_low_rate_ends_clean_when_it_is_interrupted(ran: Ran) -> None:
    run = ran("low-rate-interrupt")
    assert (run.exit_code, run.clean) == (143, "verified"), run
