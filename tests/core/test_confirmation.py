from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from chaosbandit.core import confirmation
from chaosbandit.core.campaign import Campaign, apply
from chaosbandit.core.campaign import measured as measured_at_once
from chaosbandit.core.events import BlockRaised
from chaosbandit.core.model import Expose, Purpose, Validity
from chaosbandit.core.scenario import Scenario, Search
from tests.core.by_hand import ARMS, bracketed, closed, exposed, measured, standing
from tests.simulated import AVAILABILITY, ladder, only, scenario

HELD, BROKE = 2, 5  # arms of `bracketed`


def asked(hold_s: float = 15.0, rate_per_s: float = 50.0) -> Scenario:
    return scenario(over=ARMS, search=Search(hold_s=hold_s), rate_per_s=rate_per_s)


def held(hold_s: float = 15.0) -> Campaign:
    """105 ms is certified to hold and stood for 8.38 s; nothing is known above."""
    return exposed(measured(asked(hold_s)), HELD, Purpose.HELD, 420, 0)


# --- how long it stood ----------------------------------------------------------------------------


def test_it_stood_as_long_as_in_its_longest_exposure() -> None:
    campaign = held()
    assert confirmation.stood_s(only(campaign), HELD) == pytest.approx(419 * 0.02)
    assert confirmation.stood_s(only(campaign), HELD + 1) == 0.0
    campaign = exposed(campaign, HELD, Purpose.SEARCH, 100, 0)
    assert confirmation.stood_s(only(campaign), HELD) == pytest.approx(419 * 0.02)
    open_one = standing(campaign, HELD, Purpose.SEARCH, [False] * 600)
    assert confirmation.stood_s(only(open_one), HELD) == pytest.approx(599 * 0.02)
    void = closed(open_one, validity=Validity(False, "control"))
    assert confirmation.stood_s(only(void), HELD) == pytest.approx(419 * 0.02)


@pytest.mark.parametrize(
    ("hold_s", "holds"), [(0.0, False), (8.0, False), (8.38, False), (8.5, True), (15.0, True)]
)
def test_what_did_not_stand_as_long_as_asked_is_held_on(hold_s: float, holds: bool) -> None:
    found = confirmation.next_exposure(only(held(hold_s)))
    assert (found is not None) is holds
    if found is not None:
        assert (found.purpose, found.bets, found.variant.arm) == (Purpose.HOLD, (), HELD)
        assert found.why == f"does 105 ms stand for {hold_s:g} s?"


@pytest.mark.parametrize(("rate_per_s", "samples"), [(50.0, 50), (500.0, 500), (1.0, 5), (0.1, 5)])
def test_looks_at_what_stands_are_a_second_long(rate_per_s: float, samples: int) -> None:
    campaign = exposed(measured(asked(1e4, rate_per_s)), HELD, Purpose.HELD, 420, 0)
    found = confirmation.next_exposure(only(campaign))
    assert found is not None and found.samples == samples
    assert found.stop_after_bad == 2 + int(0.02 * samples)


# --- failing late ---------------------------------------------------------------------------------


def from_age(after: int, flags: str, apart_s: float = 0.02, block: int = 1) -> Campaign:
    """Good for so many samples, and then as told (`x` is bad)."""
    seen = [False] * after + [flag == "x" for flag in flags]
    campaign = apply(held(), BlockRaised(block, 2, 0.0)) if block > 1 else held()
    return closed(standing(campaign, HELD, Purpose.SEARCH, seen, apart_s))


@pytest.mark.parametrize(
    ("after", "flags", "fails"),
    [
        (500, "", False),
        (500, "x", False),  # one is no proof
        (500, "x....." * 2, False),
        (500, "xx" * 5, True),
        (200, "x." * 20, True),
        (20, "x" * 9, False),  # the exposure before bore that age: as yet it may be a hiccup
        (20, "x" * 40, True),
        (0, "x" * 9 + "." * 900, False),  # a bad start that passes is for the certificate
    ],
)
def test_failing_late_is_told_from_failing_now_and_then(
    after: int, flags: str, fails: bool
) -> None:
    assert (confirmation.failing(only(from_age(after, flags)), HELD) is not None) is fails


@pytest.mark.parametrize("after", [60, 300, 800, 1700])
def test_the_moment_it_begins_is_found(after: int) -> None:
    found = confirmation.failing(only(from_age(after, "x" * 30)), HELD)
    assert found is not None
    assert found.from_s == pytest.approx(after * 0.02)
    assert (found.samples, found.bad) == (30, 30)


def test_other_arms_and_void_exposures_do_not_fail() -> None:
    campaign = from_age(500, "x" * 30)
    assert confirmation.failing(only(campaign), HELD + 1) is None
    open_one = standing(held(), HELD, Purpose.SEARCH, [False] * 500 + [True] * 30)
    assert confirmation.failing(only(open_one), HELD) is not None
    void = closed(open_one, validity=Validity(False, "the control route broke", blind=True))
    assert confirmation.failing(only(void), HELD) is None


def test_blocks_ask_for_more_of_it() -> None:
    """Eight failures in a clump are one in blocks of 32, where clumps are usual."""
    assert confirmation.failing(only(from_age(500, "x" * 8)), HELD) is not None
    assert confirmation.failing(only(from_age(500, "x" * 8, block=32)), HELD) is None
    assert confirmation.failing(only(from_age(500, "x" * 320, block=32)), HELD) is not None


def test_at_the_objective_itself_it_is_seldom_said_to_fail_late() -> None:
    """Looking once a second for 40 s, at a ratio that just meets the SLO."""
    rng, runs, wrong = np.random.default_rng(6), 200, 0
    tau, begun = AVAILABILITY.bad_ratio, standing(measured(asked()), HELD, Purpose.SEARCH, [])
    for _ in range(runs):
        campaign = begun
        for second in range(40):
            bad = rng.random((50, 1)) < tau
            campaign = measured_at_once(campaign, 0, bad, float(second), 0.02)
            if confirmation.failing(only(campaign), HELD) is not None:
                wrong += 1
                break
    assert wrong <= binom.ppf(0.999, runs, 0.05)


# --- broke, once more -----------------------------------------------------------------------------


def test_what_broke_in_one_exposure_is_exposed_once_more() -> None:
    climb = only(bracketed(asked(0.0)))
    assert not confirmation.repeated(climb, BROKE)
    assert not confirmation.refuted(climb, BROKE)
    found = confirmation.next_exposure(climb)
    assert found is not None
    assert (found.purpose, found.bets, found.variant.arm) == (Purpose.SEARCH, (), BROKE)
    assert found.samples == 25  # a quarter of what tau lets through one of
    assert found.why == "does 113 ms break in a second exposure too?"


@pytest.mark.parametrize(
    ("arm", "good", "bad", "repeated"),
    [
        (BROKE, 0, 1, True),
        (BROKE, 20, 0, False),
        (4, 0, 3, True),  # milder, and above what held: so does the one that broke
        (BROKE + 1, 0, 3, False),
        (HELD, 0, 3, False),
    ],
)
def test_a_second_exposure_that_fails_too_is_enough(
    arm: int, good: int, bad: int, repeated: bool
) -> None:
    campaign = exposed(bracketed(asked(0.0)), arm, Purpose.SEARCH, good, bad)
    assert confirmation.repeated(only(campaign), BROKE) is repeated
    if repeated:
        assert confirmation.next_exposure(only(campaign)) is None


def test_failures_spread_over_many_short_exposures_are_enough() -> None:
    """None of them can show it alone: one bad sample of 60."""
    campaign = bracketed(asked(0.0))
    campaign = exposed(campaign, BROKE, Purpose.SEARCH, 30, 1)
    once = only(campaign)
    assert not confirmation.repeated(once, BROKE)
    for _ in range(6):
        campaign = exposed(campaign, BROKE, Purpose.SEARCH, 30, 1)
    assert len(confirmation.failed(only(campaign), BROKE)) < 2
    assert confirmation.repeated(only(campaign), BROKE)


def test_what_holds_when_it_is_exposed_again_is_refuted_and_not_asked_for_again() -> None:
    campaign = exposed(bracketed(asked(0.0)), BROKE, Purpose.SEARCH, 100, 0)
    assert not confirmation.refuted(only(campaign), BROKE)
    assert confirmation.next_exposure(only(campaign)) is not None
    campaign = exposed(bracketed(asked(0.0)), BROKE, Purpose.SEARCH, 800, 0)
    assert confirmation.refuted(only(campaign), BROKE)
    assert confirmation.next_exposure(only(campaign)) is None


def test_while_it_stands_broken_another_exposure_is_asked_for() -> None:
    campaign = exposed(measured(asked(0.0)), HELD, Purpose.HELD, 420, 0)
    campaign = standing(campaign, BROKE, Purpose.BROKE, [True, True])
    found = confirmation.next_exposure(only(campaign))
    assert found is not None and found.anew
    ended = confirmation.next_exposure(only(closed(campaign)))
    assert ended is not None and not ended.anew


# --- the rest of the hold first -------------------------------------------------------------------


def going_to(arm: int) -> Expose:
    return Expose(ARMS.variant(arm), 5, Purpose.BROKE, (0.9,))


@pytest.mark.parametrize(
    ("arm", "holds"),
    [(HELD, False), (HELD - 1, False), (HELD + 1, True), (BROKE, True), (BROKE + 8, False)],
)
def test_before_the_step_that_closes_the_bracket_what_stands_is_held_on(
    arm: int, holds: bool
) -> None:
    climb = only(standing(measured(asked()), HELD, Purpose.HELD, [False] * 420))
    found = confirmation.hold_first(climb, going_to(arm))
    assert (found is not None) is holds
    if found is not None:
        assert (found.purpose, found.variant.arm) == (Purpose.HOLD, HELD)


def test_where_it_does_not_stand_or_has_stood_nothing_is_held_on() -> None:
    assert confirmation.hold_first(only(held()), going_to(BROKE)) is None  # taken off already
    enough = standing(measured(asked()), HELD, Purpose.HELD, [False] * 800)
    assert confirmation.hold_first(only(enough), going_to(BROKE)) is None
    unasked = standing(measured(asked(0.0)), HELD, Purpose.HELD, [False] * 420)
    assert confirmation.hold_first(only(unasked), going_to(BROKE)) is None
    unsure = standing(measured(asked()), HELD, Purpose.HELD, [False] * 100)
    assert confirmation.hold_first(only(unsure), going_to(BROKE)) is None


def test_a_grid_so_coarse_that_the_next_arm_is_far_is_closed_by_it_all_the_same() -> None:
    coarse = replace(asked(), ladders=(ladder(0.1, 10.0, 5.0),))
    climb = only(standing(measured(coarse), 0, Purpose.HELD, [False] * 420))
    next_one = Expose(coarse.ladder.variant(1), 5, Purpose.BROKE, (0.9,))
    assert confirmation.hold_first(climb, next_one) is not None
    assert math.isclose(coarse.ladder.severities[1] / 0.1, 6 ** (1 / 4), rel_tol=0.02)
