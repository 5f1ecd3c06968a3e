"""The narrowest bracket one can afford: what little buys, and that plenty changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from chaosbandit.sim import simulate
from chaosbandit.sim.response_curves import cliff, smooth

SEEDS = range(12)


def claims(curve: Callable[[float], float], max_samples: int) -> list[tuple[bool, bool]]:
    """Per seed whether something is certified to hold, and to break."""
    runs = [
        simulate(curve, low=1.0, high=1e4, objective=0.99, seed=seed, max_samples=max_samples)
        for seed in SEEDS
    ]
    for run in runs:
        assert run.held is None or curve(run.held) <= 0.01
        assert run.broke is None or curve(run.broke) >= 0.01
    return [(run.held is not None, run.broke is not None) for run in runs]


@pytest.mark.parametrize("curve", [cliff(300.0, tau=0.01), smooth(300.0, 0.1, tau=0.01)])
def test_a_run_that_cannot_afford_a_bracket_certifies_one_side_of_it(
    curve: Callable[[float], float],
) -> None:
    found = claims(curve, max_samples=500)
    assert sum(held or broke for held, broke in found) >= 10


def test_a_coarse_bracket_is_certified_where_a_fine_one_is_too_dear() -> None:
    found = claims(smooth(300.0, 0.1, tau=0.01), max_samples=3000)
    assert sum(held and broke for held, broke in found) >= 8


def test_with_plenty_left_a_limit_changes_nothing() -> None:
    def run(samples: int) -> tuple[float | None, float | None, int, int]:
        found = simulate(
            cliff(300.0, tau=0.01), low=1.0, high=1e4, objective=0.99, seed=5, max_samples=samples
        )
        return found.held, found.broke, found.samples, found.decisions

    assert run(100_000) == run(10_000_000)
    assert math.isfinite(run(100_000)[0] or math.inf)


def test_a_gentle_slope_is_climbed_to_where_it_breaks_clearly() -> None:
    """Without a look at the arm that carries the climb, 16 of 24 closed their bracket."""
    runs = [
        simulate(
            lambda severity: severity,
            low=0.005,
            high=0.4,
            objective=0.95,
            resolution=0.25,
            seed=seed,
            max_samples=3000,
        )
        for seed in range(24)
    ]
    assert all(run.held is not None and run.held < 0.05 for run in runs)
    assert all(run.broke is None or run.broke > 0.05 for run in runs)
    assert sum(run.broke is not None for run in runs) >= 19
