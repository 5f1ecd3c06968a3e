"""What a search is measured against: the least that theory allows, and the best test there is.

Both know the response; no search does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from chaosbandit.core.evidence import entropy_rate, within
from chaosbandit.core.scenario import Scenario

_WALKS = 50  # of a test whose mean is wanted; every campaign of a row adds as many


@dataclass(frozen=True, slots=True)
class Pair:
    """Bad ratios of two arms that close a bracket."""

    low: float
    high: float
    limit: float  # samples


def best_pair(response: Callable[[float], tuple[float, ...]], scenario: Scenario) -> Pair:
    """The pair that needs the fewest samples on average, whatever the method.

    Garivier & Kaufmann 2016: kl(delta, 1 - delta) / kl(p, tau) a side.
    """
    severities, tau = scenario.ladders[0].severities, scenario.slos[0].bad_ratio
    delta, resolution = 1.0 - scenario.search.confidence, scenario.search.resolution
    ratios = [response(severity)[0] for severity in severities]
    costs = [entropy_rate(delta, 1.0 - delta) / entropy_rate(ratio, tau) for ratio in ratios]
    best = Pair(0.0, 1.0, math.inf)
    for low in range(len(severities) - 1):
        high = low + 1
        while high < len(severities) and within(severities, low, high, resolution):
            together = costs[low] + costs[high]
            if ratios[low] < tau < ratios[high] and together < best.limit:
                best = Pair(ratios[low], ratios[high], together)
            high += 1
    return best


def wald_samples(pair: Pair, tau: float, delta: float, rng: Generator) -> float:
    """Samples of Wald's test (1945) with known ratios at both arms, errors delta, on average.

    Simulated, so that it includes what a test oversteps its thresholds by.
    """
    return sum(_sprt_samples(p, tau, delta, rng) for p in (pair.low, pair.high))


def _sprt_samples(p: float, tau: float, delta: float, rng: Generator) -> float:
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
