"""The ramp of a load test: steps of one resolution up to the first arm that breaks."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import default_rng

from chaosbandit.core.climb import Climb
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.sim.response_curves import cliff, flat, smooth
from chaosbandit.sim.simulated_campaign import scenario_of
from tests.policy_steps import batches, guarded, holds_the_truth, tried

TAU = 0.05
NAME = "ramp"


def asked(high: float = 100.0, **more: Any) -> Scenario:
    return scenario_of(1.0, high, 1.0 - TAU, policy=NAME, **more)


def test_it_climbs_by_one_resolution_until_it_breaks() -> None:
    for resolution, most in [(0.1, 1.1), (0.5, 1.5)]:
        run = tried(asked(resolution=resolution), cliff(5.0))
        exposed = [exposure.severity for exposure in run.campaign.exposures]
        severities = [severity for severity, _ in itertools.groupby(exposed)]  # one fails twice
        assert severities[0] == 1.0 and severities[-1] >= 5.0
        steps = [b / a for a, b in itertools.pairwise(severities)]
        assert all(most * 0.97 < step <= most * 1.001 for step in steps)
        assert all(severity < 5.0 for severity in severities[:-1])
        assert run.answered and holds_the_truth(run, 5.0)
        climb = Climb(run.campaign)
        arm = climb.ladder.severities.index(severities[1])
        assert climb.certificate.own_held(arm) >= 3.0  # called before it went on


def test_it_steps_no_further_than_the_escalation_factor() -> None:
    scenario = asked(3.0, resolution=0.5)
    scenario = replace(scenario, search=replace(scenario.search, escalation=1.2))
    run = tried(scenario, cliff(2.5))
    severities = sorted({exposure.severity for exposure in run.campaign.exposures})
    assert all(b <= 1.2 * a * 1.001 for a, b in itertools.pairwise(severities))
    assert run.answered and holds_the_truth(run, 2.5)


def test_cliffs_and_smooth_curves_are_bracketed() -> None:
    for seed in range(6):
        at = float(np.exp(default_rng(seed).uniform(0.3, 3.0)))
        run = tried(asked(30.0), cliff(at), seed=seed)
        assert run.answered and holds_the_truth(run, at)
        run = tried(asked(30.0, resolution=0.5), smooth(at, 0.3), seed=seed)
        assert run.answered and holds_the_truth(run, at)


def test_a_higher_breaking_point_costs_more() -> None:
    near, far = tried(asked(), cliff(3.0)), tried(asked(), cliff(50.0))
    assert far.samples > 2 * near.samples


def test_ends_are_told_from_answers() -> None:
    never, broken = tried(asked(), flat(0.0)), tried(asked(), flat(0.4))
    assert never.answered and never.reason.startswith("held at the cap of 100")
    assert broken.answered and broken.reason.startswith("broke at 1, the mildest severity")
    capped = tried(guarded(asked(), 20.0), cliff(50.0))
    assert capped.reason.startswith("held at the cap of 19.")
    assert max(batch.variant.severity for batch in batches(capped)) <= 20.0
    below = tried(guarded(asked(), 0.5), cliff(50.0))
    assert not below.answered and below.samples == 0


def test_blocks_and_the_sample_limit_are_kept() -> None:
    scenario = asked(max_samples=903)
    run = tried(replace(scenario, search=replace(scenario.search, block=5)), flat(0.005))
    assert run.samples == 903
    assert all(batch.samples % 5 == 0 for batch in batches(run)[:-1])
    assert all(batch.stop_after_bad is None for batch in batches(run))
    assert run.reason == "search.max_samples (903) are spent"


def test_of_two_slos_the_one_that_breaks_first_is_found() -> None:
    both = replace(asked(), slos=(*asked().slos, SLO("loose", SLI("any"), 0.9)))
    for first, second in [(7.0, 30.0), (30.0, 7.0)]:
        run = tried(both, cliff(first), cliff(second, tau=0.1))
        assert run.answered and holds_the_truth(run, 7.0)
