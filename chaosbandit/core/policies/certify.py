"""The policy that certifies a bracket with few samples: a model guides, certificates decide.

It reads beliefs to choose where to look and what to bet, and certificates for what is missing. It
never exposes an arm above the guardrails' cap, nor one further above the highest arm believed to
hold than the escalation factor (overdose control: Babb, Rogatko & Zacks 1998).

The problem is noisy binary search (Karp & Kleinberg 2007; Gretta & Price 2023), a monotone
thresholding bandit (Garivier, Menard & Rossi 2017). Which pair to certify: the one with the least
missing evidence / kl(p, tau), their lower bound read as a price; the bet on an arm is the posterior
mean of its bad ratio (Waudby-Smith & Ramdas 2024). Longer than most: one policy, one file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.evidence import Certificate, entropy_rate
from chaosbandit.core.model import Decision, Expose, Purpose
from chaosbandit.core.policies import ended, register, top_arm, whole_blocks
from chaosbandit.core.policies._believed import broke_bets, held_bets, highest_reach
from chaosbandit.core.response import Belief

_PAIR = 0.7  # P(crossing in the pair) before certifying it
_BET = 0.8  # P(wanted side) before betting
_LOOKS = (0.25, 0.4, 0.55)  # P(broke) of the arms compared for a look
_MILD_LOOKS = (0.01, 0.02, 0.05, 0.1)  # and of more when harm counts
_SHARE = 0.04  # of the samples spent on this ladder: size of the next batch
_SMALLEST, _SMALLEST_MOVING = 5, 1  # samples in a batch; fewer where moving on costs nothing
_FIRST_BAD, _FIRST_BAD_MOVING = 2, 1  # bad samples that end a look; likewise
_SETUP_SHARE = 0.5  # of a set-up, charged to the look that asks for it
_RARE = 0.5  # a batch that should see fewer bad samples than this at tau ends at the first ones
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class _Side:
    """One claim to certify, the evidence it still needs, and what that is expected to cost."""

    arm: int
    purpose: Purpose
    certificate: Certificate
    missing: float = 0.0
    samples: float = 0.0  # expected number still needed
    cost: float = 0.0  # the same with expected harm and set-up


@register
class Certify:
    """Search with a posterior, bet on the cheapest pair of arms, stop when both are certified."""

    name = "certify"

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """The next batch of the cheapest plan, or the end."""
        stop = ended(campaign)
        if stop is not None:
            return stop
        reading = _Reading(campaign)
        plans = reading.plans()
        if not plans:
            return reading.search(reading.search_arm())
        plan = min(plans, key=lambda sides: sum(side.cost for side in sides))
        return reading.certify(reading.next_side(plan))


class _Reading:
    """A campaign read once for one decision: where it may break, how far to go, what it costs."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.variant = campaign.ladder.variant
        self.severities = campaign.ladder.severities
        self.taus = tuple(slo.bad_ratio for slo in campaign.slos)
        self.top = top_arm(campaign)
        # P(arm breaks) by the SLO that breaks first.
        below = [belief.cumulative[:-1] for belief in campaign.beliefs]
        self.p_broke: NDArray[np.float64] = np.max(below, axis=0)
        self.cap = highest_reach(campaign)

    def plans(self) -> list[tuple[_Side, ...]]:
        """What could be certified next: likely pairs one resolution apart, or a grid's end."""
        campaign, p_broke, cap = self.campaign, self.p_broke, self.cap
        plans: list[tuple[_Side, ...]] = []
        if cap == self.top and 1.0 - p_broke[cap] > _PAIR:
            plans.append((self._held(cap, None, campaign.one_sided),))
        if p_broke[0] > _PAIR:
            plans.append((self._broke(0, None, campaign.one_sided),))
        partners = _partners(self.severities, campaign.scenario.search.resolution)
        partners = np.minimum(partners, cap)[:cap]  # a pair that ends at the cap is as good
        likely = p_broke[partners] - p_broke[:cap] > _PAIR
        for low in np.flatnonzero(likely).tolist():
            high = int(partners[low])
            held = self._held(low, high, campaign.certificate)
            plans.append((held, self._broke(high, low, campaign.certificate)))
        return plans

    def next_side(self, plan: tuple[_Side, ...]) -> _Side:
        """The dearer side of a plan; when moving costs time, the standing arm is finished first."""
        if self.campaign.setup_samples > 0:
            for side in plan:
                if side.missing > 0 and side.arm == self.campaign.standing:
                    return side
        return max(plan, key=lambda side: side.cost)

    def search_arm(self) -> int:
        """Where a look teaches most per expected cost, among arms about as likely to break as not.

        Not the posterior median itself: when one crossing carries half the mass, the first arm
        above it is sure to break, and looking there teaches nothing.
        """
        standing, harm = self.campaign.standing, self.campaign.scenario.search.cost_of_bad
        p_broke = self.p_broke[: self.cap + 1]
        looks = _LOOKS if harm == 0.0 else _MILD_LOOKS + _LOOKS
        arms = {int(np.argmin(np.abs(p_broke - look))) for look in looks}
        if standing is not None and standing <= self.cap and self.campaign.setup_samples > 0:
            arms.add(standing)
        return max(sorted(arms), key=self._worth_looking)

    def _worth_looking(self, arm: int) -> float:
        """What looking at an arm until its side is known is worth, set-up included.

        Only a share of the set-up is charged: what is next to learn, or to certify, is often near.
        """
        campaign = self.campaign
        belief = max(campaign.beliefs, key=lambda belief: belief.p_broke(arm))
        broke, bad_ratio, nats = look(belief, arm)
        samples = _entropy(broke) / max(nats, _SLACK)
        setup = _SETUP_SHARE * campaign.setup_samples if arm != campaign.standing else 0.0
        cost_of_bad = campaign.scenario.search.cost_of_bad
        return worth(nats * samples, samples, bad_ratio, cost_of_bad, setup)

    def search(self, arm: int) -> Expose:
        """A look without bets; it ends early when bad samples pile up."""
        samples = whole_blocks(self.campaign, self._share())
        at_tau = samples * max(self.taus)  # bad samples that even a healthy arm may show
        ends = _FIRST_BAD if self.campaign.setup_samples > 0 else _FIRST_BAD_MOVING
        if at_tau >= _RARE:
            ends += 1 + int(at_tau + 2 * math.sqrt(at_tau))
        text = self.campaign.ladder.text(self.severities[arm])
        limited = arm == self.cap and self.p_broke[arm] < 0.5
        why = (
            f"search at {text}, as far as is safe" if limited else f"search near the median {text}"
        )
        if self.campaign.highest_exposed is None:
            why = f"start with the mildest, {text}"
        taught = self._taught(arm, None, samples)
        return Expose(self.variant(arm), samples, Purpose.SEARCH, (), ends, why, taught)

    def certify(self, side: _Side) -> Expose:
        """A batch with bets on one side, or a look while that side is not likely enough."""
        p_broke = float(self.p_broke[side.arm])
        if side.purpose is Purpose.HELD:
            return self._bet_held(side) if 1.0 - p_broke > _BET else self.search(side.arm)
        return self._bet_broke(side) if p_broke > _BET else self.search(side.arm)

    def _bet_held(self, side: _Side) -> Expose:
        bets = held_bets(self.campaign, side.arm)
        gain = min(math.log((1 - q) / (1 - tau)) for q, tau in zip(bets, self.taus, strict=True))
        needed = math.ceil(side.missing * side.certificate.block / gain)
        if side.arm == self.campaign.standing:
            needed = max(needed - self.campaign.unresolved, 1)
        samples = whole_blocks(self.campaign, min(self._share(), needed))
        text = self.campaign.ladder.text(self.severities[side.arm])
        why = f"certify that {text} holds: {needed} more good sample{'s' * (needed > 1)}"
        taught = self._taught(side.arm, side.purpose, samples)
        return Expose(self.variant(side.arm), samples, Purpose.HELD, bets, None, why, taught)

    def _bet_broke(self, side: _Side) -> Expose:
        bets = broke_bets(self.campaign, side.arm, side.missing)
        quarter = min(_SHARE * self.campaign.climb.samples, side.samples / 4)
        samples = whole_blocks(self.campaign, max(1, int(quarter)))
        ends = None  # an incomplete block could only lose
        if side.certificate.block == 1:
            rare = samples * max(self.taus) < _RARE
            gain = max(math.log(q / tau) for q, tau in zip(bets, self.taus, strict=True))
            ends = 1 if rare else math.ceil(side.missing / gain - 1e-6)
        text = self.campaign.ladder.text(self.severities[side.arm])
        why = f"certify that {text} breaks: about {math.ceil(side.samples)} more samples"
        taught = self._taught(side.arm, side.purpose, samples)
        return Expose(self.variant(side.arm), samples, Purpose.BROKE, bets, ends, why, taught)

    def _taught(self, arm: int, purpose: Purpose | None, samples: int) -> float:
        """What a batch is worth, to be compared with other ladders'; 0 where there are none."""
        campaign = self.campaign
        if len(campaign.climbs) == 1:
            return 0.0
        belief, tau = max(self._slos(), key=lambda slo: slo[0].p_broke(arm))
        if purpose is None:
            _, bad_ratio, nats = look(belief, arm)
        else:
            held = purpose is Purpose.HELD
            bad_ratio = belief.mean_given(arm, arm + 1 if held else 0, None if held else arm + 1)
            nats = entropy_rate(bad_ratio, tau)
        setup = campaign.setup_samples if arm != campaign.standing else 0.0
        cost_of_bad = campaign.scenario.search.cost_of_bad
        return worth(nats * samples, samples, bad_ratio, cost_of_bad, setup)

    def _held(self, arm: int, high: int | None, certificate: Certificate) -> _Side:
        """The claim that an arm holds; the SLO that needs most samples sets the price."""
        missing = certificate.missing_held(arm)
        if missing <= 0:
            return _Side(arm, Purpose.HELD, certificate)
        means = []
        for belief, _ in self._slos():
            binds = high is not None and 2 * belief.p_between(arm, high) > 1 - belief.p_broke(arm)
            means.append(belief.mean_given(arm, arm + 1, high + 1 if binds and high else None))
        rate = min(entropy_rate(p, tau) for p, tau in zip(means, self.taus, strict=True))
        return self._priced(_Side(arm, Purpose.HELD, certificate, missing), rate, max(means))

    def _broke(self, arm: int, low: int | None, certificate: Certificate) -> _Side:
        """The claim that an arm breaks; the SLO most likely broken there sets the price."""
        missing = certificate.missing_broke(arm)
        if missing <= 0:
            return _Side(arm, Purpose.BROKE, certificate)
        belief, tau = max(self._slos(), key=lambda slo: slo[0].p_broke(arm))
        mean = belief.mean_given(arm, 0 if low is None else low + 1, arm + 1)
        side = _Side(arm, Purpose.BROKE, certificate, missing)
        return self._priced(side, entropy_rate(mean, tau), mean)

    def _priced(self, side: _Side, rate: float, bad_ratio: float) -> _Side:
        campaign = self.campaign
        samples = side.missing * side.certificate.block / rate
        cost = samples * (1.0 + campaign.scenario.search.cost_of_bad * bad_ratio)
        cost += campaign.setup_samples if side.arm != campaign.standing else 0.0
        return _Side(side.arm, side.purpose, side.certificate, side.missing, samples, cost)

    def _slos(self) -> list[tuple[Belief, float]]:
        return list(zip(self.campaign.beliefs, self.taus, strict=True))

    def _share(self) -> int:
        """The size of a batch that may be wasted: a share of what is spent already."""
        smallest = _SMALLEST if self.campaign.setup_samples > 0 else _SMALLEST_MOVING
        return max(smallest, int(_SHARE * self.campaign.climb.samples))


@lru_cache(maxsize=16)
def _partners(severities: tuple[float, ...], resolution: float) -> NDArray[np.intp]:
    """For every arm but the last, the highest one that closes a bracket with it."""
    grid = np.asarray(severities)
    near = np.searchsorted(grid, grid * (1 + resolution) * (1 + _SLACK), side="right") - 1
    return np.maximum(near, np.arange(1, len(grid) + 1))[:-1]


def look(belief: Belief, arm: int) -> tuple[float, float, float]:
    """P(broke) at an arm, the bad ratio to expect there, and what one sample teaches, in nats.

    That is the mutual information between its outcome and the side the arm is on: entropy of the
    outcome less its mean entropy once the side is known (Lindley 1956; MacKay 1992).
    """
    broke = belief.p_broke(arm)
    if_broke, if_held = belief.mean_given(arm, 0, arm + 1), belief.mean_given(arm, arm + 1)
    bad_ratio = broke * if_broke + (1.0 - broke) * if_held
    known = broke * _entropy(if_broke) + (1.0 - broke) * _entropy(if_held)
    return broke, bad_ratio, max(_entropy(bad_ratio) - known, 0.0)


def worth(
    nats: float, samples: float, bad_ratio: float, cost_of_bad: float, setup_samples: float
) -> float:
    """Expected evidence per cost of a batch, in nats a sample.

    `nats` is what the whole batch is expected to teach: `samples` x the mutual information of a
    look, or `samples` x `entropy_rate(bad_ratio, tau)` of a bet with `bad_ratio` the posterior
    mean given the wanted side. `setup_samples` is 0 where the arm stands already.
    """
    return nats / (samples * (1.0 + cost_of_bad * bad_ratio) + setup_samples)


def _entropy(p: float) -> float:
    """Of a yes-or-no outcome, in nats."""
    p = min(max(p, 1e-12), 1.0 - 1e-12)
    return -p * math.log(p) - (1.0 - p) * math.log1p(-p)
