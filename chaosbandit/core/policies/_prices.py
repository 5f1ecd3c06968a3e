"""What may be certified next and what looks teach, priced in samples, for one decision.

A `Reading` is a ladder read once: where it may break, how far one may go, what each claim still
needs. The price of a claim is its missing evidence / kl(p, tau), the lower bound of Garivier,
Menard & Rossi (2017) read as a cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Purpose
from chaosbandit.core.policies import top_arm
from chaosbandit.core.policies._model_beliefs import highest_reach
from chaosbandit.core.ratio_tests import entropy_rate
from chaosbandit.core.response import Belief

PAIR = 0.7  # P(crossing in the pair) before certifying it
_OPEN = 0.1  # P of either side, from which an arm that stands is looked at: what broke hurts
_LOOKS = (0.1, 0.25, 0.4, 0.55, 0.7)  # P(broke) of the arms compared for a look
_MILD_LOOKS = (0.01, 0.02, 0.05)  # and of more when harm counts
_SETUP_SHARE = 0.5  # of a set-up, charged to the look that asks for it
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Side:
    """One claim to certify, the evidence it still needs, and what that is expected to cost."""

    arm: int
    purpose: Purpose
    missing: float = 0.0
    samples: float = 0.0  # expected number still needed
    bad_ratio: float = 0.0  # expected of them
    cost: float = 0.0  # in samples, with expected harm and set-up


Plan = tuple[Side, ...]  # what together ends the search


class Reading:
    """A ladder read once: where it may break, how far to go, and what claims cost."""

    def __init__(self, climb: Climb) -> None:
        self.climb = climb
        self.severities = climb.ladder.severities
        self.taus = tuple(slo.bad_ratio for slo in climb.slos)
        self.top = top_arm(climb)
        # P(arm breaks) by the SLO that breaks first.
        below = [belief.cumulative[:-1] for belief in climb.beliefs]
        self.p_broke: NDArray[np.float64] = np.max(below, axis=0)
        self.cap = highest_reach(climb)
        self._looks: dict[int, tuple[float, float, float]] = {}
        self._held: dict[tuple[int, int | None], Side] = {}
        self._broke: dict[tuple[int, int | None], Side] = {}

    @cached_property
    def slos(self) -> list[tuple[Belief, float]]:
        """Belief and tau of each SLO."""
        return list(zip(self.climb.beliefs, self.taus, strict=True))

    @cached_property
    def entropy(self) -> float:
        """Of the crossing, in nats."""
        crossing = np.diff(self.p_broke, prepend=0.0, append=1.0)
        crossing = crossing[crossing > 0.0]
        return -float((crossing * np.log(crossing)).sum())

    def pair(self, low: int, high: int) -> Plan:
        """That one arm holds and another breaks."""
        return self.held(low, high), self.broke(high, low)

    def held(self, arm: int, high: int | None) -> Side:
        """The claim that an arm holds; the SLO that needs most samples sets the price.

        `high` is the arm that is meant to break beside it, where there is one.
        """
        if (arm, high) not in self._held:
            self._held[arm, high] = self._held_beside(arm, high)
        return self._held[arm, high]

    def _held_beside(self, arm: int, high: int | None) -> Side:
        missing = self.climb.certificate.missing_held(arm)
        if missing <= 0:
            return Side(arm, Purpose.HELD)
        means = []
        for belief, _ in self.slos:
            binds = high is not None and 2 * belief.p_between(arm, high) > 1 - belief.p_broke(arm)
            means.append(belief.mean_given(arm, arm + 1, high + 1 if binds and high else None))
        rate = min(entropy_rate(p, tau) for p, tau in zip(means, self.taus, strict=True))
        return self._priced(arm, Purpose.HELD, missing, rate, max(means))

    def broke(self, arm: int, low: int | None) -> Side:
        """The claim that an arm breaks; the SLO most likely broken there sets the price."""
        if (arm, low) not in self._broke:
            self._broke[arm, low] = self._broke_beside(arm, low)
        return self._broke[arm, low]

    def _broke_beside(self, arm: int, low: int | None) -> Side:
        missing = self.climb.certificate.missing_broke(arm)
        if missing <= 0:
            return Side(arm, Purpose.BROKE)
        belief, tau = max(self.slos, key=lambda slo: slo[0].p_broke(arm))
        mean = belief.mean_given(arm, 0 if low is None else low + 1, arm + 1)
        return self._priced(arm, Purpose.BROKE, missing, entropy_rate(mean, tau), mean)

    def _priced(
        self, arm: int, purpose: Purpose, missing: float, rate: float, bad_ratio: float
    ) -> Side:
        climb = self.climb
        samples = missing * climb.certificate.block / rate
        cost = samples * (1.0 + climb.search.cost_of_bad * bad_ratio) + self.setup(arm)
        return Side(arm, purpose, missing, samples, bad_ratio, cost)

    def setup(self, arm: int) -> float:
        """Samples that could be sent while an arm is set up; none where it stands."""
        return self.climb.setup_samples if arm != self.climb.standing else 0.0

    @cached_property
    def best_look(self) -> int:
        """Where a look teaches most per expected cost, among arms about as likely to break as not.

        Not the posterior median itself: when one crossing carries half the mass, the first arm
        above it is sure to break, and looking there teaches nothing.
        """
        standing, harm = self.climb.standing, self.climb.search.cost_of_bad
        p_broke = self.p_broke[: self.cap + 1]
        looks = _LOOKS if harm == 0.0 else _MILD_LOOKS + _LOOKS
        arms = {int(np.argmin(np.abs(p_broke - look))) for look in looks}
        if standing is not None and standing <= self.cap and self.climb.setup_samples > 0:
            arms |= {standing} if _OPEN <= p_broke[standing] <= 1.0 - _OPEN else set()
        return max(sorted(arms), key=self.worth_looking)

    def look(self, arm: int) -> tuple[float, float, float]:
        """`look` for the SLO most likely broken there."""
        if arm not in self._looks:
            belief = max(self.climb.beliefs, key=lambda belief: belief.p_broke(arm))
            self._looks[arm] = look(belief, arm)
        return self._looks[arm]

    def worth_looking(self, arm: int) -> float:
        """What looking at an arm until its side is known is worth, in nats a sample.

        Only a share of the set-up is charged: what is next to learn, or to certify, is often near.
        """
        broke, bad_ratio, nats = self.look(arm)
        samples = entropy(broke) / max(nats, _SLACK)
        setup = _SETUP_SHARE * self.setup(arm)
        return worth(nats * samples, samples, bad_ratio, self.climb.search.cost_of_bad, setup)


@lru_cache(maxsize=64)
def partners(severities: tuple[float, ...], span: float) -> NDArray[np.intp]:
    """For every arm but the last, the highest one within a factor `span`, or the next one."""
    grid = np.asarray(severities)
    near = np.searchsorted(grid, grid * span * (1 + _SLACK), side="right") - 1
    return np.maximum(near, np.arange(1, len(grid) + 1))[:-1]


def look(belief: Belief, arm: int) -> tuple[float, float, float]:
    """P(broke) at an arm, the bad ratio to expect there, and what one sample teaches, in nats.

    That is the mutual information between its outcome and the side the arm is on: entropy of the
    outcome less its mean entropy once the side is known (Lindley 1956; MacKay 1992).
    """
    broke = belief.p_broke(arm)
    if_broke, if_held = belief.mean_given(arm, 0, arm + 1), belief.mean_given(arm, arm + 1)
    bad_ratio = broke * if_broke + (1.0 - broke) * if_held
    known = broke * entropy(if_broke) + (1.0 - broke) * entropy(if_held)
    return broke, bad_ratio, max(entropy(bad_ratio) - known, 0.0)


def worth(
    nats: float, samples: float, bad_ratio: float, cost_of_bad: float, setup_samples: float
) -> float:
    """Expected evidence per cost of a batch, in nats a sample.

    `nats` is what the whole batch is expected to teach: `samples` x the mutual information of a
    look, or `samples` x `entropy_rate(bad_ratio, tau)` of a bet with `bad_ratio` the posterior
    mean given the wanted side. `setup_samples` is 0 where the arm stands already.
    """
    return nats / (samples * (1.0 + cost_of_bad * bad_ratio) + setup_samples)


def entropy(p: float) -> float:
    """Of a yes-or-no outcome, in nats."""
    p = min(max(p, 1e-12), 1.0 - 1e-12)
    return -p * math.log(p) - (1.0 - p) * math.log1p(-p)
