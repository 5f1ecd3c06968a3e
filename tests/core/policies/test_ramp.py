"""The plain ramp: doubles, bisects, claims by the same certificates, gives up honestly."""

import itertools
from types import ModuleType

from numpy.random import default_rng

from chaosbandit.core.model import Expose, Purpose, Stop
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Guardrails, Search

TAU = 0.01
RAMP = Search(policy="ramp")


def test_it_doubles_until_it_breaks_then_bisects(loop: ModuleType) -> None:
    scenario = loop.scenario_of(search=RAMP)
    campaign, rng = loop.start(scenario, (0.001,), 0.0), default_rng(1)
    response, visited = loop.response_of("cliff", 30.0, TAU), [0.0]
    while isinstance(batch := policy("ramp").decide(campaign, rng), Expose):
        if batch.variant.severity != visited[-1]:
            visited.append(batch.variant.severity)
        bad = loop.independent(response(batch.variant.severity), batch.samples, rng)
        campaign = loop.fold(campaign, batch, bad)
    assert isinstance(batch, Stop) and batch.answered
    up = visited[1:7]  # 1, 2, 4 ... 32
    assert up[0] == 1.0 and up[-1] > 30.0
    assert all(1.9 < b / a <= 2.0 for a, b in itertools.pairwise(up))
    assert all(up[-2] < severity < up[-1] for severity in visited[7:])


def test_its_brackets_are_true(loop: ModuleType) -> None:
    scenario = loop.scenario_of(search=RAMP)
    for seed in range(25):
        rng = default_rng([1, seed])
        response = loop.response_of("soft", loop.breaking_point(scenario, rng), TAU)
        run = loop.campaign_run(response, scenario, rng)
        assert run.stop.answered and not run.wrong
        assert 1000 < run.samples < 40_000


def test_it_proves_what_the_counts_suggest(loop: ModuleType) -> None:
    campaign = loop.start(loop.scenario_of(search=RAMP), (0.001,), 0.0)
    first = policy("ramp").decide(campaign, default_rng(0))
    assert isinstance(first, Expose)
    assert (first.variant.arm, first.purpose) == (0, Purpose.SEARCH)
    for ratio, purpose in [(0.0, Purpose.HELD), (0.9, Purpose.BROKE)]:
        bad = loop.independent((ratio,), first.samples, default_rng(0))
        second = policy("ramp").decide(loop.fold(campaign, first, bad), default_rng(0))
        assert isinstance(second, Expose)
        assert (second.variant.arm, second.purpose) == (0, purpose)
        assert (second.bets[0] < TAU) == (purpose is Purpose.HELD)


def test_ends_are_told_from_answers(loop: ModuleType) -> None:
    capped = loop.scenario_of(search=RAMP, guardrails=Guardrails(max_severity=20.0))
    run = loop.campaign_run(loop.response_of("cliff", 500.0, TAU), capped, default_rng(1))
    assert run.stop.reason.startswith("held at the cap of ")
    assert run.bracket[1] is None
    broken = loop.campaign_run(lambda _: (0.4,), loop.scenario_of(search=RAMP), default_rng(1))
    assert broken.stop.reason.startswith("broke at 1 s, the mildest severity")


def test_an_arm_at_the_objective_is_called_neither(loop: ModuleType) -> None:
    scenario = loop.scenario_of(search=RAMP)
    run = loop.campaign_run(lambda _: (TAU,), scenario, default_rng(2))
    assert run.stop == Stop("inconclusive: 1 s is too close to the objective to be called")


def test_blocks_and_the_sample_limit_are_kept(loop: ModuleType) -> None:
    scenario = loop.scenario_of(search=Search(policy="ramp", block=5, max_samples=900))
    run = loop.campaign_run(lambda _: (0.0,), scenario, default_rng(1))
    assert run.samples == 900
    assert run.campaign.certificate.block == 5
    assert run.stop.reason.startswith("inconclusive: search.max_samples")
