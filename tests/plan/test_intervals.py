"""Intervals of what few campaigns say: numbers in, numbers out, and how often they hold."""

from __future__ import annotations

import numpy as np
import pytest

from chaosbandit.plan.intervals import narrow, of_mean, of_quantile, of_share


@pytest.mark.parametrize(
    ("part", "whole", "found"),
    [(0, 20, (0.0, 0.1684)), (20, 20, (0.8316, 1.0)), (3, 20, (0.0321, 0.3789))],
)
def test_shares_are_those_of_clopper_and_pearson(
    part: int, whole: int, found: tuple[float, float]
) -> None:
    assert of_share(part, whole) == pytest.approx(found, abs=1e-4)


@pytest.mark.parametrize(
    ("n", "q", "found"),
    [
        (10, 0.5, (2.0, 9.0)),  # ranks as in the tables
        (100, 0.5, (40.0, 61.0)),
        (20, 0.9, (15.0, None)),
        (100, 0.9, (84.0, 96.0)),
        (1, 0.9, (0.0, None)),
    ],
)
def test_quantiles_lie_between_two_ranks(
    n: int, q: float, found: tuple[float, float | None]
) -> None:
    assert of_quantile(list(range(n, 0, -1)), q) == found


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    """Costs spread log-normally, as those of campaigns do; the bootstrap is a little short."""
    rng, times, held = np.random.default_rng(1), 400, np.zeros(2)
    for _ in range(times):
        values = rng.lognormal(0.0, 1.0, 60).tolist()
        truths = (np.exp(0.5), np.exp(1.2815516))
        for each, (low, high) in enumerate((of_mean(values), of_quantile(values, 0.9))):
            held[each] += low <= truths[each] <= (np.inf if high is None else high)
    assert held[0] / times > 0.87
    assert held[1] / times > 0.94


def test_one_value_says_nothing_of_a_mean() -> None:
    assert of_mean([3.0]) == (0.0, None)
    assert of_mean([3.0, 3.0]) == (3.0, 3.0)


def test_narrow_is_a_share_of_the_mean() -> None:
    assert narrow([9.0, 11.0] * 50, 0.02) and not narrow([9.0, 11.0] * 2, 0.02)
    assert narrow([0.0, 0.0], 0.1)
