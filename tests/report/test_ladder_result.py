from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.model import GateOutcome
from chaosbandit.report.records import LadderResult
from chaosbandit.report.result import result_of

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def first(tell: Tell, story: str) -> LadderResult:
    return result_of(tell(story).campaign).ladders[0]


@pytest.mark.parametrize(
    ("story", "text"),
    [
        ("answered", "192 ms stood 1.9 s; not looked at beyond 1.9 s"),
        (
            "stood too short",
            "192 ms stood only 1.9 s of the 15 s asked; not looked at beyond 1.9 s",
        ),
    ],
)
def test_how_long_the_held_end_stood(tell: Tell, story: str, text: str) -> None:
    hold = first(tell, story).hold
    assert hold is not None
    assert hold.text == text
    assert hold.stood_s == pytest.approx(1.94)


def test_what_is_not_held_did_not_stand_for_anything(tell: Tell) -> None:
    for story in ("broke at once", "out of budget", "not stood", "not exercised"):
        assert first(tell, story).hold is None
        assert first(tell, story).rests_held is None


def test_each_end_rests_on_its_own_samples(tell: Tell) -> None:
    found = first(tell, "answered")
    assert found.rests_held is not None
    assert found.rests_broke is not None
    assert (found.rests_held.samples, found.rests_held.bad) == (80, 0)
    assert found.rests_broke.text == "12 requests at 206 ms (12 bad) in 1 exposure"


def test_what_broke_twice_rests_on_both_exposures(tell: Tell) -> None:
    found = first(tell, "not stood").rests_broke
    assert found is not None
    assert (found.samples, found.bad, found.exposures) == (15, 15, 2)


def test_blocks_and_ages_are_there(tell: Tell) -> None:
    assert first(tell, "answered").block == 1
    assert first(tell, "clumps").block == 24
    ages = first(tell, "not stood").ages_held
    assert ages is not None
    assert ages.severity_text == "192 ms"
    assert ages.late_s == pytest.approx(3.02)


def test_a_gate_needs_the_hold(tell: Tell) -> None:
    passed, short = first(tell, "answered").gate, first(tell, "stood too short").gate
    assert passed is not None
    assert short is not None
    assert (passed.outcome, short.outcome) == (GateOutcome.PASSED, GateOutcome.UNDECIDED)
