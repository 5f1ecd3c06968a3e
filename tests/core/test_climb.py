from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.core.campaign import Campaign, apply, begin
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.events import Decided, Event, ExposureEnded, ExposureStarted, Observed
from chaosbandit.core.model import Dose, Expose, Health, Phase, Purpose, Validity
from chaosbandit.core.scenario import Guardrails, Search
from tests.simulated import AVAILABILITY, LATENCY, errors_ladder, header, ladder, sample, scenario


def two() -> Campaign:
    """A campaign on two ladders, the second of which was exposed."""
    asked = scenario(AVAILABILITY, LATENCY, search=Search(max_duration_s=100.0))
    asked = replace(
        asked,
        ladders=(ladder(0.1, 0.2), errors_ladder()),
        guardrails=Guardrails(max_severity=0.15, max_severity_unit="s"),
    )
    campaign = begin(asked, setup_samples=7.0)
    bet = Expose(asked.ladders[1].variant(4), 2, Purpose.SEARCH)
    bad = sample(2, bad=True, slos=asked.slos)
    events: tuple[Event, ...] = (
        header(now_s=10.0),
        Decided(0, bet, 0, 10.0),
        ExposureStarted(1, 4, 0.002, "fault", 10.0, "errors"),
        Observed(Phase.MEASURE, 0, (sample(1, slos=asked.slos), bad)),
    )
    for event in events:
        campaign = apply(campaign, event)
    return campaign


def test_each_ladder_has_its_own_climb() -> None:
    first, second = climbs(two())
    assert [each.ladder.name for each in (first, second)] == ["slow", "errors"]
    assert (first.standing, second.standing) == (None, 4)
    assert (first.highest_exposed, second.highest_exposed) == (None, 4)
    assert (first.samples, second.samples) == (0, 2)
    assert (first.arms[4].samples, second.arms[4].any_bad) == (0, 1)
    assert (first.current, second.current) == (None, second.campaign.current)
    assert (first.cap, second.cap) == (0.15, None)
    assert second.certificate is second.known.certificate
    assert len(first.beliefs) == len(second.beliefs) == 2


def test_they_share_budget_clock_and_history() -> None:
    campaign = replace(two(), unresolved=3, asked_s=40.0)
    for climb in climbs(campaign):
        assert climb.several
        assert climb.spent_samples == 2
        assert climb.budget_left == campaign.budget_left() == 999
        assert climb.left_s == pytest.approx(70.0)
        assert climb.unresolved == 3
        assert climb.setup_samples == 7.0
        assert climb.search is climb.scenario.search
        assert climb.slos == campaign.slos


def test_an_exposure_that_ended_belongs_to_its_ladder() -> None:
    campaign = two()
    end = ExposureEnded(1, 4, Validity(True), Dose(0.002), Health(), 0, None, 12.0)
    first, second = climbs(apply(campaign, end))
    assert first.exposures == ()
    assert [each.n for each in second.exposures] == [1]
    assert second.current is None and second.standing is None


def test_one_ladder_alone_is_not_several() -> None:
    assert not Climb(begin(scenario())).several


def test_before_its_header_a_run_has_all_its_time() -> None:
    asked = scenario(search=Search(max_duration_s=100.0))
    assert Climb(replace(begin(asked), asked_s=40.0)).left_s == 100.0
