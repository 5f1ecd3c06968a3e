from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chaosbandit.core import certified_claims
from chaosbandit.core.campaign import Arm, Campaign, apply
from chaosbandit.core.confirmation import stood_s
from chaosbandit.core.events import ExposureStarted, Observed
from chaosbandit.core.model import (
    Bracket,
    Cause,
    Dose,
    GateOutcome,
    Phase,
    Purpose,
    VerdictKind,
)
from chaosbandit.core.scenario import Search
from chaosbandit.core.slo import scored
from tests.core.by_hand import ARMS, bracketed, exposed, measured
from tests.simulated import AVAILABILITY, SLOPPY, knowing, ladder, only, sample, scenario


def bracketing(campaign: Campaign) -> Bracket:
    return certified_claims.bracket(only(campaign))


def test_two_certified_sides_close_a_bracket() -> None:
    found = bracketing(bracketed())
    assert (found.held, found.broke, found.closed) == (0.105, ARMS.severities[5], True)
    assert found.confidence == 0.95


def test_claims_name_what_was_measured_what_is_implied_and_what_is_unknown() -> None:
    campaign = exposed(bracketed(), 0, Purpose.SEARCH, 10, 0)
    campaign = exposed(campaign, 8, Purpose.SEARCH, 1, 2)
    found = certified_claims.verdicts(only(campaign))
    assert [(v.kind, v.measured, v.samples, v.bad) for v in found] == [
        (VerdictKind.HELD, False, 10, (0,)),
        (VerdictKind.HELD, True, 420, (0,)),
        (VerdictKind.UNKNOWN, True, 5, (0,)),
        (VerdictKind.BROKE, True, 2, (2,)),
        (VerdictKind.BROKE, False, 3, (2,)),
    ]
    text = [ARMS.text(v.severity) for v in found]
    assert [v.sentence for v in found] == [
        f"{text[0]}: held, 0 of 10 requests bad, implied by monotonicity",
        f"{text[1]}: held, 0 of 420 requests bad, certified at 0.95 confidence",
        f"{text[2]}: unknown, 0 of 5 requests bad",
        f"{text[3]}: broke, 2 of 2 requests bad, certified at 0.95 confidence",
        f"{text[4]}: broke, 2 of 3 requests bad, implied by monotonicity",
    ]


@pytest.mark.parametrize("sides", [1, 2])
def test_one_threshold_holds_for_one_side_and_for_two(sides: int) -> None:
    """1/delta, of what is staked: cash of a tenth is kept in reserve."""
    gain = math.log((1 - 0.001) / (1 - 0.01))
    enough = math.ceil(math.log((20 - 0.1) / 0.9) / gain)
    campaign = measured(scenario(over=ARMS))
    if sides == 2:
        campaign = exposed(campaign, 5, Purpose.BROKE, 0, 1)
    assert bracketing(exposed(campaign, 2, Purpose.HELD, enough - 1, 0)).held is None
    assert bracketing(exposed(campaign, 2, Purpose.HELD, enough, 0)).held == 0.105


def test_nothing_is_claimed_where_an_assumption_failed() -> None:
    campaign = exposed(bracketed(), 1, Purpose.BROKE, 0, 3)
    campaign = exposed(campaign, 7, Purpose.HELD, 2000, 0)
    assert only(campaign).certificate.empty
    assert certified_claims.withdrawn(only(campaign)) is Cause.ASSUMPTIONS
    found = bracketing(campaign)
    assert (found.held, found.broke, found.closed) == (None, None, False)
    assert {v.kind for v in certified_claims.verdicts(only(campaign))} == {VerdictKind.UNKNOWN}


def test_an_open_exposure_is_among_the_claims() -> None:
    campaign = apply(bracketed(), ExposureStarted(4, 9, ARMS.severities[9], "fault", 0.0))
    assert certified_claims.verdicts(only(campaign))[-1].severity == ARMS.severities[9]


@pytest.mark.parametrize(
    ("doses", "broke", "expected"),
    [
        ([], False, True),
        ([Dose(0.1, 0.1, 0.1)], False, True),
        ([Dose(0.1, 0.1, 0.0075)], False, True),
        ([Dose(0.1, None, 0.0)], False, True),  # arrival unknown
        ([Dose(0.1, 0.1, None)], False, True),
        ([Dose(0.001, 0.001, 0.0), Dose(0.015, 0.015, 0.0)], False, True),  # lost in noise
        ([Dose(0.1, 0.1, 0.0), Dose(0.12, 0.12, 0.1)], False, True),
        ([Dose(0.1, 0.1, 0.0)], True, True),
        ([Dose(0.1, 0.1, 0.0)], False, False),
        ([Dose(0.1, 0.1, 0.0065)], False, False),
        ([Dose(0.001, 0.001, 0.0), Dose(0.12, 0.12, 0.0)], False, False),
        # Slow by itself, whatever the dose: nothing of it is felt.
        ([Dose(0.05, 0.05, 0.06), Dose(0.2, 0.2, 0.06)], False, False),
        ([Dose(0.05, 0.05, 0.06), Dose(0.2, 0.2, 0.2)], False, True),
    ],
)
def test_a_path_is_exercised_when_a_dose_was_felt_somewhere(
    doses: list[Dose], broke: bool, expected: bool
) -> None:
    campaign = measured(scenario(over=ARMS))
    for given in doses:
        campaign = exposed(campaign, 0, Purpose.SEARCH, 5, 0, given)
    if broke:
        campaign = knowing(campaign, arms=(Arm(9, (9,), 9), *only(campaign).arms[1:]))
    assert certified_claims.exercised(only(campaign)) == expected


def scattered(samples: int, felt_s: float) -> Campaign:
    """A service whose latencies scatter by some 12 ms, and one exposure to 100 ms."""
    scatter = [sample(i, latency_s=0.045 + 0.012 * (i % 5 - 2)) for i in range(100)]
    told = Observed(Phase.STEADY, None, tuple(scored((AVAILABILITY,), each) for each in scatter))
    campaign = apply(measured(scenario(over=ARMS)), told)
    return exposed(campaign, 0, Purpose.SEARCH, samples, 0, Dose(0.1, 0.1, felt_s))


@pytest.mark.parametrize(
    ("samples", "felt_s", "expected"),
    [
        (5, 0.009, True),  # lost in the noise of five answers: nothing can be told of it
        (5, 0.0, True),
        (5, 0.09, True),
        (900, 0.006, False),
        (900, 0.0, False),
        (900, 0.09, True),
    ],
)
def test_what_a_few_scattered_answers_felt_is_noise(
    samples: int, felt_s: float, expected: bool
) -> None:
    assert certified_claims.exercised(only(scattered(samples, felt_s))) == expected
    loud = exposed(scattered(5, 0.009), 2, Purpose.HELD, 900, 0, Dose(0.9, 0.9, 0.002))
    assert not certified_claims.exercised(only(loud)), "noise does not vouch for the path"


def test_a_path_that_is_not_exercised_supports_no_claim() -> None:
    unfelt = Dose(0.105, 0.105, 0.0)
    campaign = exposed(measured(scenario(over=ARMS)), 2, Purpose.HELD, 900, 0, unfelt)
    assert bracketing(campaign).held is None
    assert certified_claims.withdrawn(only(campaign)) is Cause.NOT_EXERCISED
    one_bad = exposed(campaign, 2, Purpose.SEARCH, 0, 1)
    assert bracketing(one_bad).held is None, "a bad request now and then is not a felt dose"
    felt = exposed(campaign, 2, Purpose.SEARCH, 5, 0, Dose(0.105, 0.105, 0.1))
    assert bracketing(felt).held == 0.105


PASSED, FAILED, UNDECIDED = GateOutcome.PASSED, GateOutcome.FAILED, GateOutcome.UNDECIDED
AT_ONCE = Search(hold_s=0.0)


@pytest.mark.parametrize(
    ("require", "gate"),
    [
        ({}, None),
        ({"another": 9.0}, None),
        ({"slow": 0.1}, PASSED),
        ({"slow": 0.105}, PASSED),
        ({"slow": 0.106}, UNDECIDED),  # inside the closed bracket
        ({"slow": 0.112}, UNDECIDED),
        ({"slow": 0.113}, FAILED),
        ({"slow": 0.5}, FAILED),
    ],
)
def test_a_gate_is_decided_only_by_what_is_certified(
    require: dict[str, float], gate: GateOutcome | None
) -> None:
    assert ARMS.severities[5] == 0.113
    campaign = bracketed(scenario(over=ARMS, search=AT_ONCE, require=require))
    assert certified_claims.gate(only(campaign)) is gate


@pytest.mark.parametrize(
    ("require", "gate"),
    [({"slow": 0.1}, UNDECIDED), ({"slow": 0.13}, FAILED), ({"slow": 0.15}, FAILED)],
)
def test_a_gate_is_open_while_nothing_is_known_of_it(
    require: dict[str, float], gate: GateOutcome
) -> None:
    asked = scenario(SLOPPY, over=ARMS, require=require)
    campaign = exposed(measured(asked), 8, Purpose.BROKE, 0, 4)
    broke = bracketing(campaign).broke
    assert broke is not None
    assert 0.1 < broke < 0.13
    assert certified_claims.gate(only(campaign)) is gate


@pytest.mark.parametrize(
    ("hold_s", "gate"), [(0.0, PASSED), (8.0, PASSED), (8.37, PASSED), (8.4, UNDECIDED)]
)
def test_a_gate_passes_only_once_what_held_has_stood(hold_s: float, gate: GateOutcome) -> None:
    """The newest of 420 samples at 50/s was sent 8.38 s after the first."""
    asked = scenario(over=ARMS, search=Search(hold_s=hold_s), require={"slow": 0.1})
    assert certified_claims.gate(only(bracketed(asked))) is gate


def test_a_gate_passes_at_the_very_end_of_the_hold() -> None:
    asked = scenario(over=ARMS, require={"slow": 0.1})
    held, _, _ = only(bracketed(asked)).claimed
    assert held is not None
    stood = stood_s(only(bracketed(asked)), held)
    exactly = replace(asked, search=replace(asked.search, hold_s=stood))
    assert certified_claims.gate(only(bracketed(exactly))) is PASSED


def test_a_gate_fails_without_any_hold() -> None:
    asked = scenario(over=ARMS, search=Search(hold_s=1e6), require={"slow": 0.2})
    assert certified_claims.gate(only(bracketed(asked))) is FAILED


# --- what takes a claim back ----------------------------------------------------------------------


def late() -> Campaign:
    """105 ms is certified to hold, and fails from 6 s after the injection on."""
    campaign = measured(scenario(over=ARMS))
    campaign = exposed(campaign, 2, Purpose.HELD, 420, 0)
    return exposed(campaign, 2, Purpose.SEARCH, 300, 20)


def test_what_fails_later_does_not_hold() -> None:
    campaign = exposed(late(), 5, Purpose.BROKE, 0, 2)
    assert certified_claims.withdrawn(only(campaign)) is Cause.NOT_STOOD
    found = bracketing(campaign)
    assert (found.held, found.broke, found.closed) == (None, 0.113, False)
    kinds = {v.severity: v.kind for v in certified_claims.verdicts(only(campaign))}
    assert kinds == {0.105: VerdictKind.UNKNOWN, 0.113: VerdictKind.BROKE}


def test_what_broke_once_and_holds_when_it_is_exposed_again_did_not_break() -> None:
    campaign = exposed(bracketed(), 5, Purpose.SEARCH, 800, 0)
    assert certified_claims.withdrawn(only(campaign)) is Cause.NOT_REPEATED
    found = bracketing(campaign)
    assert (found.held, found.broke, found.closed) == (0.105, None, False)


def bumpy() -> Campaign:
    campaign = measured(scenario(over=ARMS, search=Search(monotone_check=True)))
    campaign = exposed(campaign, 7, Purpose.HELD, 420, 0)
    return exposed(campaign, 2, Purpose.SEARCH, 5, 15)


def test_a_milder_severity_that_is_worse_takes_all_claims_back() -> None:
    climb = only(bumpy())
    assert certified_claims.bumps(climb) == [(2, 7)]
    assert certified_claims.withdrawn(climb) is Cause.NOT_MONOTONE
    assert certified_claims.bracket(climb) == Bracket(confidence=0.95)
    assert certified_claims.look_below(climb) is None


def test_it_does_so_only_where_that_was_asked() -> None:
    climb = only(replace(bumpy(), scenario=scenario(over=ARMS)))
    assert certified_claims.bumps(climb) == []
    assert certified_claims.withdrawn(climb) is None


def test_looks_below_go_on_until_there_are_enough() -> None:
    campaign = measured(scenario(over=ladder(0.01, 0.2), search=Search(monotone_check=True)))
    assert certified_claims.look_below(only(campaign)) is None  # nothing is certified
    campaign = exposed(campaign, 60, Purpose.HELD, 420, 0)
    looks = 0
    while (look := certified_claims.look_below(only(campaign))) is not None:
        assert look.variant.arm < 60
        assert (look.purpose, look.bets) == (Purpose.SEARCH, ())
        assert look.why.startswith("is anything milder worse? a look at ")
        campaign = exposed(campaign, look.variant.arm, Purpose.SEARCH, look.samples, 0)
        looks += 1
    assert looks >= 2
    unasked = replace(campaign, scenario=scenario(over=ladder(0.01, 0.2)))
    assert certified_claims.look_below(only(unasked)) is None


# --- the estimate ---------------------------------------------------------------------------------


def test_the_best_guess_is_what_the_model_believes() -> None:
    guess = certified_claims.best_guess(only(bracketed()))
    assert 0.105 < guess.median < 0.113
    assert 0.105 <= guess.low <= guess.median <= guess.high < 0.15


def test_it_may_be_that_nothing_breaks() -> None:
    campaign = exposed(measured(scenario(over=ARMS)), 28, Purpose.HELD, 2000, 0)
    assert certified_claims.best_guess(only(campaign)).median == math.inf
