"""Single decisions, good and bad: what is complained of, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Expose, Purpose, Stop
from chaosbandit.core.scenario import Guardrails
from chaosbandit.sim.manners import (
    answers_only_what_is_certified,
    asks_for_samples,
    bets_on_the_side_it_names,
    climbs_by_the_escalation_factor,
    complaint,
    keeps_to_max_samples,
    samples_left,
    sends_whole_blocks,
    stays_under_the_cap,
)
from chaosbandit.sim.trial import scenario_of
from tests.policy_steps import begun, fold


def opened(block: int | None = None, cap: float | None = None, **asked: Any) -> Campaign:
    """Before the first sample: 98 arms from 1 to 10, tau 5 %."""
    scenario = scenario_of(1.0, 10.0, 0.95, **asked)
    search = replace(scenario.search, block=block)
    limits = replace(scenario.guardrails, max_severity=cap) if cap else Guardrails()
    return begun(replace(scenario, search=search, guardrails=limits), (0.005,), 0.0)


def batch(campaign: Campaign, arm: int = 0, **changes: Any) -> Expose:
    return replace(Expose(campaign.ladder.variant(arm), 8, Purpose.SEARCH), **changes)


def seen(campaign: Campaign, arm: int, good: int, bad: int = 0) -> Campaign:
    flags = np.array([[i < bad] for i in range(good + bad)])
    return fold(campaign, batch(campaign, arm, samples=good + bad), flags)


def test_a_look_at_the_mildest_arm_is_no_reason_to_complain() -> None:
    campaign = opened()
    assert complaint(campaign, batch(campaign)) is None
    assert complaint(campaign, Stop("no time")) is None
    found = complaint(campaign, batch(campaign, 1))
    assert found == "found arm 1 as the first exposure, wanted arm 0"


@pytest.mark.parametrize(
    ("purpose", "bets", "fits"),
    [
        (Purpose.SEARCH, (), True),
        (Purpose.SEARCH, (0.01,), False),
        (Purpose.HELD, (0.049,), True),
        (Purpose.HELD, (0.05,), False),
        (Purpose.HELD, (0.0,), False),
        (Purpose.HELD, (), False),
        (Purpose.HELD, (float("nan"),), False),
        (Purpose.HELD, [0.01], False),
        (Purpose.BROKE, (0.051,), True),
        (Purpose.BROKE, (0.05,), False),
        (Purpose.BROKE, (1.0,), False),
        (Purpose.BROKE, (0.2, 0.2), False),
    ],
)
def test_bets_are_on_the_side_they_name(purpose: Purpose, bets: Any, fits: bool) -> None:
    campaign = opened()
    found = bets_on_the_side_it_names(campaign, batch(campaign, purpose=purpose, bets=bets))
    assert (found is None) == fits, found


def test_samples_are_plain_numbers_a_journal_can_hold() -> None:
    campaign = opened()
    assert asks_for_samples(campaign, batch(campaign, stop_after_bad=1)) is None
    for odd in ({"samples": 0}, {"samples": 2.0}, {"samples": np.int64(5)}, {"stop_after_bad": 0}):
        assert asks_for_samples(campaign, batch(campaign, **odd)) is not None, odd


def test_how_far_it_may_climb_depends_on_what_was_seen_to_hold() -> None:
    campaign = seen(opened(), 0, 8)
    severities = campaign.ladder.severities
    highest = max(arm for arm, severity in enumerate(severities) if severity <= 2.0)
    assert climbs_by_the_escalation_factor(campaign, batch(campaign, highest)) is None
    found = climbs_by_the_escalation_factor(campaign, batch(campaign, highest + 1))
    wanted = f"wanted at most arm {highest}: the highest seen to hold is arm 0"
    assert found == f"found arm {highest + 1}, {wanted}"
    broken = seen(opened(), 0, 0, bad=8)
    found = climbs_by_the_escalation_factor(broken, batch(broken, 1))
    assert found == "found arm 1, wanted at most arm 0: no arm was seen to hold"


def test_an_arm_that_broke_does_not_carry_the_climb() -> None:
    for bad, carries in ((0, True), (5, False)):
        campaign = seen(seen(opened(), 0, 8), 29, 8 - bad, bad)
        assert climbs_by_the_escalation_factor(campaign, batch(campaign, 29)) is None
        found = climbs_by_the_escalation_factor(campaign, batch(campaign, 58))
        assert (found is None) == carries, found


def test_the_cap_counts() -> None:
    campaign = opened(cap=1.05)
    assert stays_under_the_cap(campaign, batch(campaign, 2)) is None
    assert "wanted at most arm 2" in (stays_under_the_cap(campaign, batch(campaign, 3)) or "")
    none = opened(cap=0.5)
    assert "wanted a Stop: every arm" in (stays_under_the_cap(none, batch(none)) or "")


def test_samples_in_flight_count_towards_the_limit() -> None:
    campaign = replace(seen(opened(max_samples=30), 0, 10), unresolved=5)
    assert samples_left(campaign) == 15
    assert keeps_to_max_samples(campaign, batch(campaign, samples=15)) is None
    found = keeps_to_max_samples(campaign, batch(campaign, samples=16))
    assert found == "found samples=16, wanted at most 15 (10 of 30 spent, 5 in flight)"


def test_blocks_are_whole_but_for_the_last() -> None:
    campaign = seen(opened(block=8, max_samples=30), 0, 16)
    fits = [
        n for n in range(1, 30) if sends_whole_blocks(campaign, batch(campaign, samples=n)) is None
    ]
    assert fits == [8, 14, 16, 24]


def test_an_answer_needs_certificates() -> None:
    campaign = seen(opened(), 0, 500)
    assert answers_only_what_is_certified(campaign, Stop("held", answered=True)) is not None
    assert answers_only_what_is_certified(campaign, Stop("do not know")) is None
    sick = batch(campaign, purpose=Purpose.BROKE, bets=(0.5,), samples=9)
    broken = fold(campaign, sick, np.ones((9, 1), dtype=np.bool_))
    assert answers_only_what_is_certified(broken, Stop("broke", answered=True)) is None
    assert (complaint(broken, batch(broken)) or "").startswith("found 8 more samples, wanted a St")
