"""The dose-response posterior: proper, on uneven grids too, and quick to learn."""

import math

import numpy as np
import pytest
from numpy.random import default_rng

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.response import Belief

TAU = 0.01
EVEN = tuple(math.exp(0.025 * j) for j in range(120))
UNEVEN = Ladder("slow", "service", "latency", 0.001, 1.0, 0.1).severities  # integer milliseconds


def median_arm(belief: Belief) -> int:
    """The lowest arm that breaks with probability 1/2 or more (the last arm if none does)."""
    return min(
        int(np.searchsorted(np.cumsum(belief.crossing()), 0.5)),
        len(belief.shapes.log_severities) - 1,
    )


@pytest.mark.parametrize("grid", [EVEN, UNEVEN, (0.2, 0.5), (0.3,)])
def test_the_prior_is_uniform_over_crossings(grid: tuple[float, ...]) -> None:
    belief = Belief.start(grid, TAU, 0.001)
    assert belief.crossing() == pytest.approx(np.full(len(grid) + 1, 1 / (len(grid) + 1)))
    assert belief.p_broke(0) == pytest.approx(1 / (len(grid) + 1))


@pytest.mark.parametrize("grid", [EVEN, UNEVEN])
def test_every_hypothesis_crosses_tau_where_it_says(grid: tuple[float, ...]) -> None:
    shapes = Belief.start(grid, TAU, 0.001).shapes
    assert len(shapes.width) == 74
    assert math.fsum(np.exp(shapes.log_prior)) == pytest.approx(1.0)
    for arm in (0, 5, len(grid) - 1):
        p = shapes.p(arm)
        assert (p[: arm + 1] > TAU).all()  # crossings at or below: it breaks
        assert (p[arm + 1 :] < TAU).all()


def test_an_uneven_grid_follows_the_formula_at_every_distance() -> None:
    shapes = Belief.start(UNEVEN, TAU, 0.001).shapes
    smooth = int(np.flatnonzero(shapes.width == 0.1)[0])
    floor, ceiling = shapes.floor[smooth], shapes.ceiling[smooth]
    for arm, crossing in [(0, 1), (1, 1), (3, 9), (60, 50), (60, 62)]:
        x, at = UNEVEN[arm], math.sqrt(UNEVEN[crossing - 1] * UNEVEN[crossing])
        odds = (TAU - floor) / (ceiling - TAU) * (x / at) ** (1 / 0.1)
        expected = floor + (ceiling - floor) * odds / (1 + odds)
        assert shapes.p(arm)[crossing, smooth] == pytest.approx(expected)


def test_batches_and_single_samples_agree() -> None:
    start = Belief.start(EVEN, TAU, 0.001)
    bulk = start.observe(50, 3, 1)
    single = start
    for good, bad in [(1, 0), (0, 1), (1, 0), (1, 0)]:
        single = single.observe(50, good, bad)
    assert bulk.crossing() == pytest.approx(single.crossing())
    assert start.observe(50, 0, 0) is start


def test_good_samples_move_the_crossing_up_and_bad_ones_down() -> None:
    start = Belief.start(EVEN, TAU, 0.001)
    assert median_arm(start) == 60
    assert median_arm(start.observe(60, 50, 0)) > 75
    assert median_arm(start.observe(60, 0, 2)) < 40
    assert median_arm(start.observe(119, 2000, 0)) == 119
    assert start.p_between(20, 40) == pytest.approx(20 / 121)


def test_means_stay_on_their_side() -> None:
    belief = Belief.start(EVEN, TAU, 0.001).observe(60, 40, 1)
    assert 0 < belief.mean_given(60, 61) < TAU < belief.mean_given(60, 0, 61) < 1
    assert belief.mean_given(60, 61, 64) > belief.mean_given(60, 64, 121)  # nearer is worse


def test_no_hypothesis_is_lost_for_good() -> None:
    belief = Belief.start(EVEN, TAU, 0.001).observe(60, 0, 500)
    assert belief.log_posterior.min() == belief.log_posterior.max() - 40.0
    assert belief.p_broke(60) == pytest.approx(1.0)
    assert belief.settled().observe(60, 50_000, 0).p_broke(60) < 0.01
    assert belief.settled().crossing() == pytest.approx(belief.crossing())
    young = Belief.start(EVEN, TAU, 0.001).observe(60, 9, 0)
    assert young.settled() is young


@pytest.mark.parametrize("grid", [EVEN, UNEVEN])
def test_a_cliff_is_found_within_few_samples(grid: tuple[float, ...]) -> None:
    rng, truth = default_rng(1), 77
    belief = Belief.start(grid, TAU, 0.001)
    for turn in range(60):
        arm = median_arm(belief) - turn % 2  # a median alone is sure to break when one crossing
        # holds half the mass
        bad = int((rng.random(5) < (0.95 if arm >= truth else 0.001)).sum())
        belief = belief.observe(arm, 5 - bad, bad)
    assert belief.p_between(truth - 3, truth + 3) > 0.9


@pytest.mark.parametrize(
    ("tau", "control"),
    [(0.001, 0.0), (0.01, 0.0099), (0.01, 0.5), (0.05, 0.01), (0.3, 0.01), (0.95, 0.1)],
)
def test_any_objective_and_control_give_finite_beliefs(tau: float, control: float) -> None:
    belief = Belief.start(EVEN, tau, control).observe(30, 100, 0).observe(90, 0, 10)
    assert np.isfinite(belief.log_posterior).all()
    assert belief.crossing().sum() == pytest.approx(1.0)
    assert 30 <= median_arm(belief) <= 90
