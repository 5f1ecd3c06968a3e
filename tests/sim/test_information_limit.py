"""The yardstick: the formula, the best pair, infinite where nothing can be certified."""

import math

import pytest

from chaosbandit.core.ratio_tests import entropy_rate
from chaosbandit.sim import limit


def test_a_cliff_costs_its_two_sides() -> None:
    found = limit(
        lambda severity: 0.95 if severity >= 70.0 else 0.001,
        low=1.0,
        high=10_000.0,
        objective=0.99,
    )
    wanted = 0.05 * math.log(0.05 / 0.95) + 0.95 * math.log(0.95 / 0.05)
    assert found == pytest.approx(
        wanted / entropy_rate(0.001, 0.01) + wanted / entropy_rate(0.95, 0.01)
    )
    assert found == pytest.approx(394, abs=1)


def test_the_cheapest_pair_counts_and_a_coarser_bracket_is_cheaper() -> None:
    def slope(severity: float) -> float:
        return min(1.0, 0.0001 * severity)

    fine, coarse = (
        limit(slope, low=1.0, high=10_000.0, objective=0.99, resolution=resolution)
        for resolution in (0.05, 0.5)
    )
    assert 20 * coarse < fine


def test_surer_is_dearer_and_a_baseline_too() -> None:
    asked: dict[str, float] = {"low": 1.0, "high": 100.0, "objective": 0.99}

    def response(severity: float) -> float:
        return float(severity >= 7.0)

    usual = limit(response, **asked)
    assert limit(response, confidence=0.99, **asked) > usual
    assert limit(response, baseline_bad_ratio=0.005, **asked) > usual


@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.0])
def test_without_a_crossing_there_is_no_limit(ratio: float) -> None:
    assert limit(lambda severity: ratio, low=1.0, high=9.0, objective=0.99) == math.inf
