"""Simulated campaigns cost what the engine's do, and end for the reasons they say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from benchmarks.forecast import engine_cost
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Cause, GateOutcome, Variant
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Guardrails, Scenario, Search, Timing
from chaosbandit.errors import Exit
from chaosbandit.plan.campaigns import (
    HEALTHY_S,
    Found,
    Service,
    cost_of,
    latency_of,
    plausible,
    simulated,
    toll_of,
)
from chaosbandit.plan.curves import Curve, Response, Rise
from tests.simulated import AVAILABILITY, LATENCY, SLOPPY, errors_ladder, ladder, scenario


def asked(over: Ladder | None = None, **changes: Any) -> Scenario:
    """A scenario with the timing that scenarios have by default."""
    made = scenario(SLOPPY, over=over or ladder(0.01, 1.0), timing=Timing())
    return replace(made, **changes)


def cliff(at: float, height: float = 0.5, hangs: bool = False, name: str = "slow") -> Service:
    """A service that breaks abruptly."""
    curve = Curve(at, 0.002, (Rise(height),))
    return Service({name: Response((curve,))}, (0.002,), hangs)


@pytest.mark.parametrize("kind", ["latency", "hangs", "errors"])
def test_means_agree_with_those_of_the_engine(kind: str) -> None:
    """30 services each; several trials a service, so that only the engine's own luck is left."""
    made = asked(errors_ladder(0.005, 0.4) if kind == "errors" else None)
    name, end = made.ladder.name, made.ladder.severities[-1]
    rng, engine, planned = default_rng(5), [], []
    for number in range(30):
        at = end * 10.0 ** float(rng.uniform(-1.6, 0.2))
        height = float(rng.choice([0.2, 0.5, 0.95]))
        service = cliff(at, height, kind == "hangs", name)
        engine.append(engine_cost(made, service, number))
        for luck in range(5):
            cost = cost_of(made, service, 100 * number + luck)
            planned.append((cost.requests, cost.bad_requests, cost.duration_s))
    ratios = np.mean(planned, axis=0) / np.mean(engine, axis=0)
    assert ratios == pytest.approx([1.0, 1.0, 1.0], abs=0.25)


def test_the_same_number_and_seed_is_the_same_campaign() -> None:
    made = asked()
    one, same, other = (simulated(made, 3, number) for number in (4, 4, 5))
    assert one == same
    assert one.duration_s != other.duration_s
    assert simulated(made, 4, 4).duration_s != one.duration_s


def test_limits_change_neither_the_service_nor_its_luck() -> None:
    made = asked()
    roomy = replace(made, budget=replace(made.budget, spend=0.5))
    for number in range(5):
        one, other = simulated(made, 0, number), simulated(roomy, 0, number)
        if one.answered and other.answered:
            assert one.found == other.found


@pytest.mark.parametrize(
    ("at", "found"), [(0.1, Found.BRACKET), (5.0, Found.ABOVE), (0.005, Found.BELOW)]
)
def test_where_the_breaking_point_may_be(at: float, found: Found) -> None:
    cost = cost_of(asked(), cliff(at), 1)
    assert (cost.found, cost.answered) == ((found,), True)


def test_the_cap_is_the_end_of_the_ladder() -> None:
    made = asked(guardrails=Guardrails(max_severity=0.05))
    assert cost_of(made, cliff(0.1), 1).found == (Found.ABOVE,)
    crossings = [
        plausible(made, default_rng(seed)).responses["slow"].crossing for seed in range(200)
    ]
    assert max(crossings) < 0.05 * 3.2


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"search": Search(max_samples=100)}, Cause.SAMPLES),
        ({"search": Search(max_duration_s=10.0)}, Cause.TIME),
    ],
)
def test_limits_end_a_campaign(changes: dict[str, Any], cause: Cause) -> None:
    cost = cost_of(asked(**changes), cliff(0.3, 0.2), 1)
    assert (cost.found, cost.ending.cause) == ((Found.NOTHING,), cause)
    assert cost.ending.exit_code is Exit.GUARDRAIL


def test_the_budget_ends_a_campaign_and_is_kept() -> None:
    made = asked()
    made = replace(made, budget=replace(made.budget, requests=4_000, spend=0.1))
    allowed = made.budget.allowed(made.slos[0])
    costs = [cost_of(made, cliff(0.3, 0.9), seed) for seed in range(20)]
    assert {cost.ending.cause for cost in costs} == {Cause.BUDGET}
    assert all(cost.bad[0] <= allowed for cost in costs)


def test_services_that_hang_take_longer() -> None:
    quick, hanging = (
        np.mean([cost_of(asked(), cliff(0.05, 0.9, hangs), seed).duration_s for seed in range(10)])
        for hangs in (False, True)
    )
    assert hanging > quick + 5.0


def test_failing_takes_as_long_as_the_slo_of_latency_or_the_time_out() -> None:
    made = replace(asked(), slos=(AVAILABILITY, LATENCY))
    mild, harsh = (Variant("slow", "inventory", 0, severity, ()) for severity in (0.1, 1.5))
    quick, hanging = (latency_of(made, hangs=hangs) for hangs in (False, True))
    assert (quick(mild).good_s, quick(mild).bad_s) == (0.1 + HEALTHY_S, 0.3)
    assert (quick(harsh).good_s, quick(harsh).bad_s) == (0.3, 1.5 + HEALTHY_S)
    assert hanging(mild).bad_s == hanging(harsh).bad_s == 2.0
    broken = replace(made, ladders=(errors_ladder(),))
    share = Variant("errors", "inventory", 0, 0.5, ())
    assert latency_of(broken, hangs=False)(share).bad_s == HEALTHY_S


def test_several_ladders_are_all_bracketed() -> None:
    second = Ladder("other", "inventory", "latency", 0.01, 1.0, 0.10)
    made = asked(ladders=(ladder(0.01, 1.0), second))
    service = Service(
        {
            "slow": cliff(0.05).responses["slow"],
            "other": cliff(0.5, name="other").responses["other"],
        },
        (0.002,),
        hangs=False,
    )
    cost = cost_of(made, service, 1)
    assert cost.found == (Found.BRACKET, Found.BRACKET)
    assert cost.duration_s > cost_of(asked(), cliff(0.05), 1).duration_s
    assert set(plausible(made, default_rng(0)).responses) == {"slow", "other"}


def test_more_than_the_canary_is_asked() -> None:
    cost = cost_of(asked(), cliff(0.1), 1)
    assert 1.15 * cost.canary_requests < cost.requests < 2.5 * cost.canary_requests
    assert cost.samples < cost.canary_requests


def test_gates_end_as_in_real_runs() -> None:
    made = asked(require={"slow": 0.1}, search=Search(stop="gate"))
    passed, failed = (cost_of(made, cliff(at), 1) for at in (0.5, 0.05))
    assert passed.ending.gates == {"slow": GateOutcome.PASSED}
    assert failed.ending.gates == {"slow": GateOutcome.FAILED}
    assert (passed.ending.exit_code, failed.ending.exit_code) == (Exit.ANSWERED, Exit.GATE_FAILED)
    assert passed.answered and failed.answered
    whole = cost_of(asked(require={"slow": 0.1}), cliff(0.5), 1)
    assert passed.requests < whole.requests


def test_standing_is_simulated_and_counted() -> None:
    """At 200/s what certifies takes less than the 15 s that a severity has to stand."""
    quick = asked(traffic=replace(asked().traffic, rate_per_s=200.0))
    runs = [cost_of(quick, cliff(0.1), seed) for seed in range(6)]
    brief = replace(quick, search=Search(hold_s=0.0))
    without = [cost_of(brief, cliff(0.1), seed) for seed in range(6)]
    assert all(run.answered for run in (*runs, *without))
    assert not any(run.stood.samples for run in without)
    assert all(0.0 < run.stood.duration_s < 17.0 for run in runs)
    assert np.mean([run.stood.samples for run in runs]) == pytest.approx(
        200.0 * np.mean([run.stood.duration_s for run in runs]), rel=0.25
    )
    more_s = np.mean([run.duration_s for run in runs]) - np.mean([r.duration_s for r in without])
    assert more_s == pytest.approx(np.mean([run.stood.duration_s for run in runs]), abs=3.0)


def test_policies_reckon_with_the_price_of_moving_that_they_have_in_real_runs() -> None:
    made = asked()
    assert toll_of(made, latency_of(made, hangs=False)).setup_samples == opening(made).setup_samples
