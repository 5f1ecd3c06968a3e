"""Plausible dose responses of a service nobody has looked at yet, drawn at random.

Where a service breaks is spread evenly (in the logarithm) over the ladder and half a decade beyond
both ends. How it breaks is mostly drawn from the prior of the model that guides the search
(core.response), and sometimes from shapes which that model does not contain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from chaosbandit.core.evidence import Mask
from chaosbandit.core.response import Belief

BEYOND = math.sqrt(10.0)  # half a decade beyond both ends of the ladder
FOREIGN = 0.3  # share of curves that the model does not contain
SPREAD = 0.2  # of the logarithms of several SLOs' crossings around the first
CONTROL = (0.01, 0.3)  # bad ratio without a fault, as a share of what the SLO allows


@dataclass(frozen=True, slots=True)
class Rise:
    """One step up by `height`, at a factor of the crossing; width 0 is a cliff, else a logistic."""

    height: float
    at: float = 0.0  # log of the factor
    width: float = 0.0

    def __call__(self, u: float) -> float:
        """What it adds at log(severity / crossing)."""
        if self.width == 0.0:
            return self.height if u >= self.at else 0.0
        steep = min(max((u - self.at) / self.width, -60.0), 60.0)
        return self.height / (1.0 + math.exp(-steep))


@dataclass(frozen=True, slots=True)
class Curve:
    """The bad ratio of one SLO by severity: a floor and rises around the crossing."""

    crossing: float  # severity from which the SLO is missed
    floor: float
    rises: tuple[Rise, ...]

    def __call__(self, severity: float) -> float:
        """Bad ratio, 0..1; never falls as the severity rises."""
        u = math.log(severity / self.crossing)
        return min(self.floor + sum(rise(u) for rise in self.rises), 1.0)


@dataclass(frozen=True, slots=True)
class Response:
    """How a service answers along one ladder: a curve per SLO, failing together."""

    curves: tuple[Curve, ...]

    @property
    def crossing(self) -> float:
        """The severity from which the first SLO is missed: the breaking point."""
        return min(curve.crossing for curve in self.curves)

    def ratios(self, severity: float) -> tuple[float, ...]:
        """Bad ratio per SLO."""
        return tuple(curve(severity) for curve in self.curves)

    def draw(self, severity: float, samples: int, rng: Generator) -> Mask:
        """Bad flags [sample, SLO]; one draw a request, so the SLOs' failures coincide."""
        bad: NDArray[np.bool_] = rng.random(samples)[:, None] < np.array(self.ratios(severity))
        return bad


def control_ratio(tau: float, rng: Generator) -> float:
    """The bad ratio of a healthy service: well within the SLO, log-uniform."""
    return tau * _log_uniform(*CONTROL, rng)


def response(
    low: float,
    high: float,
    taus: Sequence[float],
    control: Sequence[float],
    rng: Generator,
) -> Response:
    """A service that breaks somewhere around `low` to `high`, each SLO near the first one."""
    first = _log_uniform(low / BEYOND, high * BEYOND, rng)
    later = [0.0, *np.abs(rng.normal(0.0, SPREAD, len(taus) - 1)).tolist()]
    rng.shuffle(later)  # any of them may be the first
    foreign = rng.random() < FOREIGN
    kind = int(rng.integers(len(_FOREIGN)))
    curves = []
    for tau, ratio, offset in zip(taus, control, later, strict=True):
        crossing = first * math.exp(offset)
        made = _FOREIGN[kind](tau, ratio, rng) if foreign else _from_prior(tau, ratio, rng)
        curves.append(Curve(crossing, *made))
    return Response(tuple(curves))


def _log_uniform(low: float, high: float, rng: Generator) -> float:
    return low * math.exp(float(rng.random()) * math.log(high / low))


Made = tuple[float, tuple[Rise, ...]]


def _from_prior(tau: float, control: float, rng: Generator) -> Made:
    """A shape of the model, as likely as it believes before it has seen anything."""
    shapes = Belief.start((1.0, 2.0), tau, control).shapes
    weights = np.exp(shapes.log_prior)
    row = int(rng.choice(len(weights), p=weights / weights.sum()))
    floor, ceiling, width, second, top = (
        float(column[row])
        for column in (shapes.floor, shapes.ceiling, shapes.width, shapes.second, shapes.top)
    )
    first = _through(tau, floor, ceiling, width)
    return floor, (first,) if math.isinf(second) else (first, Rise(top - ceiling, second))


def _through(tau: float, floor: float, ceiling: float, width: float) -> Rise:
    """The rise from floor to ceiling that reaches tau at the crossing."""
    if width == 0.0:
        return Rise(ceiling - floor)
    at = -width * math.log((tau - floor) / (ceiling - tau))
    return Rise(ceiling - floor, at, width)


def _two_steps(tau: float, control: float, rng: Generator) -> Made:
    """Breaks a little, and for good at a harsher severity: one of two pools runs dry first."""
    ceiling = _ceiling(tau)
    first = min(tau * _log_uniform(2.0, 6.0, rng), ceiling)
    second = _log_uniform(1.3, 5.0, rng)
    return control, (Rise(first - control), Rise(ceiling - first, math.log(second)))


def _plateau_then_cliff(tau: float, control: float, rng: Generator) -> Made:
    """Worse, yet within the SLO, long before it breaks: a fallback takes part of the load."""
    plateau = tau * float(rng.uniform(0.3, 0.8))
    before = -math.log(_log_uniform(1.5, 10.0, rng))
    return control, (Rise(plateau - control, before), Rise(_ceiling(tau) - plateau))


def _retry_storm(tau: float, control: float, rng: Generator) -> Made:
    """Slowly worse up to the crossing, then retries feed on themselves and all fails."""
    width = _log_uniform(0.05, 0.3, rng)
    slow = _through(tau, control, max(0.2, (1.0 + tau) / 2), width)
    knee = math.log(_log_uniform(1.02, 1.2, rng))
    return control, (slow, Rise(1.0, knee))


def _ceiling(tau: float) -> float:
    """The bad ratio of a service that is down, whatever the SLO allows."""
    return max(0.95, (1.0 + tau) / 2)


_FOREIGN = (_two_steps, _plateau_then_cliff, _retry_storm)
