"""Severities even in the logarithm, and rounded to what a proxy can express."""

from __future__ import annotations

import math
from collections.abc import Iterable

STEPS_PER_RESOLUTION = 4


def spaced(mild: float, harsh: float, resolution: float) -> tuple[float, ...]:
    """From mild to harsh (0 < mild <= harsh) in equal factors of (1 + resolution)^(1/4)."""
    step = math.log1p(resolution) / STEPS_PER_RESOLUTION
    n = max(1, math.ceil(math.log(harsh / mild) / step - 1e-9))
    return tuple(min(mild * math.exp(step * j), harsh) for j in range(n + 1))


def rounded(severities: Iterable[float], quantum: float) -> tuple[float, ...]:
    """Whole multiples of a quantum of 1e-6 or more, at least one of it, and each only once."""
    units = dict.fromkeys(max(1, round(severity / quantum)) for severity in severities)
    return tuple(round(unit * quantum, 6) for unit in units)
