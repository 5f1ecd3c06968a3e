"""What the model believes about one SLO's dose response: a posterior on crossing x shape.

It guides, it never decides: a wrong belief costs samples, never validity. It knows arms and counts
of good and bad samples, not certificates, exposures or budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
_Row = tuple[float, float, float, float, float]  # floor, ceiling, width, second, top

_DEEPEST = 40.0  # log weights never fall further below the best, so no hypothesis is lost for good
_VISIT = 250  # samples at one arm that make a visit long
_WIDTHS = (0.03, 0.06, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8)  # of a logistic in log severity
_MOST_TOLD = 8.0  # nats that one visit may speak against a hypothesis
_CLIFFS, _SMOOTH, _STEPS = 0.5, 0.35, 0.15  # prior of each kind of shape
_STEP_RATIOS = (1.3, 2.0, 3.0)  # from the crossing to the second of two steps


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """The hypotheses on one grid: where crossings lie, and how p rises around each.

    p = floor + (ceiling - floor) logistic(u / width + shift), u = log(severity / crossing), with
    the shift that makes p(crossing) = tau; width 0 is a cliff. From `second` above the crossing on
    p = top (two steps). p depends on the difference of logarithms alone, but grids need not be even
    (integer milliseconds are not, at the mild end).
    """

    log_severities: Floats  # [arm]
    log_crossings: Floats  # [crossing], midway between arms and half a step beyond both ends
    tau: float
    floor: Floats  # [shape], as all below
    ceiling: Floats
    width: Floats
    second: Floats  # in log severity; inf where there is no second step
    top: Floats
    log_prior: Floats

    def p(self, arm: int) -> Floats:
        """Bad ratio at an arm, [crossing, shape]."""
        u = (self.log_severities[arm] - self.log_crossings)[:, None]
        cliff = self.width == 0.0
        shift = np.log((self.tau - self.floor) / (self.ceiling - self.tau))
        slope = u / np.where(cliff, 1.0, self.width) + shift
        rise = np.where(cliff, u > 0.0, 1.0 / (1.0 + np.exp(-np.clip(slope, -60.0, 60.0))))
        first = self.floor + (self.ceiling - self.floor) * rise
        ratios: Floats = np.where(u > self.second, self.top, first)
        return ratios


@dataclass(frozen=True, eq=False)  # no slots: cached_property needs somewhere to write
class Belief:
    """The posterior; crossing k in 0..K means that arms < k hold and arms >= k break.

    A visit is what is sampled at one arm before another is, or before `settled` closes a long one.
    It lowers no hypothesis by more than `_MOST_TOLD` below the one it speaks for most: with a small
    chance, exp(-_MOST_TOLD), a visit tells of a hiccup and not of the response. What is
    consistently so over long or several visits is still believed in the end.
    """

    shapes: Shapes
    log_weights: (
        Singles  # [crossing, shape], single precision for speed; before the samples of the visit
    )
    visited: int | None = None  # arm whose samples are not in `log_weights` yet
    good: int = 0
    bad: int = 0
    never_share: float = (
        1.0  # what a usual crossing's prior is of that of never breaking; at most 1
    )

    @classmethod
    def start(
        cls,
        severities: Sequence[float],
        tau: float,
        control_ratio: float,
        never: float = 0.10,
        mildest: float = 0.02,
    ) -> Belief:
        """The prior: most shapes cliffs or smooth, floors near the control's.

        `never` is the probability that no severity breaks, `mildest` that all do; the crossings
        between share the rest evenly.
        """
        assert never > 0.0 and mildest > 0.0 and never + mildest < 1.0
        shapes = _shapes(tuple(severities), tau, control_ratio)
        between, rest = len(severities) - 1, 1.0 - never - mildest
        if between == 0:
            never, mildest = never + rest / 2, mildest + rest / 2
        usual = rest / between if between else never
        log_crossings = np.log([mildest, *[usual] * between, never])
        log_prior = log_crossings[:, None] + shapes.log_prior
        weights = np.asarray(log_prior - log_prior.max(), dtype=np.float32)
        return cls(shapes, weights, never_share=min(usual / never, 1.0))

    def observe(self, arm: int, good: int, bad: int) -> Belief:
        """The belief after these samples at one arm.

        Samples in a row at one arm are only counted; the weights follow when somebody reads them.
        """
        if good == 0 and bad == 0:
            return self
        if self.visited in (None, arm):
            good, bad = self.good + good, self.bad + bad
            return Belief(self.shapes, self.log_weights, arm, good, bad, self.never_share)
        return Belief(self.shapes, self.log_posterior, arm, good, bad, self.never_share)

    def settled(self) -> Belief:
        """The same, with a long visit closed: from there on it forgets, and another may speak."""
        if self.good + self.bad < _VISIT:
            return self
        return Belief(self.shapes, self.log_posterior, never_share=self.never_share)

    def crossing(self) -> Floats:
        """Probability of each crossing 0..K."""
        return self._crossing

    def p_broke(self, arm: int) -> float:
        """Probability that the arm breaks: crossing <= arm."""
        return float(self.cumulative[arm])

    def p_broke_careful(self, arm: int) -> float:
        """`p_broke` as if never breaking were as likely beforehand as any usual crossing.

        Never less than `p_broke`: for deciding how far to climb, where hope must not count.
        """
        return float(self.cumulative_careful[arm])

    def quantile(self, q: float) -> int:
        """The lowest crossing k such that P(crossing <= k) is at least `q`."""
        return _quantile(self.cumulative, q)

    def p_between(self, low: int, high: int) -> float:
        """Probability that low < crossing <= high."""
        return float(self.cumulative[high] - self.cumulative[low])

    def mean_given(self, arm: int, low: int, high: int | None = None) -> float:
        """Mean bad ratio at an arm given low <= crossing < high (None: no upper bound)."""
        asked = (arm, low, high)
        if asked not in self._means:
            ratios = _table(self.shapes, arm).ratio[low:high]
            weighted = (self._weights[low:high] * ratios).sum()
            self._means[asked] = float(weighted / self._mass[low:high].sum())
        return self._means[asked]

    @cached_property
    def _means(self) -> dict[tuple[int, int, int | None], float]:
        """`mean_given` of what was asked: a decision prices the same arms many times."""
        return {}

    @cached_property
    def cumulative(self) -> Floats:
        """Probability that the crossing is at or below each of 0..K."""
        cumulative: Floats = np.cumsum(self._crossing)
        return cumulative

    @cached_property
    def cumulative_careful(self) -> Floats:
        """`cumulative` as `p_broke_careful` sees it."""
        less = self._crossing[-1] * (1.0 - self.never_share)
        careful: Floats = self.cumulative / (1.0 - less)
        careful[-1] = 1.0
        return careful

    @cached_property
    def log_posterior(self) -> Singles:
        """Bayes: log prior + what the visit tells, never `_DEEPEST` below the best."""
        if self.visited is None:
            return self.log_weights
        table = _table(self.shapes, self.visited)
        told: Singles = np.float32(self.good) * table.log_good
        if self.bad:
            told += np.float32(self.bad) * table.log_bad
        told -= told.max()
        weights = np.maximum(told, np.float32(-_MOST_TOLD), out=told)
        weights += self.log_weights
        weights -= weights.max()
        return np.maximum(weights, np.float32(-_DEEPEST), out=weights)

    @cached_property
    def _weights(self) -> Singles:
        return np.exp(self.log_posterior)

    @cached_property
    def _mass(self) -> Floats:
        """Weight of each crossing, not normalised."""
        mass: Floats = self._weights.sum(axis=1).astype(np.float64)
        return mass

    @cached_property
    def _crossing(self) -> Floats:
        crossing: Floats = self._mass / self._mass.sum()
        return crossing


@dataclass(frozen=True, slots=True)
class Estimate:
    """Where the model believes the breaking point to be, as severities; never certified.

    0.0 says below the mildest severity, `math.inf` above the harshest.
    """

    median: float
    low: float  # with 5 % probability it is lower
    high: float  # with 5 % probability it is higher


def estimate(beliefs: Sequence[Belief], severities: Sequence[float]) -> Estimate:
    """Median and 90 % band of the severity from which on an SLO breaks.

    Several SLOs are taken to break in a fixed order: P(any broke) is the largest P(broke). The
    median of a crossing between two severities is their geometric mean. The band reaches to the
    outer ones: nothing is known of where between two severities a crossing lies, and a band from
    mean to mean covered the truth in 16 to 60 % of searches that had found a cliff, not in 90 %.
    """
    cumulative = np.max([belief.cumulative for belief in beliefs], axis=0)
    low, median, high = (_quantile(cumulative, q) for q in (0.05, 0.5, 0.95))
    means = [math.sqrt(mild * harsh) for mild, harsh in pairwise(severities)]
    return Estimate(
        median=(0.0, *means, math.inf)[median],
        low=(0.0, *severities[:-1], math.inf)[low],
        high=(0.0, *severities[1:], math.inf)[high],
    )


def _quantile(cumulative: Floats, q: float) -> int:
    """Rounding may leave the last sum below 1, so no answer lies beyond the last crossing."""
    return min(int(np.searchsorted(cumulative, q)), len(cumulative) - 1)


@lru_cache(maxsize=16)
def _shapes(severities: tuple[float, ...], tau: float, control_ratio: float) -> Shapes:
    floors = (min(max(control_ratio, 0.02 * tau), 0.95 * tau), 0.35 * tau, 0.65 * tau)
    highest = max(0.95, (1.0 + tau) / 2)
    lower = sorted({1.5 * tau, 3 * tau, min(8 * tau, 0.3), 0.2, 0.5})
    cliffs = [ceiling for ceiling in lower if 1.05 * tau < ceiling < highest] + [highest]
    soft = [(ceiling, w) for w in _WIDTHS for ceiling in cliffs if ceiling in (0.2, highest)]
    rows = [
        (floor, ceiling, width, math.inf, 1.0, prior * share / count)
        for floor, share in zip(floors, (0.6, 0.2, 0.2), strict=True)
        for ceiling, width, prior, count in (
            [(ceiling, 0.0, _CLIFFS, len(cliffs)) for ceiling in cliffs]
            + [(ceiling, width, _SMOOTH, len(soft)) for ceiling, width in soft]
        )
    ]
    steps = _two_steps(floors[0], tau, highest)
    rows += [(*step, _STEPS / len(steps)) for step in steps]
    columns = np.array(rows).T
    columns[-1] = np.log(columns[-1] / columns[-1].sum())  # loose objectives have no two steps
    logs = np.log(np.asarray(severities))
    return Shapes(logs, _crossings(logs), tau, *columns)


def _two_steps(floor: float, tau: float, highest: float) -> list[_Row]:
    """A small step at the crossing and a large one further up; the rest of a row of `_shapes`."""
    return [
        (floor, first, 0.0, math.log(ratio), top)
        for first in (2.5 * tau, 5 * tau)
        for top in (0.3, highest)
        for ratio in _STEP_RATIOS
        if 1.5 * first < top
    ]


def _crossings(logs: Floats) -> Floats:
    """Midway between neighbours, and half a step beyond both ends."""
    if len(logs) == 1:
        return np.array([logs[0] - 0.05, logs[0] + 0.05])
    half = np.diff(logs) / 2
    return np.concatenate([[logs[0] - half[0]], logs[:-1] + half, [logs[-1] + half[-1]]])


@dataclass(frozen=True, slots=True)
class _Table:
    """Bad ratio at one arm and its logarithms, [crossing, shape]: what a sample there needs."""

    ratio: Singles
    log_bad: Singles
    log_good: Singles


@lru_cache(maxsize=128)  # a third of a megabyte each; a run visits some 60 arms
def _table(shapes: Shapes, arm: int) -> _Table:
    p = shapes.p(arm)
    return _Table(*(each.astype(np.float32) for each in (p, np.log(p), np.log1p(-p))))
