from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.core.scenario import BRACKET, Guardrails, Proxy, Scenario, Search, Timing
from tests.simulated import AVAILABILITY, LATENCY, errors_ladder, ladder, scenario


def test_the_ladder_of_a_run_is_the_first() -> None:
    asked = replace(scenario(), ladders=(errors_ladder(), ladder()))
    assert asked.ladder.name == "errors"


def test_a_proxy_is_found_by_its_name() -> None:
    other = Proxy("payments", "127.0.0.1:5")
    asked = replace(scenario(), proxies=(*scenario().proxies, other))
    assert asked.proxy("payments") is other
    with pytest.raises(StopIteration):
        asked.proxy("mail")


@pytest.mark.parametrize(
    ("asked", "bound_s"),
    [
        (scenario(AVAILABILITY), 0.1),  # 5 % of the time-out of 2 s
        (scenario(AVAILABILITY, LATENCY), 0.015),
        (scenario(LATENCY, replace(LATENCY, sli=replace(LATENCY.sli, latency_s=0.1))), 0.005),
    ],
)
def test_lag_is_bound_by_the_tightest_latency_slo(asked: Scenario, bound_s: float) -> None:
    assert asked.lag_bound_s == pytest.approx(bound_s)


def test_defaults_are_those_of_the_reference() -> None:
    assert Search().confidence == 0.95
    assert Search().escalation == 1.5
    assert Search().hold_s == 15.0
    assert Search().stop == BRACKET
    assert Guardrails().max_exposure_s == 30.0
    assert Guardrails().abort_if_bad_in_a_row == 20
    assert Timing().warmup_s == 0.3
    assert Timing().warmup_samples == 5
