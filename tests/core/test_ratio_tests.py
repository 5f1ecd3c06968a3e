from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from chaosbandit.core.ratio_tests import interval, log_e_above, log_e_below
from tests.core.test_evidence import DELTA, TAU, THRESHOLD, at_most


def test_the_test_of_one_ratio_rarely_errs_however_often_one_looks() -> None:
    rng, runs, n = default_rng(5), 600, 2000
    above = below = 0
    for _ in range(runs):
        at = np.flatnonzero(rng.random(n) < TAU)
        # Evidence for above peaks at a bad sample, evidence for below just before one.
        above += any(log_e_above(int(i) + 1, k + 1, TAU) >= THRESHOLD for k, i in enumerate(at))
        below += any(log_e_below(int(i), k, TAU) >= THRESHOLD for k, i in enumerate([*at, n]))
    assert 0 < above <= at_most(DELTA, runs)
    assert 0 < below <= at_most(DELTA, runs)


def test_the_test_of_one_ratio_finds_what_is_there() -> None:
    assert log_e_above(60, 6, TAU) > THRESHOLD
    assert log_e_below(500, 0, TAU) > THRESHOLD
    assert log_e_above(0, 0, TAU) == pytest.approx(0.0)
    assert log_e_above(500, 0, TAU) < 0 and log_e_below(60, 6, TAU) < 0


@pytest.mark.parametrize("p", [0.01, 0.3])
def test_the_interval_covers_at_all_times_at_once(p: float) -> None:
    rng, runs = default_rng(6), 300
    looks = [int(1.35**i) + 1 for i in range(25)]
    missed = 0
    for _ in range(runs):
        bad = np.cumsum(rng.random(looks[-1]) < p)
        bounds = (interval(n, int(bad[n - 1]), 0.1) for n in looks)
        missed += any(not low <= p <= high for low, high in bounds)
    assert missed <= at_most(0.1, runs)


@pytest.mark.parametrize(("n", "bad"), [(0, 0), (10, 0), (10, 10), (100, 1), (5000, 50)])
def test_the_interval_holds_the_ratio_seen_and_narrows(n: int, bad: int) -> None:
    low, high = interval(n, bad, DELTA)
    assert 0.0 <= low <= (bad / n if n else 0.0) <= high <= 1.0
    more_low, more_high = interval(10 * n, 10 * bad, DELTA)
    assert (more_high - more_low < high - low) == (n > 0)
