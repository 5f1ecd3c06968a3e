"""Trials: the same decisions as the engine's, limits kept, wrong arguments refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from chaosbandit.core.climb import Climb
from chaosbandit.core.evidence import RESERVE
from chaosbandit.core.guardrail import HOPELESS
from chaosbandit.core.model import Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Guardrails, Scenario, Search, Timing
from chaosbandit.sim import World, simulate, simulate_campaign
from chaosbandit.sim.simulated_campaign import Toll, drawn, scenario_of, trial
from tests.simulated import ladder, scenario

RANGE: dict[str, Any] = {
    "low": 1.0,
    "high": 10_000.0,
    "objective": 0.99,
    "baseline_bad_ratio": 0.001,
}


def cliff(at: float, up_to: float = 0.95) -> Callable[[float], float]:
    return lambda severity: up_to if severity >= at else 0.001


def ideal(max_exposure_s: float = 1000.0) -> Scenario:
    """A scenario in which an engine has nothing to wait for."""
    timing = Timing(warmup_s=0.0, warmup_samples=0, steady_samples=20)
    limits = Guardrails(max_exposure_s=max_exposure_s, abort_if_bad_in_a_row=1000)
    return scenario(over=ladder(0.001, 1.0), timing=timing, guardrails=limits, check=False)


@pytest.mark.parametrize("breaking_point", [0.0035, 0.05, 0.31, 0.9, 2.0])
def test_it_decides_as_the_engine_does(breaking_point: float) -> None:
    """Certain outcomes, answered before the next request: the journals' decisions are the same."""
    asked = ideal()

    def response(severity: float) -> float:
        return 1.0 if severity >= breaking_point else 0.0

    world = World(
        response, default_rng(0), good_latency_s=0.001, bad_latency_s=0.001, felt=lambda _: 0.0
    )
    engine = simulate_campaign(asked, world, seed=3)
    found = trial(
        asked,
        drawn(response),
        policy=policy("certify"),
        seed=3,
        control_bad_ratios=(0.0,),
        toll=Toll(setup_s=10 / 50.0),  # the wash-out that the engine reckons with
    )
    assert list(found.campaign.decisions.values()) == list(engine.decisions.values())
    assert found.samples == engine.spent_samples
    assert found.exposures == len(engine.exposures)
    assert engine.stopped is not None and engine.stopped.reason == found.reason


@pytest.mark.parametrize("breaking_point", [3.0, 111.0, 4321.0])
def test_it_brackets_a_cliff(breaking_point: float) -> None:
    found = simulate(cliff(breaking_point), seed=5, **RANGE)
    assert found.held is not None and found.broke is not None
    assert found.held < breaking_point <= found.broke <= 1.1 * found.held * (1 + 1e-9)
    assert found.answered and found.reason.startswith("held at ")
    assert 300 < found.samples < 3000
    assert 1 <= found.bad_samples < 40
    assert found.duration_s == pytest.approx(found.samples / 50.0)


def test_it_repeats_itself_by_seed() -> None:
    one, same, other = (simulate(cliff(70.0, 0.2), seed=seed, **RANGE) for seed in (1, 1, 2))
    assert (one.samples, one.bad_samples, one.reason) == (
        same.samples,
        same.bad_samples,
        same.reason,
    )
    assert one.samples != other.samples


def test_no_severity_is_better_than_the_baseline() -> None:
    asked = {**RANGE, "baseline_bad_ratio": 0.2}
    found = simulate(lambda severity: 0.0, seed=1, **asked)
    assert found.broke == 1.0 and found.held is None


def test_the_ends_are_answers() -> None:
    above = simulate(cliff(math.inf), **RANGE)
    below = simulate(cliff(0.0), **RANGE)
    assert (above.held, above.broke, above.answered) == (10_000.0, None, True)
    assert (below.held, below.broke, below.answered) == (None, 1.0, True)


def test_samples_and_bad_samples_are_limits() -> None:
    short = simulate(cliff(70.0), max_samples=60, **RANGE)
    assert short.samples == 60 and not short.answered and "max_samples" in short.reason
    flat = simulate(lambda severity: 0.01, max_samples=3000, **RANGE)
    assert flat.samples == 3000
    for budget in (1, 5, 12):
        poor = simulate(lambda severity: 0.3, budget_bad=budget, low=1.0, high=10.0, objective=0.9)
        assert poor.bad_samples <= budget


def test_moving_costs_time_and_is_avoided() -> None:
    free = [simulate(cliff(70.0, 0.2), seed=seed, **RANGE) for seed in range(8)]
    dear = [simulate(cliff(70.0, 0.2), seed=seed, setup_s=20.0, **RANGE) for seed in range(8)]
    assert sum(run.exposures for run in dear) < 0.8 * sum(run.exposures for run in free)
    for run in dear:
        assert run.duration_s == pytest.approx(run.samples / 50.0 + 20.0 * run.exposures)


def test_warm_up_is_charged_and_no_evidence() -> None:
    asked = scenario_of(1.0, 10.0, 0.99)
    toll = Toll(warmup_samples=10)
    found = trial(
        asked,
        drawn(lambda severity: 1.0),
        policy=policy("certify"),
        seed=0,
        control_bad_ratios=(0.0,),
        toll=toll,
    )
    assert found.exposures == 2 and found.answered  # what broke is looked at once more
    assert found.bad_samples == 2 * HOPELESS + found.samples
    assert found.campaign.spent_bad(0) == found.bad_samples


def test_a_long_exposure_is_injected_anew() -> None:
    asked = scenario_of(1.0, 1.05, 0.99)
    runs = [
        trial(
            asked,
            drawn(lambda severity: 0.0),
            policy=policy("certify"),
            seed=0,
            control_bad_ratios=(0.001,),
            toll=Toll(longest_s=longest_s),
        )
        for longest_s in (math.inf, 2.0)
    ]
    assert runs[0].exposures < runs[1].exposures
    assert runs[0].samples == pytest.approx(runs[1].samples, rel=0.02)  # batches are cut short
    assert runs[1].duration_s == pytest.approx(runs[1].samples / 50.0)


class Stubborn:
    """Bets on one arm for ever, in one long batch."""

    name = "stubborn"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        if climb.certificate.held_arm is not None:
            return Stop("held")
        return Expose(climb.ladder.variant(0), 100_000, Purpose.HELD, (0.001,))


def test_any_policy_can_be_tried_and_a_batch_ends_when_a_claim_is_made() -> None:
    found = simulate(lambda severity: 0.0, policy=Stubborn(), **RANGE)
    assert found.reason == "held"
    enough = math.log((20.0 - RESERVE) / (1 - RESERVE))  # of what is staked
    assert found.samples == math.ceil(enough / math.log((1 - 0.001) / (1 - 0.01)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 0.0}, r"low, high: found 0 and 10000, wanted 0 < low < high"),
        ({"high": 0.5}, r"wanted 0 < low < high"),
        ({"objective": 99.0}, r"objective: found 99, wanted a share between 0 and 1, such as"),
        ({"confidence": 1.0}, r"confidence: found 1"),
        ({"resolution": 0.0}, r"resolution: found 0"),
        ({"baseline_bad_ratio": -0.1}, r"baseline_bad_ratio: found -0.1"),
        ({"max_samples": 0}, r"max_samples: found 0"),
        ({"budget_bad": -1}, r"budget_bad: found -1"),
        ({"setup_s": -2.0}, r"setup_s: found -2"),
    ],
)
def test_what_is_out_of_range_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(cliff(70.0), **{**RANGE, **changes})


def test_a_response_that_is_no_ratio_is_refused() -> None:
    with pytest.raises(ValueError, match=r"response\(1\): found 1.5, wanted a bad ratio"):
        simulate(lambda severity: 1.5, **RANGE)


def test_several_slos_are_drawn_as_they_come() -> None:
    base = scenario_of(1.0, 100.0, 0.99)
    slos = (base.slos[0], replace(base.slos[0], name="second"))
    asked = replace(base, slos=slos, search=Search())

    def draw(variant: Any, samples: int, rng: Generator) -> Any:
        ratios = (0.001, 0.9 if variant.severity >= 30.0 else 0.001)
        return rng.random((samples, 2)) < np.asarray(ratios)

    found = trial(asked, draw, policy=policy("certify"), seed=1, control_bad_ratios=(0.001, 0.001))
    assert found.held is not None and found.broke is not None
    assert found.held < 30.0 <= found.broke
