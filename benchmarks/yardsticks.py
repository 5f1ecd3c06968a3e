"""What a search is measured against: the least that theory allows, and the best test there is.

Both know the response; no search does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from chaosbandit.core.scenario import Scenario
from chaosbandit.sim.information_limit import Pair, best_pair

_WALKS = 50  # of a test whose mean is wanted; every campaign of a row adds as many


def pair_of(response: Callable[[float], tuple[float, ...]], scenario: Scenario) -> Pair:
    """The pair of severities that needs the fewest samples, by the first SLO."""
    severities = scenario.ladder.severities
    return best_pair(scenario, [response(severity)[0] for severity in severities])


def wald_samples(pair: Pair, tau: float, delta: float, rng: Generator) -> float:
    """Samples of Wald's test (1945) with known ratios at both arms, errors delta, on average.

    Simulated, so that it includes what a test oversteps its thresholds by.
    """
    return sum(wald_at(p, tau, delta, rng) for p in (pair.low, pair.high))


def wald_at(p: float, tau: float, delta: float, rng: Generator) -> float:
    """Mean samples until the likelihood ratio of p against tau leaves its two thresholds.

    It walks from one bad sample to the next: between them every sample adds the same.
    """
    threshold = math.log((1.0 - delta) / delta)
    good, bad = math.log((1.0 - p) / (1.0 - tau)), math.log(p / tau)
    ahead = math.copysign(threshold, good)  # where good samples lead
    walked, samples = np.zeros(_WALKS), 0.0
    while len(walked):
        goods = rng.geometric(p, len(walked)) - 1
        needed = np.ceil((ahead - walked) / good - 1e-9)
        through = needed <= goods
        samples += needed[through].sum() + (goods[~through] + 1).sum()
        walked = walked[~through] + goods[~through] * good + bad
        walked = walked[np.abs(walked) < threshold - 1e-9]
    return samples / _WALKS
