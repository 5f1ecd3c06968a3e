from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.climb import climbs
from chaosbandit.core.model import Purpose
from chaosbandit.core.scenario import Search
from chaosbandit.report import answer_cost
from chaosbandit.report.answer_cost import Cost
from chaosbandit.sim import simulate_campaign
from tests.report.conftest import Story
from tests.simulated import cliff, scenario, world

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def test_an_answer_needs_nothing_more(tell: Tell) -> None:
    for story in ("answered", "held at the cap", "broke at once", "two ladders"):
        assert answer_cost.rest(tell(story).campaign) == Cost()


def test_what_is_certified_is_not_paid_again() -> None:
    before = Story().start().steady().expose(0.1, Purpose.HELD, 20)
    after = Story().start().steady().expose(0.1, Purpose.HELD, 80)
    assert answer_cost.rest(after.campaign).samples < answer_cost.rest(before.campaign).samples


def test_longer_blocks_cost_as_many_times(tell: Tell) -> None:
    campaign = at_once(tell("clumps").campaign)
    (climb,) = climbs(campaign)
    single = replace(climb.certificate, block=1)
    known = replace(climb.known, weighing=replace(climb.known.weighing, certificate=single))
    cheap = answer_cost.rest(replace(campaign, ladders=(known,)))
    assert answer_cost.rest(campaign).samples == pytest.approx(24 * cheap.samples, rel=0.05)


def at_once(campaign: Campaign, hold_s: float = 0.0) -> Campaign:
    """The same with another `search.hold`."""
    search = replace(campaign.scenario.search, hold_s=hold_s)
    return replace(campaign, scenario=replace(campaign.scenario, search=search))


def test_the_rest_of_a_hold_is_counted_where_it_takes_longer(tell: Tell) -> None:
    campaign = tell("open").campaign
    claims = answer_cost.rest(at_once(campaign))
    assert answer_cost.rest(at_once(campaign, 2.0)) == claims
    held = answer_cost.rest(at_once(campaign, 61.94))
    assert held.samples == pytest.approx(50.0 * 60.0)
    assert held.bad == claims.bad


def test_the_order_of_magnitude_is_right() -> None:
    """What runs that were cut short were told to need still, beside what they did need."""
    ratios = []
    for seed in range(8):
        search = Search(max_samples=250)
        cut = simulate_campaign(scenario(search=search), world(cliff(0.19), seed), seed=seed)
        whole = simulate_campaign(scenario(), world(cliff(0.19), seed), seed=seed)
        ratios.append(answer_cost.rest(cut).samples / (whole.spent_samples - cut.spent_samples))
    assert 0.5 <= median(ratios) <= 2.0
    assert max(ratios) <= 10.0
    assert min(ratios) >= 0.1


def test_a_coarser_answer_is_cheaper_and_fits(tell: Tell) -> None:
    campaign = tell("out of budget").campaign
    found = answer_cost.affordable(campaign, 40)
    assert found is not None
    resolution, cost = found
    assert resolution > campaign.scenario.search.resolution
    assert cost.bad <= 40


def test_nothing_coarser_is_named_where_it_is_not_needed_or_does_not_help(tell: Tell) -> None:
    campaign = tell("out of budget").campaign
    assert answer_cost.affordable(campaign, 100_000) is None
    assert answer_cost.affordable(campaign, 0) is None


def test_a_price_in_words() -> None:
    assert answer_cost.price(Cost(2634.0, 31.4)) == "about 2,600 requests, 31 of them bad"
