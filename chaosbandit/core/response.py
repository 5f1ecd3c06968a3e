"""What the model believes about one SLO's dose response: a posterior on crossing x shape.

It guides, it never decides: a wrong belief costs samples, never validity. It knows arms and counts
of good and bad samples, not certificates, exposures or budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DEEPEST = 40.0  # log weights never fall further below the best, so no hypothesis is lost for good
_VISIT = 250  # samples at one arm after which the weights follow, read or not
_WIDTHS = (0.03, 0.06, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8)  # of a logistic in log severity


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """The hypotheses on one grid: where crossings lie, and how p rises around each.

    p = floor + (ceiling - floor) logistic(u / width + shift), u = log(severity / crossing), with
    the shift that makes p(crossing) = tau; width 0 is a cliff. p depends on the difference of
    logarithms alone, but grids need not be even (integer milliseconds are not, at the mild end).
    """

    log_severities: Floats  # [arm]
    log_crossings: Floats  # [crossing], midway between arms and half a step beyond both ends
    tau: float
    floor: Floats  # [shape], as the three below
    ceiling: Floats
    width: Floats
    log_prior: Floats

    def p(self, arm: int) -> Floats:
        """Bad ratio at an arm, [crossing, shape]."""
        u = (self.log_severities[arm] - self.log_crossings)[:, None]
        cliff = self.width == 0.0
        shift = np.log((self.tau - self.floor) / (self.ceiling - self.tau))
        slope = u / np.where(cliff, 1.0, self.width) + shift
        rise = np.where(cliff, u > 0.0, 1.0 / (1.0 + np.exp(-np.clip(slope, -60.0, 60.0))))
        ratios: Floats = self.floor + (self.ceiling - self.floor) * rise
        return ratios


@dataclass(frozen=True, eq=False)  # no slots: cached_property needs somewhere to write
class Belief:
    """The posterior; crossing k in 0..K means that arms < k hold and arms >= k break."""

    shapes: Shapes
    log_weights: Floats  # [crossing, shape], before the samples of the visit
    visited: int | None = None  # arm whose samples are not in `log_weights` yet
    good: int = 0
    bad: int = 0

    @classmethod
    def start(cls, severities: Sequence[float], tau: float, control_ratio: float) -> Belief:
        """The prior: crossings uniform, half cliffs and half smooth, floors near the control's."""
        shapes = _shapes(tuple(severities), tau, control_ratio)
        return cls(shapes, np.tile(shapes.log_prior, (len(severities) + 1, 1)))

    def observe(self, arm: int, good: int, bad: int) -> Belief:
        """The belief after these samples at one arm.

        Samples in a row at one arm are only counted; the weights follow when somebody reads them.
        """
        if good == 0 and bad == 0:
            return self
        if self.visited in (None, arm) and self.good + self.bad < _VISIT:
            return Belief(self.shapes, self.log_weights, arm, self.good + good, self.bad + bad)
        return Belief(self.shapes, self.log_posterior, arm, good, bad)

    def crossing(self) -> Floats:
        """Probability of each crossing 0..K."""
        return self._crossing

    def p_broke(self, arm: int) -> float:
        """Probability that the arm breaks: crossing <= arm."""
        return float(self._cumulative[arm])

    def p_between(self, low: int, high: int) -> float:
        """Probability that low < crossing <= high."""
        return float(self._cumulative[high] - self._cumulative[low])

    def mean_given(self, arm: int, low: int, high: int | None = None) -> float:
        """Mean bad ratio at an arm given low <= crossing < high (None: no upper bound)."""
        weights, ratios = self._weights[low:high], _at_arm(self.shapes, arm)[0][low:high]
        return float((weights * ratios).sum() / weights.sum())

    @cached_property
    def log_posterior(self) -> Floats:
        """Bayes: log prior + counts x log likelihoods, never `_DEEPEST` below the best."""
        if self.visited is None:
            return self.log_weights
        _, log_bad, log_good = _at_arm(self.shapes, self.visited)
        weights = self.log_weights + self.good * log_good + self.bad * log_bad
        clipped: Floats = np.maximum(weights - weights.max(), -_DEEPEST)
        return clipped

    @cached_property
    def _weights(self) -> Floats:
        weights = np.exp(self.log_posterior.astype(np.float32)).astype(
            np.float64
        )  # a fifth of the time
        normalised: Floats = weights / weights.sum()
        return normalised

    @cached_property
    def _crossing(self) -> Floats:
        crossing: Floats = self._weights.sum(axis=1)
        return crossing

    @cached_property
    def _cumulative(self) -> Floats:
        return np.cumsum(self._crossing)


@lru_cache(maxsize=16)
def _shapes(severities: tuple[float, ...], tau: float, control_ratio: float) -> Shapes:
    floors = (min(max(control_ratio, 0.02 * tau), 0.95 * tau), 0.35 * tau, 0.65 * tau)
    highest = max(0.95, (1.0 + tau) / 2)
    lower = sorted({1.5 * tau, 3 * tau, min(8 * tau, 0.3), 0.2, 0.5})
    cliffs = [ceiling for ceiling in lower if 1.05 * tau < ceiling < highest] + [highest]
    soft = [(ceiling, w) for w in _WIDTHS for ceiling in cliffs if ceiling in (0.2, highest)]
    rows = [
        (floor, ceiling, width, math.log(0.5 * share / count))
        for floor, share in zip(floors, (0.6, 0.2, 0.2), strict=True)
        for ceiling, width, count in (
            [(ceiling, 0.0, len(cliffs)) for ceiling in cliffs]
            + [(ceiling, width, len(soft)) for ceiling, width in soft]
        )
    ]
    columns = np.array(rows).T
    logs = np.log(np.asarray(severities))
    return Shapes(logs, _crossings(logs), tau, *columns)


def _crossings(logs: Floats) -> Floats:
    """Midway between neighbours, and half a step beyond both ends."""
    if len(logs) == 1:
        return np.array([logs[0] - 0.05, logs[0] + 0.05])
    half = np.diff(logs) / 2
    return np.concatenate([[logs[0] - half[0]], logs[:-1] + half, [logs[-1] + half[-1]]])


@lru_cache(maxsize=64)
def _at_arm(shapes: Shapes, arm: int) -> tuple[Floats, Floats, Floats]:
    """p, log p and log(1 - p) at one arm, [crossing, shape]: all that samples there need."""
    p = shapes.p(arm)
    return p, np.log(p), np.log1p(-p)
