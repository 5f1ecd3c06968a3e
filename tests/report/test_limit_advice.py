from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosbandit.report import limit_advice

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def test_a_budget_is_raised_so_many_times(tell: Tell) -> None:
    said = limit_advice.budget(tell("one of three").campaign)
    assert said.startswith("Raise budget.spend about 7.5 times (now 5 %: 13 bad requests per run; ")


def test_where_no_share_of_the_budget_is_enough_that_is_said(tell: Tell) -> None:
    said = limit_advice.budget(tell("out of budget").campaign)
    assert said.startswith("All of the error budget is too little for the rest (now 5 %: 5 bad ")
    assert said.endswith("take a longer budget.window; or narrow the ladder.")


def test_a_narrower_ladder_starts_where_it_held(tell: Tell) -> None:
    assert limit_advice.budget(tell("interrupted").campaign).endswith(
        "or narrow the ladder: from 101 ms."
    )
    assert limit_advice.budget(tell("open").campaign).endswith("the ladder: from 101 ms to 402 ms.")


def test_a_coarser_resolution_is_named_where_it_fits(tell: Tell) -> None:
    campaign = tell("out of budget").campaign
    budget = replace(campaign.scenario.budget, requests=14_000)
    said = limit_advice.budget(
        replace(campaign, scenario=replace(campaign.scenario, budget=budget))
    )
    assert "or ask for less: search.resolution " in said
    assert "should fit, with about " in said


def test_time_samples_and_severity_have_their_price(tell: Tell) -> None:
    campaign = tell("open").campaign
    for said in (
        limit_advice.time(campaign),
        limit_advice.samples(campaign),
        limit_advice.capped(campaign),
    ):
        assert "the rest needs about 230 requests, 15 of them bad" in said


def test_the_price_of_a_higher_cap_is_that_without_one(tell: Tell) -> None:
    campaign = tell("guardrail").campaign
    unlimited = replace(campaign.scenario.guardrails, max_severity=None)
    scenario = replace(campaign.scenario, guardrails=unlimited)
    assert limit_advice.capped(campaign) == limit_advice.capped(
        replace(campaign, scenario=scenario)
    )
