"""Tests of one bad ratio that stay valid however often one looks: numbers in, numbers out.

`log_e_above` and `log_e_below` say how much speaks for a ratio above or under a bound, `interval`
brackets it, `entropy_rate` prices a sample, `in_a_row` says how few can do. Nothing here knows of
arms, requests or policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

_SLACK = 1e-9
# Odds of the alternatives in the one-ratio tests, as multiples of the odds of tau.
_ODDS_STEPS = tuple(math.exp(0.1 * 1.2**i) for i in range(24))  # 1.1 to 750


def entropy_rate(p: float, tau: float) -> float:
    """Evidence a sample is worth on average: relative entropy of Bernoulli ratios p and tau."""
    bad = p * math.log(p / tau) if p > 0.0 else 0.0
    good = (1.0 - p) * math.log((1.0 - p) / (1.0 - tau)) if p < 1.0 else 0.0
    return max(bad + good, _SLACK)


@lru_cache(maxsize=1 << 14)  # an exposure that ended is asked about at every decision
def in_a_row(share: float, log_threshold: float) -> int:
    """Requests in a row, all alike, that show their share to be above `share`, at the very least.

    Each multiplies the evidence by 1 / share at most, and a claim wants exp(log_threshold), 1 /
    delta (Ville 1939): 299 good ones at 99 % and 95 % confidence.
    """
    return math.ceil(log_threshold / -math.log(share) - 1e-9)


def log_e_above(n: int, bad: int, tau: float) -> float:
    """Evidence that a bad ratio exceeds tau; believed at log(1/alpha) or more, it errs with alpha.

    A mixture over fixed alternatives (Robbins 1970; Waudby-Smith & Ramdas 2024): each is a
    likelihood ratio with q > tau, hence a nonnegative supermartingale for every ratio <= tau.
    """
    return _log_mixture(n, bad, tau, _ODDS_STEPS)


@lru_cache(maxsize=1 << 14)
def log_e_below(n: int, bad: int, tau: float) -> float:
    """Evidence that a bad ratio is under tau; read as `log_e_above`."""
    return _log_mixture(n, bad, tau, tuple(1.0 / step for step in _ODDS_STEPS))


def interval(n: int, bad: int, alpha: float) -> tuple[float, float]:
    """Bounds for a ratio, valid at all n at once with error alpha.

    Inverts the Beta(1/2, 1/2) mixture martingale (Robbins 1970; Howard et al. 2021, Prop. 7).
    """
    if n == 0:
        return 0.0, 1.0
    marginal = _log_beta(bad + 0.5, n - bad + 0.5) - _log_beta(0.5, 0.5)

    def rejected(p: float) -> bool:
        return marginal - _log_likelihood(n, bad, p) >= -math.log(alpha)

    share = bad / n
    low = 0.0 if bad == 0 else _edge(rejected, outside=0.0, inside=share)
    high = 1.0 if bad == n else _edge(rejected, outside=1.0, inside=share)
    return low, high


def _edge(rejected: Callable[[float], bool], outside: float, inside: float) -> float:
    """Bisect for the border between rejected and kept; the answer errs to the wide side."""
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if rejected(middle) else (outside, middle)
    return outside


def _log_likelihood(n: int, bad: int, p: float) -> float:
    good = n - bad
    return (bad * math.log(p) if bad else 0.0) + (good * math.log1p(-p) if good else 0.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_mixture(n: int, bad: int, tau: float, odds_steps: Sequence[float]) -> float:
    odds = tau / (1.0 - tau)
    at_tau = _log_likelihood(n, bad, tau)
    ratios = [_log_likelihood(n, bad, odds * r / (1.0 + odds * r)) - at_tau for r in odds_steps]
    top = max(ratios)
    return top + math.log(sum(math.exp(ratio - top) for ratio in ratios) / len(ratios))
