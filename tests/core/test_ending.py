from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.ending import CODES, PRECEDENCE, ending, stopped_for, worst
from chaosbandit.core.model import Cause, Dose, GateOutcome, Purpose, Stop
from chaosbandit.core.scenario import Scenario, Search
from chaosbandit.errors import Exit
from tests.core.by_hand import ARMS, bracketed, exposed, measured
from tests.simulated import scenario

EXPECTED = {
    Cause.BRACKETED: 0,
    Cause.HELD_AT_CAP: 0,
    Cause.BROKE_AT_MILDEST: 0,
    Cause.GATE_DECIDED: 0,
    Cause.INCONCLUSIVE: 4,
    Cause.ASSUMPTIONS: 4,
    Cause.NOT_EXERCISED: 4,
    Cause.NOT_MONOTONE: 4,
    Cause.NOT_STOOD: 4,
    Cause.NOT_REPEATED: 4,
    Cause.CAPPED: 5,
    Cause.BUDGET: 5,
    Cause.SAMPLES: 5,
    Cause.TIME: 5,
    Cause.FROZEN: 5,
    Cause.HARNESS: 6,
    Cause.TARGET: 6,
    Cause.STEADY_STATE: 6,
    Cause.TOXIPROXY: 6,
    Cause.INTERRUPTED: 130,
    Cause.TERMINATED: 143,
    Cause.NOT_CLEAN: 7,
    Cause.POLICY: 1,
    Cause.INTERNAL: 1,
}
RANKED = (7, 1, 130, 143, 3, 6, 5, 4, 0)
AT_ONCE = Search(hold_s=0.0)


def gated(bound_s: float | None = None) -> Campaign:
    """Held at 105 ms and broke at 113 ms; a gate at `bound_s`, if any."""
    require = {} if bound_s is None else {"slow": bound_s}
    return bracketed(scenario(over=ARMS, search=AT_ONCE, require=require))


PASSED, FAILED, UNDECIDED = 0.1, 0.12, 0.11  # s; bounds that come to that


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_has_its_exit_code(cause: Cause) -> None:
    found = ending(gated(), cause)
    assert found.exit_code == CODES[cause] == EXPECTED[cause]
    assert found.cause is cause
    assert found.answered is (EXPECTED[cause] == 0)
    assert found.gates == {}


def test_the_table_is_whole() -> None:
    assert set(CODES) == set(Cause) == set(EXPECTED)
    assert PRECEDENCE == RANKED
    assert set(CODES.values()) | {Exit.GATE_FAILED} == set(PRECEDENCE)


@pytest.mark.parametrize("one", Cause)
@pytest.mark.parametrize("other", Cause)
def test_where_two_apply_the_first_in_order_is_the_code(one: Cause, other: Cause) -> None:
    codes = {EXPECTED[one], EXPECTED[other]}
    assert ending(gated(), one, other).exit_code == min(codes, key=RANKED.index)


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize(
    ("bound_s", "outcome", "code"),
    [
        (PASSED, GateOutcome.PASSED, None),
        (FAILED, GateOutcome.FAILED, Exit.GATE_FAILED),
        (UNDECIDED, GateOutcome.UNDECIDED, Exit.INCONCLUSIVE),
    ],
)
def test_a_gate_has_its_place_among_the_causes(
    cause: Cause, bound_s: float, outcome: GateOutcome, code: Exit | None
) -> None:
    found = ending(gated(bound_s), cause)
    assert found.gates == {"slow": outcome}
    codes = {EXPECTED[cause]} | (set() if code is None else {int(code)})
    assert found.exit_code == min(codes, key=RANKED.index)


@pytest.mark.parametrize("cause", [Cause.BUDGET, Cause.TIME, Cause.SAMPLES, Cause.TARGET])
def test_a_gate_that_is_certified_to_fail_fails_whatever_ended_the_run(cause: Cause) -> None:
    assert ending(gated(FAILED), cause).exit_code == Exit.GATE_FAILED


def test_a_failed_gate_is_an_answer_too() -> None:
    assert ending(gated(FAILED), Cause.BRACKETED).answered
    assert not ending(gated(FAILED), Cause.BUDGET).answered


def test_an_interrupt_and_leftovers_outrank_it() -> None:
    assert ending(gated(FAILED), Cause.INTERRUPTED).exit_code == Exit.SIGINT
    assert ending(gated(FAILED), Cause.TERMINATED).exit_code == Exit.SIGTERM
    assert ending(gated(FAILED), Cause.BRACKETED, Cause.NOT_CLEAN).exit_code == Exit.NOT_CLEAN


def test_an_undecided_gate_is_not_a_failed_one() -> None:
    assert ending(gated(UNDECIDED), Cause.BRACKETED).exit_code == Exit.INCONCLUSIVE
    assert ending(gated(UNDECIDED), Cause.BUDGET).exit_code == Exit.GUARDRAIL


# --- what speaks against the claims ---------------------------------------------------------------


def asked(**search: object) -> Scenario:
    return scenario(over=ARMS, search=replace(AT_ONCE, **search))  # type: ignore[arg-type]


def not_stood() -> Campaign:
    campaign = exposed(measured(asked()), 2, Purpose.HELD, 420, 0)
    return exposed(campaign, 2, Purpose.SEARCH, 300, 20)


def not_repeated() -> Campaign:
    return exposed(bracketed(asked()), 5, Purpose.SEARCH, 800, 0)


def not_exercised() -> Campaign:
    unfelt = Dose(0.105, 0.105, 0.0)
    return exposed(measured(asked()), 2, Purpose.HELD, 900, 0, unfelt)


def not_monotone() -> Campaign:
    campaign = exposed(measured(asked(monotone_check=True)), 7, Purpose.HELD, 420, 0)
    return exposed(campaign, 2, Purpose.SEARCH, 5, 15)


def assumptions() -> Campaign:
    campaign = exposed(bracketed(asked()), 1, Purpose.BROKE, 0, 3)
    return exposed(campaign, 7, Purpose.HELD, 2000, 0)


WITHDRAWN = [
    (
        not_stood,
        Cause.NOT_STOOD,
        "fails from 6.0 s after the injection on (20 of 20 bad); timing.w",
    ),
    (not_repeated, Cause.NOT_REPEATED, "113 ms broke once and held when it was exposed again"),
    (not_exercised, Cause.NOT_EXERCISED, "path not exercised: "),
    (not_monotone, Cause.NOT_MONOTONE, "105 ms broke (15 of 20 bad) though 118 ms holds"),
    (assumptions, Cause.ASSUMPTIONS, "assumptions failed: no breaking point fits"),
]


@pytest.mark.parametrize(("made", "cause", "said"), WITHDRAWN)
@pytest.mark.parametrize("stop", [Cause.BRACKETED, Cause.HELD_AT_CAP, Cause.INCONCLUSIVE])
def test_what_speaks_against_the_claims_goes_before_what_they_say(
    made: object, cause: Cause, said: str, stop: Cause
) -> None:
    assert callable(made)
    found, reason = stopped_for(made(), Stop("held and broke", answered=True, cause=stop))
    assert found is cause
    assert said in reason


@pytest.mark.parametrize(("made", "cause", "said"), WITHDRAWN)
@pytest.mark.parametrize("stop", [Cause.BUDGET, Cause.TIME, Cause.SAMPLES, Cause.CAPPED])
def test_a_limit_that_ended_the_run_is_still_why_it_ended(
    made: object, cause: Cause, said: str, stop: Cause
) -> None:
    assert callable(made)
    assert stopped_for(made(), Stop("over", cause=stop)) == (stop, "over")


def test_where_nothing_speaks_against_it_a_stop_is_as_it_was_said() -> None:
    stop = Stop("held and broke", answered=True, cause=Cause.BRACKETED)
    assert stopped_for(bracketed(asked()), stop) == (Cause.BRACKETED, "held and broke")


@pytest.mark.parametrize(
    ("causes", "found"),
    [
        ([Cause.BRACKETED, Cause.BUDGET], Cause.BUDGET),
        ([Cause.INCONCLUSIVE, Cause.HELD_AT_CAP], Cause.INCONCLUSIVE),
        ([Cause.TIME, Cause.INCONCLUSIVE, Cause.BRACKETED], Cause.TIME),
        ([Cause.BRACKETED, Cause.HELD_AT_CAP], Cause.BRACKETED),
    ],
)
def test_several_ladders_are_over_for_the_worst_of_their_causes(
    causes: list[Cause], found: Cause
) -> None:
    assert worst(causes) is found
