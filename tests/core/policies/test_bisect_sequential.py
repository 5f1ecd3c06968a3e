"""The fair rival: doubles, bisects, stops its tests early, claims by the same certificates."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Expose, Purpose, Stop
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Guardrails, Scenario
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.sim.response_curves import cliff, flat, smooth
from chaosbandit.sim.simulated_campaign import SimulatedRun, scenario_of
from tests.policy_steps import begun, changed, fold, tried

TAU = 0.01
NAME = "bisect_sequential"


def asked(high: float = 1000.0, tau: float = TAU, **more: Any) -> Scenario:
    return scenario_of(1.0, high, 1.0 - tau, policy=NAME, **more)


def visited(run: SimulatedRun) -> list[float]:
    """The severities exposed, in order."""
    return [exposure.severity for exposure in run.campaign.exposures]


def test_it_doubles_until_it_breaks_then_bisects() -> None:
    scenario = asked()
    scenario = replace(scenario, search=replace(scenario.search, escalation=2.0))
    run = tried(scenario, cliff(30.0, tau=TAU))
    *severities, again = visited(run)
    assert again == run.broke  # fails in a second exposure
    up = severities[:6]  # 1, 2, 4 ... 32
    assert up[0] == 1.0 and up[-1] > 30.0
    assert all(1.9 < b / a <= 2.0 for a, b in itertools.pairwise(up))
    assert all(up[-2] < severity < up[-1] for severity in severities[6:])
    assert run.answered and run.held is not None and run.broke is not None
    assert run.held < 30.0 <= run.broke <= 1.1 * run.held * 1.001


@pytest.mark.parametrize("factor", [1.3, 2.0, 4.0])
def test_it_jumps_no_further_than_allowed_from_what_is_certified(factor: float) -> None:
    scenario = asked(100.0, 0.05)
    scenario = replace(scenario, search=replace(scenario.search, escalation=factor))
    run = tried(scenario, cliff(20.0))
    up = list(itertools.takewhile(lambda severity: severity <= 20.0, visited(run)))
    assert all(b <= min(factor, 2.0) * a * 1.001 for a, b in itertools.pairwise(up))
    assert all(Climb(run.campaign).certificate.own_held(arm) >= 3.0 for arm in _arms(run, up))


def _arms(run: SimulatedRun, severities: list[float]) -> list[int]:
    return [run.campaign.newest.severities.index(severity) for severity in severities]


def test_cliffs_cost_few_bad_samples_and_are_bracketed() -> None:
    bad = []
    for seed in range(12):
        at = float(np.exp(default_rng(seed).uniform(1.0, 6.0)))
        run = tried(asked(), cliff(at, tau=TAU), seed=seed)
        assert run.answered and run.held is not None and run.broke is not None
        assert run.held < at <= run.broke
        assert 1000 < run.samples < 15_000
        bad.append(run.bad_samples)
    assert np.mean(bad) < 20


def test_a_smooth_curve_is_bracketed() -> None:
    for seed in range(6):
        run = tried(asked(100.0, 0.05, resolution=0.5), smooth(9.0, 0.3), seed=seed)
        assert run.answered and run.held is not None and run.broke is not None
        assert run.held < 9.0 < run.broke


def test_a_test_looks_first_then_bets_on_what_the_counts_favour() -> None:
    climb = begun(asked(), (0.1 * TAU,), 0.0)
    first = policy(NAME).decide(climb, default_rng(0))
    assert isinstance(first, Expose)
    assert (first.variant.arm, first.purpose, first.stop_after_bad) == (0, Purpose.SEARCH, 1)
    for ratio, purpose in [(0.0, Purpose.HELD), (0.9, Purpose.BROKE)]:
        bad = default_rng(0).random((first.samples, 1)) < ratio
        second = policy(NAME).decide(fold(climb, first, bad), default_rng(0))
        assert isinstance(second, Expose)
        assert (second.variant.arm, second.purpose) == (0, purpose)
        assert (second.bets[0] < TAU) == (purpose is Purpose.HELD)


def test_an_arm_too_close_to_call_is_left_for_those_around_it() -> None:
    """The first middle is at the objective itself; the bracket closes around it."""
    scenario = asked(100.0, 0.05, resolution=0.2)
    run = tried(scenario, smooth(11.3, 0.3))
    arms = Climb(run.campaign).arms
    stuck = max(range(len(arms)), key=lambda arm: arms[arm].samples)
    near = [arm for arm in range(stuck - 3, stuck + 4) if arm != stuck and arms[arm].samples]
    assert run.answered and arms[stuck].samples > 2000 and len(near) >= 2
    hopeless = tried(asked(1.5, 0.05), flat(0.05), seed=3)
    text = "1 is too close to the objective to be called"
    assert (hopeless.reason, hopeless.answered) == (text, False)


def test_ends_are_told_from_answers() -> None:
    scenario = asked(100.0, 0.05)
    never, broken = tried(scenario, flat(0.0)), tried(scenario, flat(0.4))
    assert never.answered and never.reason.startswith("held at the cap of 100")
    assert broken.answered and broken.reason.startswith("broke at 1, the mildest severity")
    assert broken.bad_samples < 10
    capped = tried(replace(scenario, guardrails=Guardrails(max_severity=20.0)), cliff(50.0))
    assert capped.reason.startswith("held at the cap of 19.") and max(visited(capped)) <= 20.0
    below = tried(replace(scenario, guardrails=Guardrails(max_severity=0.5)), cliff(50.0))
    assert not below.answered and below.samples == 0


def test_blocks_and_the_sample_limit_are_kept() -> None:
    scenario = asked(max_samples=903)
    run = tried(replace(scenario, search=replace(scenario.search, block=5)), flat(0.0))
    assert run.samples == 903
    batches = [each for each in run.campaign.decisions.values() if isinstance(each, Expose)]
    assert all(batch.samples % 5 == 0 for batch in batches[:-1])
    assert all(batch.stop_after_bad is None for batch in batches)
    assert run.reason == "search.max_samples (903) are spent"


def test_samples_in_flight_are_neither_ordered_twice_nor_over_the_limit() -> None:
    climb = begun(asked(max_samples=500), (0.1 * TAU,), 0.0)
    batch = policy(NAME).decide(climb, default_rng(0))
    for _ in range(6):
        assert isinstance(batch, Expose)
        climb = fold(climb, batch, np.zeros((batch.samples, 1), dtype=np.bool_))
        batch = policy(NAME).decide(climb, default_rng(0))
    assert isinstance(batch, Expose) and batch.purpose is Purpose.HELD and batch.samples > 1
    waiting = policy(NAME).decide(changed(climb, unresolved=490), default_rng(0))
    assert isinstance(waiting, Stop) and not waiting.answered
    few = policy(NAME).decide(changed(climb, unresolved=200), default_rng(0))
    assert isinstance(few, Expose) and few.samples == 1


def test_of_two_slos_the_one_that_breaks_first_is_found() -> None:
    scenario = asked(100.0, 0.05)
    both = replace(scenario, slos=(*scenario.slos, SLO("loose", SLI("any"), 0.9)))
    for first, second in [(7.0, 30.0), (30.0, 7.0)]:
        run = tried(both, cliff(first), cliff(second, tau=0.1))
        assert run.answered and run.held is not None and run.broke is not None
        assert run.held < 7.0 <= run.broke
