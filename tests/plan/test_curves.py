"""Plausible responses: monotone, through tau at the crossing, and as varied as they claim."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.random import default_rng

from chaosbandit.plan.curves import BEYOND, SPREAD, Response, control_ratio, response

LOW, HIGH, TAU = 0.01, 1.0, 0.01


def drawn(seed: int, taus: tuple[float, ...] = (TAU,)) -> Response:
    rng = default_rng(seed)
    control = [control_ratio(tau, rng) for tau in taus]
    return response(LOW, HIGH, taus, control, rng)


@pytest.mark.parametrize("tau", [0.001, 0.01, 0.05, 0.3])
def test_a_curve_never_falls_and_misses_the_slo_from_its_crossing_on(tau: float) -> None:
    for seed in range(150):
        curve = drawn(seed, (tau,)).curves[0]
        severities = curve.crossing * np.exp(np.linspace(-6.0, 6.0, 121))
        ratios = [curve(severity) for severity in severities]
        assert all(low <= high + 1e-12 for low, high in pairwise(ratios))
        assert 0.0 < ratios[0] < tau and ratios[-1] <= 1.0
        assert curve(curve.crossing * 0.999) <= tau * (1 + 1e-9)
        assert curve(curve.crossing * 1.001) > tau


def test_crossings_are_spread_over_the_ladder_and_half_a_decade_beyond() -> None:
    logs = [math.log(drawn(seed).crossing) for seed in range(600)]
    low, high = math.log(LOW / BEYOND), math.log(HIGH * BEYOND)
    assert low <= min(logs) < low + 0.1 and high - 0.1 < max(logs) <= high
    inside = np.mean([math.log(LOW) <= log <= math.log(HIGH) for log in logs])
    assert inside == pytest.approx(2.0 / 3.0, abs=0.08)  # two decades of three
    thirds = np.histogram(logs, bins=3, range=(low, high))[0] / len(logs)
    assert thirds == pytest.approx([1 / 3] * 3, abs=0.08)


def test_some_are_abrupt_and_some_gradual() -> None:
    """Half a decade below and above the crossing: far from tau, or still near it."""
    ends = [(drawn(seed).curves[0], drawn(seed).crossing) for seed in range(300)]
    jumps = [curve(at * 1.05) / curve(at * 0.95) for curve, at in ends]
    assert 0.35 < np.mean(np.array(jumps) > 3.0) < 0.8
    assert 0.1 < np.mean(np.array(jumps) < 2.0) < 0.5  # the model: a third of it is smooth


def test_a_healthy_service_is_well_within_its_slo() -> None:
    ratios = [control_ratio(TAU, default_rng(seed)) for seed in range(200)]
    assert TAU * 0.01 <= min(ratios) < TAU * 0.03 and TAU * 0.2 < max(ratios) <= TAU * 0.3


def test_several_slos_break_near_each_other_and_fail_together() -> None:
    found = [drawn(seed, (0.01, 0.05)) for seed in range(200)]
    gaps = [abs(math.log(one.curves[0].crossing / one.curves[1].crossing)) for one in found]
    assert 0.0 < np.mean(gaps) < 1.5 * SPREAD and max(gaps) < 5 * SPREAD
    first = np.mean([one.curves[0].crossing == one.crossing for one in found])
    assert 0.35 < first < 0.65
    bad = found[0].draw(found[0].crossing * 1.5, 2000, default_rng(1))
    likelier, other = sorted((bad[:, 0], bad[:, 1]), key=np.sum, reverse=True)
    assert bad.shape == (2000, 2) and not np.any(other & ~likelier)


def test_draws_have_the_curves_ratio() -> None:
    found = drawn(3)
    severity = found.crossing * 2.0
    share = found.draw(severity, 20_000, default_rng(0)).mean()
    assert share == pytest.approx(found.ratios(severity)[0], rel=0.2)
