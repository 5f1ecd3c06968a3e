"""The ramp of a load test: steps of one resolution up to the first arm that breaks."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import default_rng

from chaosbandit.core.climb import Climb
from chaosbandit.core.scenario import Scenario
from chaosbandit.sim.response_curves import cliff, smooth
from chaosbandit.sim.simulated_campaign import scenario_of
from tests.policy_steps import holds_the_truth, tried

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
