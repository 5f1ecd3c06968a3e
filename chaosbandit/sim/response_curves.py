"""Response curves that simulated campaigns are often about: bad ratio by severity."""

from __future__ import annotations

import math
from collections.abc import Callable

Curve = Callable[[float], float]
CLEAN = 0.1  # of tau: the bad ratio where nothing is wrong


def cliff(at: float, up_to: float = 0.95, tau: float = 0.05) -> Curve:
    """Clean below a severity, `up_to` from there on."""
    return lambda severity: up_to if severity >= at else CLEAN * tau


def smooth(at: float, width: float, tau: float = 0.05) -> Curve:
    """A logistic in the logarithm of the severity that crosses tau at a severity."""

    def curve(severity: float) -> float:
        floor = CLEAN * tau
        shift = math.log((tau - floor) / (1.0 - tau))
        steep = min(math.log(severity / at) / width + shift, 700.0)
        return floor + (1.0 - floor) / (1.0 + math.exp(-steep))

    return curve


def flat(ratio: float) -> Curve:
    """The same at every severity."""
    return lambda _: ratio
