"""Statistics over simulated campaigns, and their JSON."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from chaosbandit.core.campaign import least_good
from chaosbandit.core.ending import Ending
from chaosbandit.core.model import Cause, GateOutcome
from chaosbandit.core.scenario import Guardrails, Search
from chaosbandit.errors import Exit
from chaosbandit.plan.campaigns import Cost, Found
from chaosbandit.plan.forecast_records import (
    GatePlan,
    Plan,
    Price,
    Spread,
    plan_of,
    quantile,
    spread,
    to_json,
)
from chaosbandit.sim.simulated_campaign import Spent
from tests.simulated import AVAILABILITY, LATENCY, SLOPPY, ladder, scenario

ANSWERED = Ending(Cause.BRACKETED, Exit.ANSWERED, True, {})
SPENT = Ending(Cause.BUDGET, Exit.GUARDRAIL, False, {})
LATE = Ending(Cause.TIME, Exit.GUARDRAIL, False, {})
VAGUE = Ending(Cause.ASSUMPTIONS, Exit.INCONCLUSIVE, False, {})


def cost(number: int, ended: Ending = ANSWERED, found: Found = Found.BRACKET) -> Cost:
    """Campaign `number` costs that many of everything."""
    return Cost(
        number=number,
        found=(found,),
        ending=ended,
        requests=10.0 * number,
        canary_requests=8 * number,
        samples=5 * number,
        exposures=number,
        duration_s=60.0 * number,
        bad=(number, 2 * number),
        bad_requests=2 * number,
        stood=Spent(100 * number, number, float(number)),
    )


def costs() -> list[Cost]:
    """Ten campaigns, four of them without an answer."""
    ends = [SPENT, SPENT, LATE, VAGUE]
    unanswered = [cost(7 + i, end, Found.NOTHING) for i, end in enumerate(ends)]
    others = [cost(1), cost(2), cost(3), cost(4, found=Found.ABOVE)]
    return [*others, cost(5, found=Found.BELOW), cost(6), *unanswered]


def made() -> Plan:
    """Their plan."""
    limits = Guardrails(max_severity=0.4)
    asked = scenario(AVAILABILITY, LATENCY, over=ladder(0.01, 1.0), guardrails=limits)
    return plan_of(asked, 3, costs())


def figures(of: Spread) -> tuple[float, float, float]:
    return of.mean, of.median, of.p90


def test_means_and_ninetieth_percentiles() -> None:
    plan = made()
    assert figures(plan.bad_requests) == (11.0, 10.0, 18.0)
    assert figures(plan.duration_s) == (330.0, 300.0, 540.0)
    assert figures(plan.requests) == (55.0, 50.0, 90.0)
    assert (plan.campaigns, plan.seed) == (10, 3)


@pytest.mark.parametrize(("q", "found"), [(0.0, 1), (0.1, 1), (0.11, 2), (0.9, 9), (1.0, 10)])
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(q: float, found: float) -> None:
    assert quantile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], q) == found
    assert spread([4.0]) == Spread(4.0, 4.0, 4.0)  # one campaign bounds nothing


def test_shares_of_ends_add_up() -> None:
    plan, by = made(), made().stopped_by
    assert (plan.answered, plan.inconclusive) == (0.6, 0.4)
    assert (by.budget, by.max_duration, by.max_samples, by.other) == (0.2, 0.1, 0.0, 0.1)
    one = plan.ladders[0]
    assert (one.bracket, one.above, one.below, one.nothing) == (0.4, 0.1, 0.1, 0.4)
    assert one.mildest_text == "10 ms" and one.harshest_text.startswith("39")


def test_exit_codes_are_those_of_real_runs() -> None:
    assert made().exits == {"0": 0.6, "4": 0.1, "5": 0.3}


def test_gates_are_said_as_they_end() -> None:
    outcomes = [GateOutcome.PASSED] * 5 + [GateOutcome.FAILED] * 3 + [GateOutcome.UNDECIDED] * 2
    ended = [
        cost(n + 1, replace(ANSWERED, gates={"slow": outcome}))
        for n, outcome in enumerate(outcomes)
    ]
    asked = scenario(AVAILABILITY, LATENCY, require={"slow": 0.15})
    (one,) = plan_of(asked, 0, ended).ladders
    assert one.gate == GatePlan("150 ms", 0.5, 0.3, 0.2)
    assert made().ladders[0].gate is None


@pytest.mark.parametrize(
    ("search", "least", "possible"),
    [
        (Search(), 299, True),
        (Search(max_samples=299), 299, True),
        (Search(max_samples=298), 299, False),
        (Search(max_duration_s=5.9), 299, False),  # at 50/s
        (Search(confidence=0.99), 459, True),
        (Search(max_duration_s=7200.0), 408, True),  # three times 1/delta: evidence may expire
    ],
)
def test_what_holding_takes_at_the_very_least(search: Search, least: int, possible: bool) -> None:
    asked = scenario(SLOPPY, AVAILABILITY, search=search)
    hold = plan_of(asked, 0, costs()).hold
    assert (hold.slo, hold.least_good, hold.possible) == ("availability", least, possible)


def test_so_many_good_requests_hold_and_one_less_does_not() -> None:
    for confidence in (0.95, 0.99):
        search = Search(confidence=confidence)
        n = least_good(AVAILABILITY, search)
        assert (
            AVAILABILITY.objective**-n >= 1 / (1 - confidence) > AVAILABILITY.objective ** (1 - n)
        )


def test_standing_is_a_mean_over_answers() -> None:
    assert made().hold.price == Price(350.0, 3.5, 3.5)  # of the first six
    none = plan_of(scenario(AVAILABILITY, LATENCY), 0, [cost(1, SPENT)])
    assert none.hold.price == Price(0.0, 0.0, 0.0)


def test_each_slo_has_its_budget() -> None:
    first, second = made().budgets
    assert (first.slo, first.allowed, first.bad.mean) == ("availability", 1000, 5.5)
    assert figures(second.bad) == (11.0, 10.0, 18.0)
    assert second.window_share.p90 == pytest.approx(18 / 20_000)


def test_json_has_a_schema_and_every_field() -> None:
    found = json.loads(to_json(made()))
    assert list(found) == ["schema", *(field.name for field in fields(Plan))]
    assert found["schema"] == 1
    duration = found["duration_s"]
    assert (duration["mean"], duration["median"], duration["p90"]) == (330.0, 300.0, 540.0)
    low, high = duration["mean_between"]
    assert 180.0 < low < 330.0 < high < 480.0
    assert duration["median_between"] == [120.0, 540.0]  # second and ninth of ten
    assert duration["p90_between"][1] is None  # ten say nothing of how bad it may be
    assert found["inconclusive_between"] == pytest.approx([0.122, 0.738], abs=1e-3)
    assert found["stopped_by"]["budget"] == 0.2
    assert found["advice"] == []
