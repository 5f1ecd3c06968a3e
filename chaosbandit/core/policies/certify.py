"""The policy that certifies a bracket with few samples: a model guides, certificates decide.

It reads beliefs to choose where to look and what to bet, and certificates for what is missing. It
never exposes an arm above the guardrails' cap, nor one further above the highest arm believed to
hold than the escalation factor (overdose control: Babb, Rogatko & Zacks 1998).

The problem is noisy binary search (Karp & Kleinberg 2007; Gretta & Price 2023), a monotone
thresholding bandit (Garivier, Menard & Rossi 2017). The cheapest likely pair one resolution apart
is certified; where samples, budget or time are short, the narrowest that one can afford.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from chaosbandit.core import guardrail
from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Decision, Expose, Purpose
from chaosbandit.core.policies import _affordable_bracket, _gate, ended, gate_arm, register
from chaosbandit.core.policies._batches import certify, search
from chaosbandit.core.policies._model_beliefs import stepping_stone
from chaosbandit.core.policies._prices import PAIR, Plan, Reading, Side, partners

_SAFE = 0.1  # P(broke) of an arm that is bet on when nothing else is affordable
_EASIER = 0.95  # of the samples now needed: then a harsher arm is worth a look at what leads there


@register
class Certify:
    """Search with a posterior, bet on the cheapest pair of arms, stop when both are certified."""

    name = "certify"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The next batch of the cheapest plan, or the end."""
        stop = ended(climb)
        if stop is not None:
            return stop
        reading = Reading(climb)
        if gate_arm(climb) is not None:
            return _gate.batch(reading)
        plan = min(
            _plans(reading), key=lambda sides: sum(side.cost for side in sides), default=None
        )
        chosen, tight = _affordable_bracket.narrowest(reading, plan)
        if chosen is None:
            return _or_held(reading, search(reading, reading.best_look))
        if tight:
            stone = _stone(reading, chosen)
            batch = _cheaper_first(reading, chosen) if stone is None else search(reading, stone)
            return _or_held(reading, batch)
        return _or_held(reading, certify(reading, _next(climb, chosen)))


def _plans(reading: Reading) -> list[Plan]:
    """What could be certified next: likely pairs one resolution apart, or a grid's end."""
    p_broke, cap = reading.p_broke, reading.cap
    plans: list[Plan] = []
    if cap == reading.top and 1.0 - p_broke[cap] > PAIR:
        plans.append((reading.held(cap, None),))
    if p_broke[0] > PAIR:
        plans.append((reading.broke(0, None),))
    high = partners(reading.severities, 1 + reading.climb.search.resolution)
    high = np.minimum(high, cap)[:cap]  # a pair that ends at the cap is as good
    likely = p_broke[high] - p_broke[:cap] > PAIR
    return plans + [reading.pair(low, int(high[low])) for low in np.flatnonzero(likely).tolist()]


def _stone(reading: Reading, plan: Plan) -> int | None:
    """An arm to look at first, since a harsher one in its reach is far easier shown to break."""
    if not any(side.purpose is Purpose.BROKE and side.missing > 0 for side in plan):
        return None
    found = stepping_stone(reading.climb, reading.cap)
    if found is None:
        return None
    stone, higher = found
    now, then = reading.broke(reading.cap, None), reading.broke(higher, None)
    return stone if then.samples < _EASIER * now.samples else None


def _next(climb: Climb, plan: Plan) -> Side:
    """The dearer side of a plan; when moving costs time, the standing arm is finished first."""
    if climb.setup_samples > 0:
        for side in plan:
            if side.missing > 0 and side.arm == climb.standing:
                return side
    return max(plan, key=lambda side: side.cost)


def _or_held(reading: Reading, batch: Expose) -> Expose:
    """Where the guardrails refuse a batch: a bet on the highest arm that is likely to hold.

    What may break costs a warm-up and more; a mild arm is affordable long after, and one certified
    side is more than none.
    """
    climb = reading.climb
    if not isinstance(guardrail.admit(batch, climb), guardrail.Refused):
        return batch
    arm = min(int(np.searchsorted(reading.p_broke, _SAFE, side="right")) - 1, reading.cap)
    held, _, _ = climb.claimed
    if arm < 0 or (held is not None and arm <= held):
        return batch
    safe = certify(reading, reading.held(arm, None))
    return batch if isinstance(guardrail.admit(safe, climb), guardrail.Refused) else safe


def _cheaper_first(reading: Reading, plan: Plan) -> Expose:
    """The cheaper open side that the guardrails admit: should the rest fail, one is certified."""
    sides = sorted((side for side in plan if side.missing > 0), key=lambda side: side.cost)
    cheapest: Expose | None = None
    for side in sides:  # a batch costs time to make, and the first is nearly always admitted
        batch = certify(reading, side)
        if not isinstance(guardrail.admit(batch, reading.climb), guardrail.Refused):
            return batch
        cheapest = cheapest or batch
    assert cheapest is not None, "a plan that is tight has an open side"
    return cheapest
