from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.model import Route, VerdictKind
from chaosbandit.report.records import Cleanliness, GateOutcome
from chaosbandit.report.result import result_of

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def test_an_answered_run_in_numbers(tell: Tell) -> None:
    result = result_of(tell("answered").campaign, journal=Path("/tmp/a.jsonl"))
    assert result.schema == 1
    assert (result.scenario, result.run, result.seed) == ("storefront-slow-inventory", "3fa9c1", 7)
    assert (result.answered, result.exit_code, result.journal) == (True, 0, "/tmp/a.jsonl")
    between = result.bracket
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


def test_arms_carry_verdicts_and_numbers(tell: Tell) -> None:
    arms = result_of(tell("answered").campaign).arms
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
    assert last.dose == answered.dose_broke
    assert answered.dose_held is not None
    assert answered.dose_held.delivered == pytest.approx(0.193)
    assert last.after_s == pytest.approx(5.52 - 0.8 + 0.06, abs=0.3)


def test_void_exposures_give_no_dose(tell: Tell) -> None:
    result = result_of(tell("void").campaign)
    assert (result.dose_held, result.dose_broke) == (None, None)


@pytest.mark.parametrize(
    ("story", "outcome"),
    [
        ("answered", GateOutcome.PASSED),
        ("broke at once", GateOutcome.FAILED),
        ("open", GateOutcome.UNPROVEN),
        ("not exercised", GateOutcome.UNPROVEN),
    ],
)
def test_gates(tell: Tell, story: str, outcome: GateOutcome) -> None:
    (gate,) = result_of(tell(story).campaign).gates
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
    assert result.bracket.held_text == "101 ms"


def test_the_callers_exit_code_and_warnings_win(tell: Tell) -> None:
    result = result_of(tell("answered").campaign, exit_code=7, warnings=["the clock jumped"])
    assert (result.exit_code, result.warnings) == (7, ("the clock jumped",))


def test_steady_state(tell: Tell) -> None:
    assert result_of(tell("answered").campaign).steady.met is True
    assert "30 of 100 bad" in result_of(tell("not steady").campaign).steady.why
