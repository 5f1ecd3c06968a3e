"""The certifying policy: safe steps, honest ends, false brackets within delta, few samples."""

import itertools
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from chaosbandit.core.model import Cause, Expose, Purpose, Stop
from chaosbandit.core.policies import names, policy
from chaosbandit.core.scenario import Guardrails, Search
from chaosbandit.errors import UsageError
from tests.policy_steps import begun, changed, fold

TAU = 0.01


def decide(campaign: Any) -> Expose | Stop:
    return policy("certify").decide(campaign, default_rng(0))


def exposed(campaign: Any) -> Expose:
    decision = decide(campaign)
    assert isinstance(decision, Expose)
    return decision


def after(loop: ModuleType, campaign: Any, arm: int, good: int, bad: int = 0, **batch: Any) -> Any:
    """The campaign after samples at an arm, searched or bet on."""
    flags = np.array([[i < bad] for i in range(good + bad)])
    variant = campaign.ladder.variant(arm)
    batch = {"purpose": Purpose.SEARCH, **batch}
    return fold(campaign, Expose(variant, good + bad, **batch), flags)


def test_policies_are_found_by_name() -> None:
    assert set(names()) >= {"certify", "ramp"}
    assert policy("certify").name == "certify"
    with pytest.raises(UsageError, match=r"found 'certfy', wanted one of: (.*, )?certify, "):
        policy("certfy")


def test_it_starts_with_a_look_at_the_mildest_arm(loop: ModuleType) -> None:
    first = exposed(begun(loop.scenario_of(), (0.001,), 0.0))
    assert (first.variant.arm, first.purpose, first.bets) == (0, Purpose.SEARCH, ())
    assert first.stop_after_bad == 1
    assert first.why == "start with the mildest, 1 s"


def test_it_climbs_no_further_than_the_escalation_factor(loop: ModuleType) -> None:
    for factor in (1.5, 2.0, 4.0):
        scenario = loop.scenario_of(search=Search(escalation=factor))
        campaign = after(loop, begun(scenario, (0.001,), 0.0), 0, 5)
        severity = exposed(campaign).variant.severity
        assert factor / 1.03 < severity <= factor


def test_it_climbs_one_arm_where_the_grid_is_coarser_than_the_factor(loop: ModuleType) -> None:
    scenario = loop.scenario_of(search=Search(escalation=1.0))
    campaign = after(loop, begun(scenario, (0.001,), 0.0), 0, 5)
    assert exposed(campaign).variant.arm == 1


def test_it_never_steps_over_the_cap_nor_leaps(loop: ModuleType) -> None:
    scenario = loop.scenario_of(guardrails=Guardrails(max_severity=300.0))
    severities = scenario.ladder.severities
    run = loop.campaign_run(loop.response_of("cliff", 5000.0, TAU), scenario, default_rng(1))
    reached = [severities[j] for j, arm in enumerate(run.climb.arms) if arm.samples]
    assert max(reached) <= 300.0
    assert all(b <= 1.5 * a * 1.0001 for a, b in itertools.pairwise(reached))
    assert run.stop.answered
    assert run.stop.reason == (
        "held at the cap of 297.3 s: the breaking point is above what the guardrails allow"
    )
    assert run.samples < 900


def test_a_target_that_never_breaks_gives_no_bracket(loop: ModuleType) -> None:
    for seed in range(20):
        run = loop.campaign_run(lambda _: (0.001,), loop.scenario_of(), default_rng(seed))
        assert run.bracket[1] is None and run.stop.answered
        assert "held at the cap of 1e+04 s: the breaking point is above the ladder" in (
            run.stop.reason
        )


def test_a_target_that_breaks_at_once_is_said_to(loop: ModuleType) -> None:
    reason = "broke at 1 s, the mildest severity: the breaking point is below"
    runs = [
        loop.campaign_run(lambda _: (0.3,), loop.scenario_of(), default_rng(seed))
        for seed in range(10)
    ]
    assert all(run.stop == Stop(reason, True, Cause.BROKE_AT_MILDEST) for run in runs)
    assert np.mean([run.bad for run in runs]) < 12


def test_a_cap_under_the_mildest_severity_is_refused(loop: ModuleType) -> None:
    scenario = loop.scenario_of(guardrails=Guardrails(max_severity=0.5))
    stop = decide(begun(scenario, (0.001,), 0.0))
    reason = "guardrails.max_severity: found 500 ms, wanted at least 1 s"
    assert stop == Stop(reason, cause=Cause.CAPPED)


def test_it_gives_up_when_the_samples_are_spent(loop: ModuleType) -> None:
    scenario = loop.scenario_of(search=Search(max_samples=120))
    run = loop.campaign_run(loop.response_of("cliff", 500.0, TAU), scenario, default_rng(1))
    assert run.samples == 120
    assert run.stop.reason == "search.max_samples (120) are spent"


def test_it_says_so_when_no_crossing_is_left(loop: ModuleType) -> None:
    campaign = begun(loop.scenario_of(), (0.001,), 0.0)
    campaign = after(loop, campaign, 50, 500, purpose=Purpose.HELD, bets=(0.001,))
    campaign = after(loop, campaign, 20, 0, 9, purpose=Purpose.BROKE, bets=(0.5,))
    stop = decide(campaign)
    assert isinstance(stop, Stop) and not stop.answered
    assert stop.reason.startswith("assumptions failed: ")


def near_the_end(loop: ModuleType, **start: Any) -> Any:
    """A cliff between two neighbours that only needs certifying."""
    campaign = begun(loop.scenario_of(**start.get("scenario", {})), (0.001,), 0.0)
    campaign = changed(campaign, setup_samples=start.get("setup_samples", 0.0))
    for arm, good, bad in [(0, 5, 0), (96, 40, 0), (100, 0, 2), (98, 60, 0), (100, 0, 2)]:
        campaign = after(loop, campaign, arm, good, bad)
    return campaign


def test_it_bets_on_held_with_what_the_model_expects(loop: ModuleType) -> None:
    campaign = near_the_end(loop)
    batch = exposed(campaign)
    arm = batch.variant.arm
    assert batch.purpose is Purpose.HELD
    assert 96 <= arm <= 98
    assert batch.bets == (campaign.beliefs[0].mean_given(arm, arm + 1),)
    assert batch.why.startswith("certify that ") and batch.why.endswith(" more good samples")


def test_a_bet_on_held_ends_with_the_belief_in_it(loop: ModuleType) -> None:
    """At the first bad sample that takes P(holds) below 0.8 even if all others are good."""
    campaign, ends = near_the_end(loop), []
    for _ in range(40):
        batch = exposed(campaign)
        arm, last = batch.variant.arm, batch.stop_after_bad
        if batch.purpose is not Purpose.HELD:
            break
        for bad in range(1, min(batch.samples, last or batch.samples) + 1):
            belief = campaign.beliefs[0].observe(arm, batch.samples - bad, bad)
            assert (belief.p_broke(arm) > 0.2) == (bad == last)
        ends.append(last or math.inf)
        bets: dict[str, Any] = {"purpose": Purpose.HELD, "bets": batch.bets}
        campaign = after(loop, campaign, arm, batch.samples, **bets)
    assert ends[0] == 1 and ends[-1] > 1


def test_samples_in_flight_are_not_ordered_twice(loop: ModuleType) -> None:
    campaign = near_the_end(loop)
    arm = exposed(campaign).variant.arm
    campaign = after(loop, campaign, arm, 250, purpose=Purpose.HELD, bets=(0.001,))
    alone, waiting = exposed(campaign), exposed(changed(campaign, unresolved=1000))
    assert alone.variant.arm == waiting.variant.arm == arm
    assert alone.purpose is waiting.purpose is Purpose.HELD
    assert alone.samples > waiting.samples == 1


def test_the_broke_side_stops_at_its_first_failure(loop: ModuleType) -> None:
    campaign = near_the_end(loop)
    arm = exposed(campaign).variant.arm
    campaign = after(loop, campaign, arm, 400, purpose=Purpose.HELD, bets=(0.001,))
    batch = exposed(campaign)
    assert batch.purpose is Purpose.BROKE
    assert 99 <= batch.variant.arm <= 102
    assert batch.stop_after_bad == 1
    assert TAU < batch.bets[0] <= TAU * 20 * 1.0001  # one failure is enough, no bolder than that
    done = decide(after(loop, campaign, batch.variant.arm, 0, 1, purpose=Purpose.BROKE,
                        bets=batch.bets))  # fmt: skip
    assert isinstance(done, Stop) and done.answered
    assert done.reason.startswith("held at ") and ", broke at " in done.reason


def test_costly_moves_finish_the_standing_arm_first(loop: ModuleType) -> None:
    """The broke side is cheap, but only where nothing has to be set up does it go second."""
    cheap, costly = near_the_end(loop), near_the_end(loop, setup_samples=100.0)
    assert cheap.standing == costly.standing == 100
    assert exposed(cheap).purpose is Purpose.HELD
    standing_first = exposed(costly)
    assert (standing_first.variant.arm, standing_first.purpose) == (100, Purpose.BROKE)


def test_an_undecided_arm_is_settled_before_moving_when_moving_costs(loop: ModuleType) -> None:
    arms = {}
    for setup in (0.0, 100.0):
        campaign = begun(loop.scenario_of(), (0.001,), setup)
        for arm, good, bad in [(0, 5, 0), (28, 5, 0), (56, 5, 0), (72, 25, 1)]:
            campaign = after(loop, campaign, arm, good, bad)
        arms[setup] = exposed(campaign).variant.arm
    assert arms[100.0] == 72 != arms[0.0]


def test_harm_that_counts_makes_it_look_lower(loop: ModuleType) -> None:
    arms = []
    for cost_of_bad in (0.0, 10.0, 1000.0):
        campaign = begun(loop.scenario_of(search=Search(cost_of_bad=cost_of_bad)), (0.001,), 0)
        for arm, good, bad in [(0, 5, 0), (28, 5, 0), (56, 0, 2)]:
            campaign = after(loop, campaign, arm, good, bad)
        arms.append(exposed(campaign).variant.arm)
    assert arms[0] > arms[1] > arms[2]


def test_batches_are_whole_blocks(loop: ModuleType) -> None:
    scenario = loop.scenario_of(search=Search(block=4))
    campaign = begun(scenario, (0.001,), 0.0)
    rng, purposes = default_rng(3), set()
    response = loop.response_of("cliff", 30.0, TAU)
    while isinstance(batch := decide(campaign), Expose):
        purposes.add(batch.purpose)
        assert batch.samples % 4 == 0
        assert batch.purpose is Purpose.SEARCH or batch.stop_after_bad is None
        bad = loop.independent(response(batch.variant.severity), batch.samples, rng)
        campaign = fold(campaign, batch, bad)
    assert batch.answered
    assert purposes == {Purpose.SEARCH, Purpose.HELD, Purpose.BROKE}


def test_the_slo_that_breaks_first_sets_the_bracket(loop: ModuleType) -> None:
    scenario = loop.scenario_of((0.01, 0.05))
    severities = scenario.ladder.severities

    def response(severity: float) -> tuple[float, float]:
        return (0.9 if severity >= 700 else 0.001, 0.6 if severity >= 90 else 0.005)

    for seed in range(10):
        run = loop.campaign_run(response, scenario, default_rng(seed))
        held, broke, closed = run.bracket
        assert closed and not run.wrong
        assert severities[held] < 90 <= severities[broke]
        assert run.samples < 2500


def test_integer_milliseconds_are_an_honest_grid(loop: ModuleType) -> None:
    scenario = loop.scenario_of(mild=0.001, harsh=1.0)
    for seed, breaking_point in enumerate([0.0025, 0.007, 0.03, 0.2]):
        response = loop.response_of("cliff", breaking_point, TAU)
        run = loop.campaign_run(response, scenario, default_rng(seed))
        held, broke, closed = run.bracket
        assert closed
        assert scenario.ladder.severities[held] < breaking_point
        assert scenario.ladder.severities[broke] >= breaking_point


@pytest.mark.parametrize(
    ("family", "tau", "runs", "setup_samples"),
    [("soft", 0.05, 60, 50.0), ("width-0.1", 0.05, 40, 50.0), ("probit", 0.05, 40, 0.0)],
)
def test_false_brackets_stay_within_delta(
    loop: ModuleType, family: str, tau: float, runs: int, setup_samples: float
) -> None:
    scenario, wrong = loop.scenario_of((tau,), harsh=300.0), 0
    for seed in range(runs):
        rng = default_rng([7, seed])
        response = loop.response_of(family, loop.breaking_point(scenario, rng), tau)
        run = loop.campaign_run(response, scenario, rng, setup_samples=setup_samples)
        assert run.stop.answered, (family, seed, run.stop)
        wrong += run.wrong
    assert wrong <= 0.05 * runs + 2 * math.sqrt(runs * 0.05 * 0.95)
