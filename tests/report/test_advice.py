from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.model import Cause
from chaosbandit.core.scenario import Guardrails
from chaosbandit.report.advice import next_step

if TYPE_CHECKING:
    from tests.report.conftest import Tell

ANSWERS = {Cause.BRACKETED, Cause.HELD_AT_CAP, Cause.BROKE_AT_MILDEST, Cause.GATE_DECIDED}


@pytest.mark.parametrize(
    ("story", "advice"),
    [
        ("answered", ""),
        ("held at the cap", ""),
        ("guardrail", "Raise guardrails.max_severity if harsher faults may be injected: the rest "),
        ("out of budget", "All of the error budget is too little for the rest (now 5 %: 5 bad "),
        ("open", "Raise search.max_duration (now 1800 s) about 1.1 times, or traffic.rate (now"),
        ("clumps", "Raise search.max_samples (now 80) to about 10,000: the rest needs about "),
        ("not stood", "See what fills or empties by then (a pool, a queue, a cache)."),
        ("late", "See what fills or empties by then (a pool, a queue, a cache)."),
        ("not repeated", "See what else failed when it broke (its time is in the journal)"),
        ("early", "Run again: the rest needs about "),
        ("dead", "Bring the target back first: its control route"),
        (
            "slow recovery",
            "See what is slow to recover (pools, queues, breakers), or raise timing.w",
        ),
        ("stood too short", ""),
        (
            "gate inside",
            "What require asks of slow-inventory lies between what held and what broke",
        ),
        ("interrupted", "The run was interrupted; what it certified stands."),
        ("not exercised", "Check that http://127.0.0.1:9200/{n} needs inventory to answer"),
        ("not steady", "Make the SLOs hold without any fault first"),
        ("not clean", "Remove what is left with `chaosbandit clean`"),
        ("void", "Repair what made exposures void, then run again: not delivered: 3 ms of 100 ms"),
        ("cut off", "Run `chaosbandit clean`, then start again"),
        ("two ladders", ""),
        (
            "one of three",
            "Raise budget.spend about 7.5 times (now 5 %: 13 bad requests per run; the rest needs ",
        ),
        ("one not exercised", "Check that http://127.0.0.1:9200/{n} needs prices to answer"),
    ],
)
def test_next_step(tell: Tell, story: str, advice: str) -> None:
    campaign = tell(story).campaign
    found = next_step(campaign)
    assert found.startswith(advice)
    assert bool(found) == bool(advice)


@pytest.mark.parametrize(
    ("story", "price"),
    [
        ("open", r"the rest needs about [\d,]+ requests, [\d,]+ of them bad"),
        ("interrupted", r"for the rest: about [\d,]+ requests, [\d,]+ of them bad"),
        ("late", r"timing\.warmup: 4s \(now 300 ms\): each exposure takes 3\.7 s longer, a run of"),
        ("slow recovery", r"timing\.washout \(now 15 s\) to 30 s: an exposure .* up to 1 min 00 s"),
        ("gate inside", r"half of it takes up to four times the requests"),
        ("one of three", r"narrow slow-prices \(from 99 ms\) and slow-search\.$"),
    ],
)
def test_every_advice_says_what_it_costs(tell: Tell, story: str, price: str) -> None:
    assert re.search(price, next_step(tell(story).campaign))


def test_a_longer_warmup_needs_room_in_the_exposure(tell: Tell) -> None:
    campaign = tell("late").campaign
    scenario = replace(campaign.scenario, guardrails=Guardrails(max_exposure_s=5.0))
    assert "max_exposure" not in next_step(campaign)
    wanted = "timing.warmup: 4s (now 300 ms) and guardrails.max_exposure: 8s"  # 1.5 + 4 + 2
    assert wanted in next_step(replace(campaign, scenario=scenario))


@pytest.mark.parametrize("cause", sorted(set(Cause) - ANSWERS))
def test_no_cause_but_an_answer_leaves_one_without_advice(tell: Tell, cause: Cause) -> None:
    campaign = tell("open").campaign
    assert campaign.stopped is not None
    stopped = replace(campaign.stopped, cause=cause)
    assert next_step(replace(campaign, stopped=stopped)).endswith(".")
