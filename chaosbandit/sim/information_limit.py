"""What no method can beat: samples that any search needs on average, for a given response curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaosbandit.core.evidence import within
from chaosbandit.core.ratio_tests import entropy_rate
from chaosbandit.core.scenario import Scenario
from chaosbandit.sim.simulated_campaign import scenario_of


def limit(
    response: Callable[[float], float],
    *,
    low: float,
    high: float,
    objective: float,
    baseline_bad_ratio: float = 0.0,
    confidence: float = 0.95,
    resolution: float = 0.10,
) -> float:
    """Samples that every method needs on average to certify a bracket on the ladder's grid.

    For a closing pair (l, h): kl(delta, 1 - delta) / kl(p_l, tau) + the same for h (Garivier &
    Kaufmann 2016; Garivier, Menard & Rossi 2017 for the monotone case); the least over the pairs
    that the resolution allows. Infinite where no pair straddles tau. Arguments as of `simulate`.
    """
    scenario = scenario_of(low, high, objective, confidence, resolution)
    severities = scenario.ladder.severities
    ratios = [max(response(severity), baseline_bad_ratio) for severity in severities]
    return best_pair(scenario, ratios).limit


@dataclass(frozen=True, slots=True)
class Pair:
    """Bad ratios of two arms that close a bracket, and what that needs."""

    low: float
    high: float
    limit: float  # samples


def best_pair(scenario: Scenario, ratios: Sequence[float]) -> Pair:
    """The pair behind `limit`, of the bad ratios at the severities of a scenario's first ladder."""
    severities, tau = scenario.ladder.severities, scenario.slos[0].bad_ratio
    delta, resolution = 1.0 - scenario.search.confidence, scenario.search.resolution
    needed = entropy_rate(delta, 1.0 - delta)
    costs = [needed / entropy_rate(ratio, tau) for ratio in ratios]
    best = Pair(0.0, 1.0, math.inf)
    for lower in range(len(severities) - 1):
        upper = lower + 1
        while upper < len(severities) and within(severities, lower, upper, resolution):
            together = costs[lower] + costs[upper]
            if ratios[lower] < tau < ratios[upper] and together < best.limit:
                best = Pair(ratios[lower], ratios[upper], together)
            upper += 1
    return best
