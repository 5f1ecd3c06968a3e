"""What `plan` foresees is what the engine then spends; `benchmarks/forecast.py` looks at more."""

from __future__ import annotations

import pytest

from benchmarks.forecast import HIGH, LOW, WIDTHS, forecast, scenario, service
from chaosbandit.plan.campaigns import latency_of, toll_of


@pytest.mark.parametrize("rate_per_s", [5.0, 50.0])
def test_means_of_cliffs_agree_with_those_of_the_engine(rate_per_s: float) -> None:
    found = forecast("cliff", rate_per_s, range(8))
    assert LOW <= found.requests <= HIGH
    assert LOW <= found.bad_requests <= HIGH
    assert LOW <= found.duration_s <= HIGH
    assert found.good


def test_services_break_at_the_objective_and_the_scenario_has_all_its_timing() -> None:
    made = scenario(50.0)
    for family in WIDTHS:
        (curve,) = service(family, made, 3).responses["slow"].curves
        assert curve(curve.crossing * 0.999) <= 0.05 <= curve(curve.crossing * 1.001)
    toll = toll_of(made, latency_of(made, hangs=False))
    assert toll.warmup_samples > 0 and toll.washout_samples > 0 and toll.steady_samples > 0
    assert made.search.hold_s == 15.0
