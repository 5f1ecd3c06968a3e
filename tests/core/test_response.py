"""The dose-response posterior: proper, on uneven grids too, and quick to learn."""

import math

import numpy as np
import pytest
from numpy.random import default_rng

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.response import Belief, estimate

TAU = 0.01
EVEN = tuple(math.exp(0.025 * j) for j in range(120))
UNEVEN = Ladder("slow", "service", "latency", 0.001, 1.0, 0.1).severities  # integer milliseconds


def median_arm(belief: Belief) -> int:
    """The lowest arm that breaks with probability 1/2 or more (the last arm if none does)."""
    return min(
        int(np.searchsorted(np.cumsum(belief.crossing()), 0.5)),
        len(belief.shapes.log_severities) - 1,
    )


@pytest.mark.parametrize("grid", [EVEN, UNEVEN, (0.2, 0.5)])
@pytest.mark.parametrize(("never", "mildest"), [(0.1, 0.02), (0.3, 0.3)])
def test_the_prior_has_an_atom_at_both_ends_and_is_uniform_between(
    grid: tuple[float, ...], never: float, mildest: float
) -> None:
    belief = Belief.start(grid, TAU, 0.001, never, mildest)
    between = len(grid) - 1
    usual = (1.0 - never - mildest) / between
    assert belief.crossing() == pytest.approx([mildest, *[usual] * between, never], rel=1e-5)
    assert belief.p_broke(0) == pytest.approx(mildest)
    assert belief.p_broke(len(grid) - 1) == pytest.approx(1.0 - never)


def test_a_single_severity_shares_the_rest_between_both_ends() -> None:
    assert Belief.start((0.3,), TAU, 0.001).crossing() == pytest.approx([0.46, 0.54])


def test_two_steps_have_their_share_of_the_prior() -> None:
    shapes = Belief.start(EVEN, TAU, 0.001).shapes
    steps, prior = np.isfinite(shapes.second), np.exp(shapes.log_prior)
    assert sorted(set(np.exp(shapes.second[steps]).round(6))) == [1.3, 2.0, 3.0]
    assert prior[steps].sum() == pytest.approx(0.15)
    assert prior[(shapes.width == 0.0) & ~steps].sum() == pytest.approx(0.50)


@pytest.mark.parametrize("grid", [EVEN, UNEVEN])
def test_every_hypothesis_crosses_tau_where_it_says(grid: tuple[float, ...]) -> None:
    shapes = Belief.start(grid, TAU, 0.001).shapes
    assert len(shapes.width) == 78
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
    assert median_arm(start) == start.quantile(0.5) == 65
    assert median_arm(start.observe(60, 50, 0)) > 75
    assert median_arm(start.observe(60, 0, 2)) < 40
    assert start.observe(119, 2000, 0).quantile(0.05) == 120
    assert start.p_between(20, 40) == pytest.approx(0.88 * 20 / 119)


def test_means_stay_on_their_side() -> None:
    belief = Belief.start(EVEN, TAU, 0.001).observe(60, 40, 1)
    assert 0 < belief.mean_given(60, 61) < TAU < belief.mean_given(60, 0, 61) < 1
    assert belief.mean_given(60, 61, 64) > belief.mean_given(60, 64, 121)  # nearer is worse


def visits(belief: Belief, arm: int, good: int, bad: int, times: int) -> Belief:
    """So many long visits to one arm."""
    for _ in range(times):
        belief = belief.observe(arm, good, bad).settled()
    return belief


def test_no_hypothesis_is_lost_for_good() -> None:
    broken = visits(Belief.start(EVEN, TAU, 0.001), 60, 0, 500, times=8)
    assert broken.log_posterior.min() == broken.log_posterior.max() - 40.0
    assert broken.p_broke(60) == pytest.approx(1.0)
    assert visits(broken, 60, 50_000, 0, times=7).p_broke(60) < 0.01


@pytest.mark.parametrize(("good", "bad"), [(0, 30), (20_000, 0)])
def test_one_visit_speaks_against_nothing_by_more_than_a_hiccup_could(good: int, bad: int) -> None:
    start = Belief.start(EVEN, TAU, 0.001).observe(20, 50, 0).observe(30, 50, 0)
    told = start.observe(60, good, bad)
    change = told.log_posterior - start.log_posterior
    assert change.max() - change.min() == pytest.approx(8.0, abs=1e-4)
    again = told.observe(60, good, bad)  # the same visit goes on: it is one hiccup, not two
    assert np.ptp(again.log_posterior - start.log_posterior) == pytest.approx(8.0, abs=1e-4)


def test_a_spoilt_visit_is_repaired_by_a_few_others() -> None:
    good = Belief.start(EVEN, TAU, 0.001).observe(50, 400, 0)
    spoilt = good.observe(60, 0, 100).observe(50, 0, 100)
    assert spoilt.p_broke(50) > 0.9
    healed = spoilt.observe(49, 600, 0).observe(50, 600, 0)
    assert healed.p_broke(50) < 0.1


def test_a_long_visit_may_speak_again_and_a_short_one_may_not() -> None:
    start = Belief.start(EVEN, TAU, 0.001)
    long, short = start.observe(60, 250, 0), start.observe(60, 249, 0)
    assert short.settled() is short
    assert long.settled().visited is None
    assert long.settled().crossing() == pytest.approx(long.crossing())
    twice = visits(start, 60, 5000, 0, times=2)
    assert twice.p_broke(60) < start.observe(60, 10_000, 0).p_broke(60) / 100


def test_hope_that_nothing_breaks_does_not_count_for_those_who_are_careful() -> None:
    usual, total = 0.88 / 119, 0.02 + 0.88 + 0.88 / 119
    bold = Belief.start(EVEN, TAU, 0.001)
    plain = Belief.start(EVEN, TAU, 0.001, never=usual / total, mildest=0.02 / total)
    for belief in (bold, bold.observe(40, 60, 0), bold.observe(40, 60, 0).observe(80, 3, 1)):
        assert belief.p_broke_careful(119) > belief.p_broke(119) + 0.001
        assert (belief.cumulative_careful >= belief.cumulative - 1e-6).all()
        assert belief.cumulative_careful[-1] == 1.0
    seen = [each.observe(40, 60, 0).observe(80, 3, 1).observe(70, 4, 0) for each in (bold, plain)]
    for arm in (0, 40, 75, 119):
        assert seen[0].p_broke_careful(arm) == pytest.approx(seen[1].p_broke(arm), rel=1e-4)
        assert seen[1].p_broke_careful(arm) == pytest.approx(seen[1].p_broke(arm), rel=1e-4)
    assert seen[0].settled().p_broke_careful(75) == seen[0].p_broke_careful(75)
    few = Belief.start((1.0, 2.0, 3.0), TAU, 0.001)  # a usual crossing is likelier than the atom
    assert few.p_broke_careful(1) == few.p_broke(1)


def test_quantiles_are_crossings() -> None:
    belief = Belief.start((1.0, 2.0, 3.0), TAU, 0.001, never=0.2, mildest=0.2)  # .2 .3 .3 .2
    assert [belief.quantile(q) for q in (0.1, 0.4, 0.6, 0.9, 1.0)] == [0, 1, 2, 3, 3]


def test_the_estimate_lies_between_severities_and_says_when_it_is_beyond_them() -> None:
    start = Belief.start(EVEN, TAU, 0.001)
    prior = estimate([start], EVEN)
    assert (prior.low, prior.high) == (EVEN[4], math.inf)
    assert prior.median == pytest.approx(math.sqrt(EVEN[64] * EVEN[65]))
    mild = visits(start, 0, 0, 300, times=2)
    harsh = visits(start, 119, 3000, 0, times=3)
    assert estimate([mild], EVEN).median == estimate([mild], EVEN).high == 0.0
    assert estimate([harsh], EVEN).low == math.inf
    near = visits(visits(start, 60, 500, 0, times=2), 63, 0, 300, times=2)
    found = estimate([near], EVEN)
    assert (found.low, found.high) == (EVEN[60], EVEN[63])
    assert found.low < found.median < found.high


def test_the_estimate_of_several_slos_is_that_of_the_one_that_breaks_first() -> None:
    start = Belief.start(EVEN, TAU, 0.001)
    early, late = start.observe(40, 500, 0).observe(43, 0, 5), start.observe(90, 500, 0)
    assert estimate([late, early], EVEN) == estimate([early], EVEN)
    low, high = early.observe(42, 50, 0), early.observe(42, 0, 1)
    joint = np.max([low.cumulative, high.cumulative], axis=0)
    assert estimate([low, high], EVEN).median == pytest.approx(
        math.sqrt(math.prod(EVEN[k] for k in np.searchsorted(joint, 0.5) - np.array([1, 0])))
    )


def test_the_band_of_the_estimate_covers_the_truth() -> None:
    rng, runs, covered = default_rng(7), 120, 0
    for _ in range(runs):
        truth = math.exp(rng.uniform(0.1, 2.9))
        belief = Belief.start(EVEN, TAU, 0.001)
        for _ in range(int(rng.integers(5, 40))):
            arm = min(belief.quantile(rng.uniform(0.3, 0.7)), 119)
            bad = int((rng.random(5) < (0.5 if EVEN[arm] >= truth else 0.001)).sum())
            belief = belief.observe(arm, 5 - bad, bad)
        found = estimate([belief], EVEN)
        covered += found.low <= truth <= found.high
    assert covered >= 0.9 * runs


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
