"""Response curves to search on: how the bad ratio of a target climbs with severity.

Each family is one shape, placed anywhere on the ladder by its breaking point. Nothing here knows
of policies, campaigns or chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

Response = Callable[[float], tuple[float, ...]]  # severity -> bad ratio per SLO
Shape = Callable[[float, float], float]  # (severity / breaking point, tau) -> bad ratio

CONTROL_SHARE = 0.1  # of tau: the bad ratio at no severity
_CEILING = 0.95
_NORMAL = NormalDist()


def steps(*levels: tuple[float, float]) -> Shape:
    """p by severity / breaking point: the last level (from this ratio on, bad ratio / tau)."""

    def ratio(relative: float, tau: float) -> float:
        reached = [level for start, level in levels if relative >= start]
        return min(reached[-1] * tau, _CEILING) if reached else CONTROL_SHARE * tau

    return ratio


def _smooth(rise: Callable[[float, float], float]) -> Shape:
    """p = floor + (ceiling - floor) rise(log relative severity, rise at the breaking point)."""

    def ratio(relative: float, tau: float) -> float:
        floor = CONTROL_SHARE * tau
        at_crossing = (tau - floor) / (_CEILING - floor)
        return floor + (_CEILING - floor) * rise(math.log(relative), at_crossing)

    return ratio


def _logistic(width: float) -> Shape:
    def rise(u: float, at_crossing: float) -> float:
        slope = u / width + math.log(at_crossing / (1 - at_crossing))
        return 1 / (1 + math.exp(-max(min(slope, 60.0), -60.0)))

    return _smooth(rise)


def _retry_storm(relative: float, tau: float) -> float:
    """Each failure is retried with a chance r: p = first / (1 - r), as load grows by 1 / (1 - r).

    First attempts fail at 3 tau from the breaking point on; r climbs from 0 to where p is 0.6
    within 20 % of severity, and stays.
    """
    if relative < 1.0:
        return CONTROL_SHARE * tau
    first, saturated = 3.0 * tau, 0.6
    retried = (1.0 - first / saturated) * min((relative - 1.0) / 0.2, 1.0)
    return first / (1.0 - retried)


# Of these only the cliffs and the logistics are among the model's hypotheses.
FAMILIES: dict[str, Shape] = {
    "cliff": lambda relative, tau: _CEILING if relative >= 1 else CONTROL_SHARE * tau,
    "soft": lambda relative, tau: 0.2 if relative >= 1 else CONTROL_SHARE * tau,
    "width-0.1": _logistic(0.1),
    "width-0.3": _logistic(0.3),
    "probit": _smooth(lambda u, at: _NORMAL.cdf(u / 0.2 + _NORMAL.inv_cdf(at))),
    "weibull": _smooth(lambda u, at: -math.expm1(math.log1p(-at) * math.exp(min(5 * u, 60.0)))),
    "plateau": steps((1 / 3, 0.5), (1.0, math.inf)),
    "two-steps": steps((1.0, 3.0), (2.0, math.inf)),
    "retry-storm": _retry_storm,
}

# Where nothing is to be bracketed: no severity, or every one, breaks the SLO.
EDGES: dict[str, Shape] = {
    "never breaks": steps((1.0, 0.5)),
    "breaks at the lowest": steps((0.0, 20.0)),
    "exactly at tau": steps((0.0, 1.0)),
    "A/A": steps(),
}

# Rows of tables on limits and gates.
OTHERS: dict[str, Shape] = {
    "p = severity": lambda relative, tau: min(relative * tau, _CEILING),
    "half of tau": steps((0.0, 0.5)),
    "three times tau": steps((1.0, 3.0)),
}


def response_of(family: str, breaking_point: float, tau: float) -> Response:
    """One SLO's response: crosses tau at the breaking point, if the family ever does."""
    ratio = (FAMILIES | EDGES | OTHERS)[family]
    return lambda severity: (ratio(severity / breaking_point, tau),)
