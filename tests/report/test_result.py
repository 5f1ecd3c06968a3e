from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.model import GateOutcome, Route, VerdictKind
from chaosbandit.report.records import Cleanliness
from chaosbandit.report.result import result_of

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def test_an_answered_run_in_numbers(tell: Tell) -> None:
    result = result_of(tell("answered").campaign, journal=Path("/tmp/a.jsonl"))
    assert result.schema == 2
    assert (result.scenario, result.run, result.seed) == ("storefront-slow-inventory", "3fa9c1", 7)
    assert (result.answered, result.exit_code, result.journal) == (True, 0, "/tmp/a.jsonl")
    (ladder,) = result.ladders
    assert (ladder.ladder, ladder.proxy, ladder.samples) == ("slow-inventory", "inventory", 112)
    assert ladder.answer == result.answer
    between = ladder.bracket
    assert (between.held_text, between.broke_text, between.closed) == ("192 ms", "206 ms", True)
    assert between.unit == "s"
    assert between.confidence == 0.95
    assert result.clean is Cleanliness.VERIFIED
    assert result.versions == {"chaosbandit": "0.1.0", "toxiproxy": "2.12.0"}
    assert result.duration_s == pytest.approx(5.52)
    assert result.started_epoch_s == 1.8e9
    assert result.warnings == ()
    assert result.next_step == ""


def test_requests_are_counted_by_route_in_every_phase(tell: Tell) -> None:
    routes = {each.route: each for each in result_of(tell("answered").campaign).requests}
    # 40 steady, then per exposure 5 warm-up and 10 wash-out, and 20 + 80 + 12 measured
    assert routes[Route.CANARY].sent == 40 + 3 * 15 + 112
    assert routes[Route.CANARY].bad == {"availability": 0, "latency": 12}
    assert routes[Route.CONTROL].sent == 40 + 3 * 10
    assert routes[Route.CHECK].sent == 9


def test_the_budget_is_charged_gross(tell: Tell) -> None:
    availability, latency = result_of(tell("answered").campaign).budgets
    assert (availability.spent, availability.left) == (0, 100)
    assert (latency.allowed, latency.spent, latency.left) == (100, 12, 88)
    assert latency.window_share == pytest.approx(12 / 2000)
    assert latency.excess_over_control == pytest.approx(12)
    assert latency.burn_rate == pytest.approx(12 / 197 / 0.1)


def test_lost_requests_are_spent(tell: Tell) -> None:
    result = result_of(tell("interrupted").campaign)
    availability, latency = result.budgets
    assert result.lost == 4
    assert (availability.spent, latency.spent) == (4, 6)


def test_what_the_control_failed_too_explains_as_much_of_all_that_was_sent(tell: Tell) -> None:
    """Its share of bad ones, 8 of 50, and what was lost counts as sent."""
    result = result_of(replace(tell("dead").campaign, lost=10))
    sent = next(each.sent for each in result.requests if each.route is Route.CANARY)
    availability = result.budgets[0]
    explained = (sent + 10) * 8 / 50
    assert availability.excess_over_control == pytest.approx(availability.spent - explained)


def test_what_was_recorded_at_the_end_is_told(tell: Tell) -> None:
    campaign = tell("answered").campaign
    assert campaign.stopped is not None
    stopped = replace(campaign.stopped, exit_code=5, clean=False)
    result = result_of(replace(campaign, stopped=stopped))
    assert (result.exit_code, result.clean) == (5, Cleanliness.REMOVED)


def test_arms_carry_verdicts_and_numbers(tell: Tell) -> None:
    arms = result_of(tell("answered").campaign).ladders[0].arms
    assert [(arm.severity_text, arm.verdict, arm.measured) for arm in arms] == [
        ("101 ms", VerdictKind.HELD, False),
        ("192 ms", VerdictKind.HELD, True),
        ("206 ms", VerdictKind.BROKE, True),
    ]
    assert (arms[2].samples, arms[2].bad) == (12, {"availability": 0, "latency": 12})
    assert "certified" in arms[1].sentence


def test_exposures_carry_dose_and_validity(tell: Tell) -> None:
    result = result_of(tell("void").campaign)
    assert [exposure.valid for exposure in result.exposures] == [False] * 3
    assert result.exposures[0].why.startswith("not delivered")
    answered = result_of(tell("answered").campaign)
    last = answered.exposures[-1]
    assert (last.n, last.samples, last.warmup, last.valid) == (3, 12, 5, True)
    (ladder,) = answered.ladders
    assert last.ladder == "slow-inventory"
    assert last.dose == ladder.dose_broke
    assert ladder.dose_held is not None
    assert ladder.dose_held.delivered == pytest.approx(0.193)
    assert last.after_s == pytest.approx(5.52 - 0.8 + 0.06, abs=0.3)


def test_void_exposures_give_no_dose(tell: Tell) -> None:
    (ladder,) = result_of(tell("void").campaign).ladders
    assert (ladder.dose_held, ladder.dose_broke) == (None, None)
    assert ladder.samples == 60


@pytest.mark.parametrize(
    ("story", "outcome"),
    [
        ("answered", GateOutcome.PASSED),
        ("broke at once", GateOutcome.FAILED),
        ("open", GateOutcome.UNDECIDED),
        ("not exercised", GateOutcome.UNDECIDED),
    ],
)
def test_gates(tell: Tell, story: str, outcome: GateOutcome) -> None:
    (ladder,) = result_of(tell(story).campaign).ladders
    gate = ladder.gate
    assert gate is not None
    assert (gate.outcome, gate.above_text) == (outcome, "150 ms")


def test_a_journal_that_was_cut_off_is_reported_as_such(tell: Tell) -> None:
    result = result_of(tell("cut off").campaign)
    assert result.clean is Cleanliness.UNKNOWN
    assert result.answered is False
    assert result.exit_code == 4
    (exposure,) = result.exposures
    assert (exposure.valid, exposure.why) == (False, "still open")


def test_not_clean_is_kept_apart_from_the_answer(tell: Tell) -> None:
    result = result_of(tell("not clean").campaign)
    assert (result.clean, result.exit_code) == (Cleanliness.NOT_CONFIRMED, 7)
    assert result.ladders[0].bracket.held_text == "101 ms"


def test_the_callers_exit_code_and_warnings_win(tell: Tell) -> None:
    result = result_of(tell("answered").campaign, exit_code=7, warnings=["the clock jumped"])
    assert (result.exit_code, result.warnings) == (7, ("the clock jumped",))


def test_steady_state(tell: Tell) -> None:
    assert result_of(tell("answered").campaign).steady.met is True
    assert "30 of 100 bad" in result_of(tell("not steady").campaign).steady.why


# --- several ladders ------------------------------------------------------------------------------


def test_each_ladder_has_its_own_answer_and_all_share_the_rest(tell: Tell) -> None:
    result = result_of(tell("two ladders").campaign)
    inventory, prices = result.ladders
    assert result.answer == f"{inventory.answer}\n{prices.answer}"
    assert (inventory.bracket.held_text, inventory.bracket.broke_text) == ("192 ms", "206 ms")
    assert (prices.ladder, prices.proxy) == ("slow-prices", "prices")
    assert (prices.bracket.held_text, prices.bracket.broke_text) == ("20 ms", "22 ms")
    assert [arm.severity_text for arm in prices.arms] == ["20 ms", "22 ms"]
    assert (inventory.samples, prices.samples) == (92, 92)
    assert inventory.gate is not None
    assert prices.gate is None
    (latency,) = [budget for budget in result.budgets if budget.slo == "latency"]
    assert latency.spent == 24


def test_exposures_say_of_which_ladder_they_were(tell: Tell) -> None:
    exposures = result_of(tell("two ladders").campaign).exposures
    assert [(each.ladder, each.severity_text) for each in exposures] == [
        ("slow-inventory", "192 ms"),
        ("slow-prices", "20 ms"),
        ("slow-inventory", "206 ms"),
        ("slow-prices", "22 ms"),
    ]


def test_doses_are_those_of_the_ladder(tell: Tell) -> None:
    inventory, search = result_of(tell("alike").campaign).ladders
    assert inventory.dose_held is not None
    assert search.dose_held is not None
    assert inventory.dose_held.asked == search.dose_held.asked == 0.192
    assert inventory.dose_held.felt == pytest.approx(0.192)
    assert search.dose_held.felt == pytest.approx(0.096)


def test_a_ladder_whose_turn_never_came(tell: Tell) -> None:
    result = result_of(tell("one of three").campaign)
    search = result.ladders[-1]
    assert (search.dose_held, search.samples, search.arms) == (None, 0, ())
    assert search.answer == "slow-search was not tested: the run ended before its turn came."
