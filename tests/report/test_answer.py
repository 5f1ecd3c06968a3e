from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaosbandit.core import judge
from chaosbandit.report import answer

if TYPE_CHECKING:
    from tests.report.conftest import Tell


@pytest.mark.parametrize(
    ("story", "sentence"),
    [
        ("answered", "slow-inventory holds at 192 ms and breaks at 206 ms (95 % confidence)."),
        (
            "open",
            "slow-inventory holds at 101 ms and breaks at 402 ms (95 % confidence); the gap was "
            "not closed.",
        ),
        (
            "held at the cap",
            "slow-inventory holds at 1 s, the harshest severity allowed (95 % confidence).",
        ),
        (
            "broke at once",
            "slow-inventory breaks already at 10 ms, its mildest severity (95 % confidence).",
        ),
        ("out of budget", "slow-inventory: the breaking point is not known."),
        (
            "interrupted",
            "slow-inventory holds at 101 ms (95 % confidence); where it breaks is not known.",
        ),
        (
            "not exercised",
            "slow-inventory was not exercised: its faults arrived, but no request felt them.",
        ),
        ("not steady", "slow-inventory was not tested: the steady state is not met."),
        ("void", "slow-inventory: the breaking point is not known."),
        ("cut off", "slow-inventory: the breaking point is not known."),
    ],
)
def test_sentence(tell: Tell, story: str, sentence: str) -> None:
    campaign = tell(story).campaign
    assert answer.sentence(campaign, judge.bracket(campaign)) == sentence


@pytest.mark.parametrize(
    ("story", "advice"),
    [
        ("answered", ""),
        ("held at the cap", ""),
        ("guardrail", ""),
        ("out of budget", "Raise budget.spend (now 5 %: 5 bad requests per run), or narrow"),
        ("interrupted", "The run was interrupted; what it certified stands."),
        ("not exercised", "Check that http://127.0.0.1:9200/{n} needs inventory to answer"),
        ("not steady", "Make the SLOs hold without any fault first"),
        ("not clean", "Remove what is left with `chaosbandit clean`"),
        ("void", "Repair what made exposures void, then run again: not delivered: 3 ms of 100 ms"),
        ("cut off", "Run `chaosbandit clean`, then start again"),
        ("two ladders", ""),
        (
            "one of three",
            "Raise budget.spend (now 5 %: 13 bad requests per run), or narrow slow-prices "
            "(from 99 ms) and slow-search.",
        ),
        ("one not exercised", "Check that http://127.0.0.1:9200/{n} needs prices to answer"),
    ],
)
def test_next_step(tell: Tell, story: str, advice: str) -> None:
    campaign = tell(story).campaign
    found = answer.next_step(campaign)
    assert found.startswith(advice)
    assert bool(found) == bool(advice)


def test_the_cap_of_the_guardrails_counts_as_the_harshest(tell: Tell) -> None:
    assert answer.harshest_allowed(tell("answered").campaign) == 1.0
    assert answer.harshest_allowed(tell("guardrail").campaign) == pytest.approx(0.109, abs=0.002)


def test_warnings(tell: Tell) -> None:
    assert answer.warnings(tell("answered").campaign) == ()
    void, lost = answer.warnings(tell("interrupted").campaign)
    assert void == "1 of 2 exposures void: interrupted with 4 requests in flight"
    assert lost == "4 requests lost in flight, charged to the budget as bad"
