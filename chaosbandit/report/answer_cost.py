"""What an answer would still cost, as the model expects: so that every advice has its price.

A claim needs its missing evidence / kl(p, tau) samples (the lower bound of Garivier, Menard & Rossi
2017, read as a price), p the posterior mean of the bad ratio on the wanted side. Finding the place
costs too: both are divided by the belief that the place is right. This is no more than a guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chaosbandit.core.campaign import Campaign, begin
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.confirmation import stood_s
from chaosbandit.core.evidence import Certificate
from chaosbandit.core.ratio_tests import entropy_rate
from chaosbandit.report.answer import harshest_allowed
from chaosbandit.report.numbers_in_words import about

_MARGIN = 1.1  # looks that no claim rests on, and luck
_UNLIKELY = 0.25  # no place is tried more often than four times
COARSER = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0, 20.0)  # times the resolution, in the logarithm


@dataclass(frozen=True, slots=True)
class Cost:
    """Canary requests, and bad ones among them."""

    samples: float = 0.0
    bad: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.samples + other.samples, self.bad + other.bad)

    def times(self, factor: float) -> Cost:
        """So many times as much."""
        return Cost(self.samples * factor, self.bad * factor)


def rest(campaign: Campaign) -> Cost:
    """What the ladders without an answer still need, `search.hold` included."""
    return _sum(_rest(climb) for climb in climbs(campaign) if not settled(climb))


def settled(climb: Climb) -> bool:
    """Whether nothing more is to be found out about the ladder."""
    between = bracket(climb)
    holds = between.held is not None and between.held >= harshest_allowed(climb)
    breaks = between.broke is not None and between.broke <= climb.ladder.severities[0]
    return between.closed or holds or breaks


def affordable(campaign: Campaign, bad: int) -> tuple[float, Cost] | None:
    """The finest coarser resolution that a whole run with `bad` bad requests affords, and its cost.

    As if the run began anew with what is believed now; None where it is none, or none is needed.
    """
    fresh = begin(campaign.scenario).ladders
    finest, known = math.log1p(campaign.scenario.search.resolution), climbs(campaign)
    for factor in COARSER:
        resolution = math.expm1(factor * finest)
        cost = _sum(
            _cheapest(climb, other.certificate, resolution)
            for climb, other in zip(known, fresh, strict=True)
        )
        if cost.bad <= bad:
            return (resolution, cost) if factor > 1.0 else None
    return None


def _rest(climb: Climb) -> Cost:
    """A held arm stands while it is certified, so of both only the longer counts."""
    cost = _cheapest(climb, climb.certificate, climb.search.resolution)
    between, rate_per_s = bracket(climb), climb.scenario.traffic.rate_per_s
    held = between.held
    stood = 0.0 if held is None else stood_s(climb, climb.ladder.severities.index(held))
    return Cost(max(cost.samples, (climb.search.hold_s - stood) * rate_per_s), cost.bad)


def _cheapest(climb: Climb, certificate: Certificate, resolution: float) -> Cost:
    """The likeliest claims that would be an answer: two ends, or one at an end of the ladder."""
    severities = np.asarray(climb.ladder.severities)
    p_broke = np.max([belief.cumulative[:-1] for belief in climb.beliefs], axis=0)
    top = int(np.searchsorted(severities, harshest_allowed(climb)))
    near = np.searchsorted(severities, severities * (1 + resolution) * (1 + 1e-9), side="right") - 1
    partners = np.maximum(near, np.arange(1, len(severities) + 1))
    likely = [float(p_broke[min(partners[i], top)] - p_broke[i]) for i in range(top)]
    low = int(np.argmax(likely)) if likely else 0
    options = [(1.0 - float(p_broke[top]), top, None), (float(p_broke[0]), None, 0)]
    if likely:
        options.append((likely[low], low, min(int(partners[low]), top)))
    belief, held, broke = max(options, key=lambda option: option[0])
    cost = Cost() if held is None else _held(climb, certificate, held)
    cost += Cost() if broke is None else _broke(climb, certificate, broke)
    return cost.times(_MARGIN / max(belief, _UNLIKELY))


def _held(climb: Climb, certificate: Certificate, arm: int) -> Cost:
    missing = max(0.0, certificate.missing_held(arm)) * certificate.block
    means = [belief.mean_given(arm, arm + 1) for belief in climb.beliefs]
    rates = (entropy_rate(p, slo.bad_ratio) for p, slo in zip(means, climb.slos, strict=True))
    samples = missing / max(min(rates), 1e-9)
    return Cost(samples, samples * max(means))


def _broke(climb: Climb, certificate: Certificate, arm: int) -> Cost:
    missing = max(0.0, certificate.missing_broke(arm)) * certificate.block
    belief, slo = max(
        zip(climb.beliefs, climb.slos, strict=True), key=lambda each: each[0].p_broke(arm)
    )
    mean = belief.mean_given(arm, 0, arm + 1)
    samples = missing / max(entropy_rate(mean, slo.bad_ratio), 1e-9)
    return Cost(samples, samples * mean)


def price(cost: Cost) -> str:
    """`about 2,600 requests, 31 of them bad`."""
    return f"about {about(cost.samples)} requests, {about(cost.bad)} of them bad"


def _sum(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost())
