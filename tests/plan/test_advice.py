"""Advice: only where it is needed, and it keeps what it promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaosbandit.core.scenario import Scenario, Search, Timing
from chaosbandit.plan.advice import advised, lifted
from chaosbandit.plan.campaigns import Cost, simulated
from chaosbandit.plan.forecast_records import Advice, Plan, Price, plan_of
from chaosbandit.plan.intervals import of_share
from chaosbandit.scenario.quantities import duration, share
from tests.plan.test_forecast_records import ANSWERED, LATE, SPENT, cost
from tests.simulated import SLOPPY, ladder, scenario

COUNT = 80


def run(asked: Scenario, numbers: Sequence[int]) -> list[Cost]:
    """In this process."""
    return [simulated(asked, 0, number) for number in numbers]


def planned(asked: Scenario) -> Plan:
    costs = run(asked, range(COUNT))
    return advised(plan_of(asked, 0, costs), asked, costs, run)


def poor(spend: float = 0.05, **search: float) -> Scenario:
    """A coarse search, so that most services can be told from each other at all."""
    over = ladder(0.05, 0.5, resolution=0.5)
    changes = Search(resolution=0.5, **search)  # type: ignore[arg-type]
    made = scenario(SLOPPY, over=over, timing=Timing(), search=changes)
    return replace(made, budget=replace(made.budget, requests=200_000, spend=spend))


def unasked(asked: Scenario, numbers: Sequence[int]) -> list[Cost]:
    raise AssertionError("nothing is to be simulated again")


def test_no_advice_where_nine_of_ten_are_answered() -> None:
    costs = [cost(number) for number in range(1, 10)] + [cost(10, SPENT)]
    asked = poor()
    costs = [replace(each, bad=(each.number,)) for each in costs]
    plan = plan_of(asked, 0, costs)
    assert advised(plan, asked, costs, unasked) == plan


def test_a_budget_that_is_too_small_is_raised_to_what_nine_of_ten_need() -> None:
    asked = poor(spend=0.006)
    plan = planned(asked)
    assert plan.stopped_by.budget > 0.2
    advice = plan.advice[0]
    spend = share(advice.changes["budget.spend"])
    assert asked.budget.spend < spend <= 1.0
    enough = replace(asked, budget=replace(asked.budget, spend=spend))
    if "search.max_duration" in advice.changes:
        longest_s = duration(advice.changes["search.max_duration"])
        enough = replace(enough, search=replace(asked.search, max_duration_s=longest_s))
    then = plan_of(enough, 0, run(enough, range(COUNT))).answered
    assert then > plan.answered + 0.1
    assert then == pytest.approx(advice.answered, abs=0.06)
    half = replace(asked, budget=replace(asked.budget, spend=(spend + asked.budget.spend) / 3))
    assert plan_of(half, 0, run(half, range(COUNT))).answered < then


def test_where_time_is_short_more_of_it_helps() -> None:
    plan = planned(poor(max_duration_s=120.0))
    assert plan.stopped_by.max_duration > plan.stopped_by.budget
    assert duration(plan.advice[0].changes["search.max_duration"]) > 120.0
    assert all(advice.answered > plan.answered for advice in plan.advice)


def test_where_time_is_short_a_higher_rate_may_help() -> None:
    asked = poor()
    costs = [replace(cost(1 + n, LATE), bad=(5,)) for n in range(10)]

    def quick(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
        ended = LATE if changed.traffic.rate_per_s < 200.0 else ANSWERED
        return [replace(costs[number - 1], ending=ended) for number in numbers]

    (advice,) = advised(plan_of(asked, 0, costs), asked, costs, quick).advice
    assert (advice.changes, advice.answered) == ({"traffic.rate": "200/s"}, 1.0)


def test_what_is_enough_stands_alone() -> None:
    """A coarser resolution answers half of the campaigns, and a larger budget all."""
    asked = replace(poor(), search=Search(resolution=0.1))
    costs = [replace(cost(1 + n, SPENT), bad=(600,)) for n in range(10)]

    def run_with(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
        rich, coarse = changed.budget.spend > 1.0, changed.search.resolution > 0.1
        return [
            replace(costs[n - 1], ending=ANSWERED) if rich or (coarse and n % 2) else costs[n - 1]
            for n in numbers
        ]

    now = Price(55.0, 11.0, 330.0)
    advice = advised(plan_of(asked, 0, costs), asked, costs, run_with).advice
    between = (round(of_share(10, 10)[0], 6), 1.0)
    assert advice == (Advice({"budget.spend": "6.4%"}, 1.0, now, now, 10, between),)


def test_lifted_limits_are_far_and_no_longer_than_evidence_counts() -> None:
    asked = poor(max_samples=1000)
    far = lifted(asked)
    assert far.budget.allowed(SLOPPY) > 10**6
    assert (far.search.max_samples, far.search.max_duration_s) == (5000, 3600.0)
    assert lifted(poor(max_duration_s=60.0)).search.max_duration_s == 300.0
    assert lifted(poor(max_duration_s=5000.0)).search.max_duration_s == 5000.0


def test_what_never_helps_is_not_advised() -> None:
    """Whatever is changed, no campaign is answered."""
    asked = poor()
    costs = [
        replace(cost(number + 1, SPENT if number % 2 else ANSWERED), bad=(5,))
        for number in range(20)
    ]

    def hopeless(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
        return [replace(costs[number - 1], ending=SPENT) for number in numbers]

    assert advised(plan_of(asked, 0, costs), asked, costs, hopeless).advice == ()


def test_a_budget_beyond_all_of_it_is_not_advised() -> None:
    asked = poor()
    costs = [replace(cost(1 + n, SPENT), bad=(10**6,)) for n in range(10)]

    def dear(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
        ended = ANSWERED if changed.budget.spend > 1.0 else SPENT
        return [replace(costs[number - 1], ending=ended) for number in numbers]

    assert advised(plan_of(asked, 0, costs), asked, costs, dear).advice == ()


def test_advice_says_what_the_unanswered_cost_then_and_now() -> None:
    asked = replace(poor(), search=Search(resolution=0.1))
    costs = [replace(cost(1 + n, SPENT), bad=(600,)) for n in range(10)]

    def twice(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
        coarse = changed.search.resolution > 0.1
        return [replace(cost(2 * n, ANSWERED if coarse else SPENT), bad=(600,)) for n in numbers]

    (advice,) = advised(plan_of(asked, 0, costs), asked, costs, twice).advice
    assert advice.changes == {"search.resolution": "25%"}
    assert advice.instead_of == Price(55.0, 11.0, 330.0)
    assert advice.price == Price(110.0, 22.0, 660.0)


def test_a_look_cut_short_is_compared_with_the_campaigns_it_saw() -> None:
    asked = replace(poor(), search=Search(resolution=0.1))
    costs = [replace(cost(1 + n, SPENT), bad=(600,)) for n in range(10)]

    def first_four(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
        coarse = changed.search.resolution > 0.1
        ended = ANSWERED if coarse else SPENT
        return [replace(cost(n, ended), bad=(600,)) for n in numbers[:4]]

    (advice,) = advised(plan_of(asked, 0, costs), asked, costs, first_four).advice
    assert (advice.campaigns, advice.answered) == (4, 1.0)
    assert advice.price == advice.instead_of == Price(25.0, 5.0, 150.0)
    assert advice.answered_between == pytest.approx(of_share(4, 4), abs=1e-6)


def test_what_does_not_fit_raised_limits_is_priced_as_far_as_they_go() -> None:
    """Nine campaigns need 60 s to 540 s; the tenth would never end."""
    asked = poor(max_duration_s=30.0)
    costs = [replace(cost(1 + n, LATE), bad=(5,)) for n in range(10)]

    def longer(changed: Scenario, numbers: Sequence[int]) -> list[Cost]:
        endless = replace(cost(10, LATE), bad=(5,), requests=1000.0, duration_s=5400.0)
        if changed.search.max_duration_s <= 30.0:
            return [costs[n - 1] for n in numbers]
        return [replace(costs[n - 1], ending=ANSWERED) if n < 10 else endless for n in numbers]

    advice = advised(plan_of(asked, 0, costs), asked, costs, longer).advice[0]
    assert advice.changes == {"search.max_duration": "9min"}
    assert advice.price.duration_s == pytest.approx((45 * 60 + 540) / 10)
    assert advice.price.requests == pytest.approx((450 + 100) / 10)


def test_the_gate_alone_is_offered_where_it_costs_less() -> None:
    asked = replace(poor(), require={"slow": 0.2})
    plan = planned(asked)
    (gate,) = [each for each in plan.alternatives if each.changes == {"search.stop": "gate"}]
    assert gate.price.requests < 0.9 * gate.instead_of.requests
    assert gate.price.duration_s < gate.instead_of.duration_s
    assert gate.answered >= plan.answered
    assert planned(replace(asked, search=replace(asked.search, stop="gate"))).alternatives == ()
    assert planned(poor()).alternatives == ()


def test_what_a_declared_block_costs_is_said() -> None:
    (single,) = planned(poor(block=4)).alternatives
    assert single.changes == {"search.block": "1"}
    assert single.instead_of.requests > 1.3 * single.price.requests
