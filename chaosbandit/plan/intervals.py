"""How well few simulated campaigns know a mean, a quantile or a share: 95 % intervals.

Those of quantiles and shares are exact whatever is counted; those of means are bootstrapped
(Efron 1979, percentiles) and a little short where few campaigns cost most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

CONFIDENCE = 0.95
_TAIL = (1.0 - CONFIDENCE) / 2
_RESAMPLES = 1000

Between = tuple[float, float | None]
"""From and to; None where so few campaigns give no upper bound."""


def of_mean(values: Sequence[float]) -> Between:
    """Of the mean; one value says nothing of it."""
    if len(values) < 2:
        return 0.0, None
    rng, given = np.random.default_rng(0), np.asarray(values, dtype=float)
    rows = rng.integers(len(given), size=(_RESAMPLES, len(given)))
    low, high = np.quantile(given[rows].mean(axis=1), [_TAIL, 1.0 - _TAIL]).tolist()
    return low, high


def of_quantile(values: Sequence[float], q: float) -> Between:
    """Of the value that a share q does not exceed: two of the values, by their ranks."""
    ordered, n = sorted(values), len(values)
    below = special.bdtr(np.arange(n), n, q)  # P(at most k values do not exceed it)
    low, high = int(np.sum(below <= _TAIL)), int(np.sum(below < 1.0 - _TAIL))
    return (
        float(ordered[low - 1]) if low else 0.0,
        float(ordered[high]) if high < n else None,
    )


def of_share(part: int, whole: int) -> tuple[float, float]:
    """Of a share (Clopper & Pearson 1934)."""
    low = float(special.betaincinv(part, whole - part + 1, _TAIL)) if part else 0.0
    high = float(special.betaincinv(part + 1, whole - part, 1.0 - _TAIL)) if part < whole else 1.0
    return low, high


def narrow(values: Sequence[float], within: float) -> bool:
    """Whether the mean is known to a share of itself; roughly, as it is asked often."""
    given = np.asarray(values, dtype=float)
    half = 1.96 * float(given.std()) / math.sqrt(len(given))
    return half <= within * float(given.mean())
