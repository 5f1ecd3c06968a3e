"""Statistics over simulated campaigns, and their JSON."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from chaosbandit.core.scenario import Guardrails
from chaosbandit.plan.campaigns import Cost, Ended, Found
from chaosbandit.plan.outcome import Plan, Spread, plan_of, quantile, spread, to_json
from tests.simulated import AVAILABILITY, LATENCY, ladder, scenario


def cost(number: int, ended: Ended = Ended.ANSWERED, found: Found = Found.BRACKET) -> Cost:
    """Campaign `number` costs that many of everything."""
    return Cost(
        number=number,
        found=(found,),
        ended=ended,
        requests=10.0 * number,
        canary_requests=8 * number,
        samples=5 * number,
        exposures=number,
        duration_s=60.0 * number,
        bad=(number, 2 * number),
        bad_requests=2 * number,
    )


def costs() -> list[Cost]:
    """Ten campaigns, four of them without an answer."""
    ends = [Ended.BUDGET, Ended.BUDGET, Ended.MAX_DURATION, Ended.OTHER]
    unanswered = [cost(7 + i, end, Found.NOTHING) for i, end in enumerate(ends)]
    others = [cost(1), cost(2), cost(3), cost(4, found=Found.ABOVE)]
    return [*others, cost(5, found=Found.BELOW), cost(6), *unanswered]


def made() -> Plan:
    """Their plan."""
    limits = Guardrails(max_severity=0.4)
    asked = scenario(AVAILABILITY, LATENCY, over=ladder(0.01, 1.0), guardrails=limits)
    return plan_of(asked, 3, costs())


def test_means_and_ninetieth_percentiles() -> None:
    plan = made()
    assert plan.bad_requests == Spread(11.0, 10.0, 18.0)
    assert plan.duration_s == Spread(330.0, 300.0, 540.0)
    assert plan.requests == Spread(55.0, 50.0, 90.0)
    assert (plan.campaigns, plan.seed) == (10, 3)


@pytest.mark.parametrize(("q", "found"), [(0.0, 1), (0.1, 1), (0.11, 2), (0.9, 9), (1.0, 10)])
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(q: float, found: float) -> None:
    assert quantile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], q) == found
    assert spread([4.0]) == Spread(4.0, 4.0, 4.0)


def test_shares_of_ends_add_up() -> None:
    plan, by = made(), made().stopped_by
    assert (plan.answered, plan.inconclusive) == (0.6, 0.4)
    assert (by.budget, by.max_duration, by.max_samples, by.other) == (0.2, 0.1, 0.0, 0.1)
    one = plan.ladders[0]
    assert (one.bracket, one.above, one.below, one.nothing) == (0.4, 0.1, 0.1, 0.4)
    assert one.mildest_text == "10 ms" and one.harshest_text.startswith("39")


def test_each_slo_has_its_budget() -> None:
    first, second = made().budgets
    assert (first.slo, first.allowed, first.bad.mean) == ("availability", 1000, 5.5)
    assert second.bad == Spread(11.0, 10.0, 18.0)
    assert second.window_share.p90 == pytest.approx(18 / 20_000)


def test_json_has_a_schema_and_every_field() -> None:
    found = json.loads(to_json(made()))
    assert list(found) == ["schema", *(field.name for field in fields(Plan))]
    assert found["schema"] == 1
    assert found["duration_s"] == {"mean": 330.0, "median": 300.0, "p90": 540.0}
    assert found["stopped_by"]["budget"] == 0.2
    assert found["advice"] == []
