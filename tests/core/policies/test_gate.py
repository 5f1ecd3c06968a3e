"""`search.stop: gate`: a run is over as soon as `require` is decided either way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chaosbandit.core.certified_claims import gate
from chaosbandit.core.climb import Climb
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Cause, GateOutcome
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import GATE
from chaosbandit.sim.response_curves import cliff, flat, smooth
from chaosbandit.sim.simulated_campaign import SimulatedRun, drawn, scenario_of, trial

BOUND = 100.0


def asked(curve: Callable[[float], float], name: str, seed: int) -> SimulatedRun:
    """A run that stops when the gate at `BOUND` is decided."""
    scenario = scenario_of(1.0, 10_000.0, 0.99, policy=name)
    (plain,) = scenario.ladders
    gated = Ladder("simulated", "simulated", "number", plain.mild, plain.harsh, 0.10, BOUND)
    scenario = replace(
        scenario,
        ladders=(gated,),
        search=replace(scenario.search, stop=GATE),
        require={"simulated": BOUND},
    )
    draw = drawn(curve, 0.001)
    return trial(scenario, draw, policy=policy(name), seed=seed, control_bad_ratios=(0.001,))


@pytest.mark.parametrize("name", ["certify", "bisect_sequential"])
@pytest.mark.parametrize("seed", range(3))
def test_a_gate_that_holds_is_passed_without_a_look_above_it(name: str, seed: int) -> None:
    run = asked(flat(0.001), name, seed)
    assert run.answered and run.campaign.decisions
    assert gate(Climb(run.campaign)) is GateOutcome.PASSED
    severities = [each.severity for each in run.campaign.exposures]
    assert max(severities) == BOUND


@pytest.mark.parametrize("name", ["certify", "bisect_sequential"])
@pytest.mark.parametrize("at", [0.5, 0.95])
def test_a_gate_that_fails_is_failed(name: str, at: float) -> None:
    run = asked(cliff(at * BOUND), name, 1)
    assert run.answered
    assert gate(Climb(run.campaign)) is GateOutcome.FAILED


def test_it_costs_less_than_a_bracket_would() -> None:
    gates = [asked(cliff(0.5 * BOUND), "certify", seed) for seed in range(8)]
    assert sum(run.samples for run in gates) / len(gates) <= 120  # a bracket takes some 430
    stops = {run.campaign.decisions[max(run.campaign.decisions)] for run in gates}
    assert {getattr(stop, "cause", None) for stop in stops} == {Cause.GATE_DECIDED}


def test_a_response_that_creeps_through_the_objective_is_not_stared_at() -> None:
    """As high as one may go is then near the objective, where looks tell nothing for long."""
    runs = [asked(smooth(0.8 * BOUND, 0.1, 0.01), "certify", seed) for seed in range(12)]
    assert all(gate(Climb(run.campaign)) is GateOutcome.FAILED for run in runs)
    assert sum(run.samples for run in runs) / len(runs) <= 1000
