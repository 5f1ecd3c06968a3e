"""Plain Thompson sampling: draws a breaking point it believes in and looks beside it.

It has the model and the bets of `certify` and none of its planning: how much an arm would cost to
certify, or which pair would close the bracket soonest, does not enter. A yardstick for that.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Decision, Purpose
from chaosbandit.core.policies import ended, highest_arm, register, within_reach
from chaosbandit.core.policies._model_beliefs import broke_bets, held_bets, highest_reach
from chaosbandit.core.policies._one_arm_test import expose

_BET = 0.8  # P(a side) before betting on it
_SHARE, _SMALLEST = 0.04, 5  # size of a batch: of the samples spent, and at least


@register
class Thompson:
    """A crossing drawn from the posterior, an arm beside it, a bet on the likelier side."""

    name = "thompson"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The next batch at an arm chosen by chance, or the end."""
        return ended(climb) or _batch(climb, _arm(climb, rng))


def _arm(climb: Climb, rng: Generator) -> int:
    """An arm half a resolution below or above a crossing drawn, as far as may be climbed."""
    severities = climb.ladder.severities
    quantile, above, highest = rng.random(), rng.random() < 0.5, highest_reach(climb)
    crossing = min(  # one quantile for all SLOs: the first one that breaks counts
        int(np.searchsorted(np.cumsum(belief.crossing())[:-1], quantile, side="right"))
        for belief in climb.beliefs
    )
    if crossing in (0, len(severities)):  # all arms break, or none
        return min(crossing, highest)
    span = 1.0 + climb.search.resolution
    low = max(highest_arm(severities, severities[crossing] / math.sqrt(span)), 0)
    high = within_reach(severities, low, span)
    return min(high if above else low, highest)


def _batch(climb: Climb, arm: int) -> Decision:
    samples = max(_SMALLEST, int(_SHARE * climb.spent_samples))
    p_broke = climb.believed_broken(arm)
    if 1.0 - p_broke > _BET:
        return expose(climb, arm, Purpose.HELD, held_bets(climb, arm), samples)
    at_tau = samples * max(slo.bad_ratio for slo in climb.slos)
    ends = 1 + int(at_tau + 2 * math.sqrt(at_tau))  # more than an arm at the objective shows
    if p_broke > _BET:
        certificate = climb.certificate
        bets = broke_bets(climb, arm, certificate.missing_broke(arm))
        return expose(climb, arm, Purpose.BROKE, bets, samples, ends)
    return expose(climb, arm, Purpose.SEARCH, (), samples, ends)
