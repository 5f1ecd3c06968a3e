"""What the plain policies have in common: they end in words, keep to limits, know several SLOs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.sim.response_curves import cliff, flat
from chaosbandit.sim.simulated_campaign import scenario_of
from tests.policy_steps import batches, guarded, holds_the_truth, tried

TAU = 0.05

plain = pytest.mark.parametrize("name", ["bisect", "ramp", "thompson"])


def asked(name: str, **more: Any) -> Scenario:
    return scenario_of(1.0, 100.0, 1.0 - TAU, policy=name, **more)


@plain
def test_ends_are_told_from_answers(name: str) -> None:
    never, broken = tried(asked(name), flat(0.0)), tried(asked(name), flat(0.4))
    assert never.answered and never.reason.startswith("held at the cap of 100")
    assert broken.answered and broken.reason.startswith("broke at 1, the mildest severity")
    capped = tried(guarded(asked(name), 20.0), cliff(50.0))
    assert capped.reason.startswith("held at the cap of 19.")
    assert max(batch.variant.severity for batch in batches(capped)) <= 20.0
    below = tried(guarded(asked(name), 0.5), cliff(50.0))
    assert not below.answered and below.samples == 0


@pytest.mark.parametrize(("name", "samples"), [("bisect", 903), ("ramp", 903), ("thompson", 43)])
def test_blocks_and_the_sample_limit_are_kept(name: str, samples: int) -> None:
    scenario = asked(name, max_samples=samples)
    run = tried(replace(scenario, search=replace(scenario.search, block=5)), flat(0.005))
    assert run.samples == samples
    assert all(batch.samples % 5 == 0 for batch in batches(run)[:-1])
    assert all(batch.stop_after_bad is None for batch in batches(run))
    assert run.reason == f"search.max_samples ({samples}) are spent"


@plain
def test_of_two_slos_the_one_that_breaks_first_is_found(name: str) -> None:
    both = replace(asked(name), slos=(*asked(name).slos, SLO("loose", SLI("any"), 0.9)))
    for first, second in [(7.0, 30.0), (30.0, 7.0)]:
        run = tried(both, cliff(first), cliff(second, tau=0.1))
        assert run.answered and holds_the_truth(run, 7.0)
