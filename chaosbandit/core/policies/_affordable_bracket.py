"""The narrowest bracket one can afford, when samples, bad requests or time run short.

Narrower brackets say more and cost more. Of brackets of several widths the one is worth most that
has the largest P(done) x ln(width certified so far / its own width): what it would add, in nats of
log severity, times the chance that what is left carries it. P(done) = Phi(ln(left / price) /
`_SPREAD`): prices are means of what is spread about log-normally. With plenty left it is 1 for
all widths, and the resolution wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chaosbandit.core import guardrail
from chaosbandit.core.climb import Climb
from chaosbandit.core.confirmation import stood_s
from chaosbandit.core.evidence import within
from chaosbandit.core.model import Purpose
from chaosbandit.core.policies._prices import PAIR, Plan, Reading, Side, partners

_WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0, 20.0, 32.0, 48.0)  # of the resolution's own
_SPREAD = 0.5  # of the logarithm of what a plan costs
_WASTE = 3.0  # what a search takes, as a multiple of the least that its looks could teach
_PLENTY, _HOPELESS = 0.98, 0.01  # P(done) from which nothing is tight, and under which all is lost
_TRIED = 6  # pairs of a width that are priced


@dataclass(frozen=True, slots=True)
class _Amount:
    """What a plan takes, or what is left: requests measured, bad ones, and time in requests."""

    samples: float = 0.0
    bad: float = 0.0
    time: float = 0.0

    def per(self, price: _Amount) -> float:
        """How many times this pays a price: the scarcest counts."""
        pairs = ((self.samples, price.samples), (self.bad, price.bad), (self.time, price.time))
        return min(max(left, 1e-9) / max(wanted, 1e-9) for left, wanted in pairs)


@dataclass(frozen=True, slots=True)
class _Option:
    """A bracket of some width: what it would add, and how well it can be paid."""

    plan: Plan | None  # None: search on first
    gain: float
    paid: float  # times that what is left pays its price

    @property
    def chance(self) -> float:
        """P(done)."""
        return 0.5 * math.erfc(-math.log(self.paid) / _SPREAD / math.sqrt(2))

    @property
    def worth(self) -> float:
        """Nats that it is expected to add."""
        return self.chance * self.gain


def narrowest(reading: Reading, cheapest: Plan | None) -> tuple[Plan | None, bool]:
    """What to certify (None: search on) and whether it is tight.

    `cheapest` is the plan that closes the bracket as asked, where one is likely enough.
    """
    if reading.cap < 1:
        return cheapest, False
    market = _Market(reading)
    finest = market.option(1.0) if cheapest is None else market.of(cheapest, 1.0)
    if finest.chance > _PLENTY:
        return cheapest, False
    options = [finest, *market.wider(finest)]
    best = max(options, key=lambda option: option.worth)
    if best.chance < _HOPELESS:
        ready = [option for option in options if option.plan is not None]
        best = max(ready or options, key=lambda option: option.paid)
    return best.plan, True


class _Market:
    """What brackets cost now, and what is left to pay for them."""

    def __init__(self, reading: Reading) -> None:
        self.reading, self.climb = reading, reading.climb
        self.left = _left(reading.climb)
        severities = reading.severities
        self.span = math.log(severities[reading.top] / severities[0])
        low, high, _ = reading.climb.claimed
        self.certified = self.span
        if low is not None and high is not None:
            self.certified = math.log(severities[high] / severities[low])

    def wider(self, best: _Option) -> Iterator[_Option]:
        """Brackets of the other widths that may be worth more than the best so far.

        As far as they say more than what is certified; the wider, the less, so that one with any
        chance that beats the gain of the next beats all that follow.
        """
        for width in _WIDTHS[1:]:
            gain = self._gain(width)
            if gain <= 0.0 or (best.worth >= gain and best.chance >= _HOPELESS):
                return
            option = self.option(width)
            yield option
            best = max(best, option, key=lambda each: each.worth)

    def of(self, plan: Plan, width: float) -> _Option:
        """That plan, which certifies so many times the resolution."""
        return _Option(plan, self._gain(width), self.left.per(self._price(plan)))

    def option(self, width: float) -> _Option:
        """The likely pair of that width that is paid best, or the likeliest, to be searched for."""
        reading, cap = self.reading, self.reading.cap
        high = partners(reading.severities, (1 + self.climb.search.resolution) ** width)
        high = np.minimum(high, cap)[:cap]
        mass = reading.p_broke[high] - reading.p_broke[:cap]
        likely = np.flatnonzero(mass > PAIR)
        if len(likely):
            lows = set(likely[np.linspace(0, len(likely) - 1, _TRIED).astype(int)].tolist())
            pairs = [reading.pair(low, int(high[low])) for low in sorted(lows)]
            plans = [pair for pair in pairs if any(side.missing > 0 for side in pair)]
            if plans:
                return max((self.of(plan, width) for plan in plans), key=lambda o: o.paid)
        low = int(np.argmax(mass))
        return self._to_be_found(low, int(high[low]), width)

    def _to_be_found(self, low: int, high: int, width: float) -> _Option:
        """A pair that a search must first make likely: down to the arms in it, look by look."""
        reading, look = self.reading, self.reading.best_look
        pair = self._price(reading.pair(low, high))
        unknown = max(reading.entropy - math.log(high - low), 0.0)
        samples = _WASTE * unknown / max(reading.worth_looking(look), 1e-9)
        bad = samples * reading.look(look)[1]
        price = _Amount(pair.samples + samples, pair.bad + bad, pair.time + samples)
        return _Option(None, self._gain(width), self.left.per(price))

    def _gain(self, width: float) -> float:
        asked = min(width * math.log1p(self.climb.search.resolution), self.span)
        return math.log(max(self.certified, 1e-9) / max(asked, 1e-9))

    def _price(self, plan: Plan) -> _Amount:
        open_sides = [side for side in plan if side.missing > 0]
        warmup = guardrail.warmup_samples(self.climb.scenario)
        samples = bad = time = 0.0
        for side in open_sides:
            moves = side.arm != self.climb.standing
            samples += side.samples
            bad += (side.samples + warmup * moves) * side.bad_ratio
            time += side.samples + self.reading.setup(side.arm)
        return _Amount(samples, bad, time + (self._hold(plan[0]) if self._answers(plan) else 0.0))

    def _answers(self, plan: Plan) -> bool:
        """Whether it closes the bracket: only an answer has to stand `search.hold`."""
        arms = sorted(side.arm for side in plan)
        resolution = self.climb.search.resolution
        return len(arms) == 1 or within(self.reading.severities, arms[0], arms[1], resolution)

    def _hold(self, side: Side) -> float:
        """Requests of time that the held arm must stand beyond what certifies it."""
        hold_s, rate_per_s = self.climb.search.hold_s, self.climb.scenario.traffic.rate_per_s
        if side.purpose is not Purpose.HELD or hold_s == 0.0 or self.left.time == math.inf:
            return 0.0
        stood = side.samples if side.missing > 0 else stood_s(self.climb, side.arm) * rate_per_s
        return max(hold_s * rate_per_s - stood, 0.0)


def _left(climb: Climb) -> _Amount:
    """What may still be spent; requests in flight are."""
    limit, sent = climb.search.max_samples, climb.spent_samples + climb.unresolved
    return _Amount(
        samples=math.inf if limit is None else limit - sent,
        bad=climb.budget_left - guardrail.reserve(climb.scenario),
        time=climb.left_s * climb.scenario.traffic.rate_per_s,
    )
