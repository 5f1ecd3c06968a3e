"""Plain Thompson sampling: chance decides where, within every limit, and it still ends."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import default_rng

from chaosbandit.core.model import Expose, Purpose
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.sim.response_curves import cliff, flat, smooth
from chaosbandit.sim.simulated_campaign import scenario_of
from tests.policy_steps import batches, begun, fold, guarded, holds_the_truth, tried

TAU = 0.05
NAME = "thompson"


def asked(high: float = 100.0, **more: Any) -> Scenario:
    return scenario_of(1.0, high, 1.0 - TAU, policy=NAME, **more)


def test_it_starts_with_the_mildest_and_climbs_no_further_than_it_believes() -> None:
    for factor in (1.5, 2.0, 4.0):
        scenario = asked()
        scenario = replace(scenario, search=replace(scenario.search, escalation=factor))
        climb = begun(scenario, (0.1 * TAU,), 0.0)
        first = policy(NAME).decide(climb, default_rng(0))
        assert isinstance(first, Expose) and first.variant.arm == 0
        after = fold(climb, first, np.zeros((first.samples, 1), dtype=np.bool_))
        reached = []
        for seed in range(60):
            decision = policy(NAME).decide(after, default_rng(seed))
            assert isinstance(decision, Expose)
            reached.append(decision.variant.severity)
        assert factor / 1.03 < max(reached) <= factor * 1.001


def test_chance_decides_and_the_same_chance_decides_alike() -> None:
    run = tried(asked(), cliff(20.0))
    climb = begun(asked(), (0.1 * TAU,), 0.0)
    for batch in batches(run)[:8]:
        bad = np.full((batch.samples, 1), batch.variant.severity >= 20.0)
        climb = fold(climb, batch, bad)
    decisions = [policy(NAME).decide(climb, default_rng(seed)) for seed in range(30)]
    again = [policy(NAME).decide(climb, default_rng(seed)) for seed in range(30)]
    assert decisions == again
    assert len({each.variant.arm for each in decisions if isinstance(each, Expose)}) > 1


def test_it_bets_only_on_a_likely_side() -> None:
    climb, rng, purposes = begun(asked(), (0.1 * TAU,), 0.0), default_rng(3), set()
    while isinstance(batch := policy(NAME).decide(climb, rng), Expose):
        p_broke = climb.believed_broken(batch.variant.arm)
        fits = {
            Purpose.HELD: p_broke < 0.2,
            Purpose.BROKE: p_broke > 0.8,
            Purpose.SEARCH: 0.19 < p_broke < 0.81,
        }
        assert fits[batch.purpose], (batch, p_broke)
        purposes.add(batch.purpose)
        bad = rng.random((batch.samples, 1)) < smooth(9.0, 0.1)(batch.variant.severity)
        climb = fold(climb, batch, bad)
    assert batch.answered and purposes == {Purpose.SEARCH, Purpose.HELD, Purpose.BROKE}


def test_cliffs_and_smooth_curves_are_bracketed() -> None:
    for seed in range(6):
        at = float(np.exp(default_rng(seed).uniform(0.3, 3.0)))
        run = tried(asked(30.0), cliff(at), seed=seed)
        assert run.answered and holds_the_truth(run, at) and run.samples < 4000
        run = tried(asked(30.0, resolution=0.5), smooth(at, 0.3), seed=seed)
        assert run.answered and holds_the_truth(run, at)


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
    scenario = asked(max_samples=43)
    run = tried(replace(scenario, search=replace(scenario.search, block=5)), flat(0.005))
    assert run.samples == 43
    assert all(batch.samples % 5 == 0 for batch in batches(run)[:-1])
    assert all(batch.stop_after_bad is None for batch in batches(run))
    assert run.reason == "search.max_samples (43) are spent"


def test_of_two_slos_the_one_that_breaks_first_is_found() -> None:
    both = replace(asked(), slos=(*asked().slos, SLO("loose", SLI("any"), 0.9)))
    for first, second in [(7.0, 30.0), (30.0, 7.0)]:
        run = tried(both, cliff(first), cliff(second, tau=0.1))
        assert run.answered and holds_the_truth(run, 7.0)
