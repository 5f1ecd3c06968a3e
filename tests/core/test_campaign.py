from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from chaosbandit.core.campaign import Arm, Campaign, Tally, apply, begin, measured, median_latency_s
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    SteadyStateMeasured,
    Stopped,
    WashedOut,
)
from chaosbandit.core.model import (
    Dose,
    Expose,
    Health,
    Phase,
    Purpose,
    Route,
    Sample,
    Stop,
    Validity,
)
from chaosbandit.core.scenario import Search
from chaosbandit.core.slo import SLO, scored
from tests.simulated import AVAILABILITY, LATENCY, header, ladder, only, sample, scenario

VALID, VOID = Validity(True), Validity(False, "not delivered")
Q_HELD, Q_BROKE, TAU = 0.001, 0.9, 0.01
GOOD_HELD = math.log((1 - Q_HELD) / (1 - TAU))
BAD_HELD = math.log(Q_HELD / TAU)
BAD_BROKE = math.log(Q_BROKE / TAU)
GOOD_BROKE = math.log((1 - Q_BROKE) / (1 - TAU))


def start(*slos: SLO, block: int | None = None) -> Campaign:
    asked = scenario(*slos, over=ladder(0.1, 0.2), search=Search(block=block))
    return fold(begin(asked), header())


def fold(campaign: Campaign, *events: Event) -> Campaign:
    for event in events:
        campaign = apply(campaign, event)
    return campaign


def decided(n: int, campaign: Campaign, arm: int, purpose: Purpose, samples: int = 10) -> Decided:
    q = Q_HELD if purpose is Purpose.HELD else Q_BROKE
    variant, bets = campaign.newest.variant(arm), (q,) * len(campaign.slos)
    decision = Expose(variant, samples, purpose, bets if purpose is not Purpose.SEARCH else ())
    return Decided(n, decision, 0, 1.0)


def started(campaign: Campaign, n: int, arm: int) -> ExposureStarted:
    return ExposureStarted(n, arm, campaign.newest.severities[arm], f"fault {n}", 2.0)


def ended(n: int, arm: int, validity: Validity = VALID, lost: int = 0) -> ExposureEnded:
    return ExposureEnded(n, arm, validity, Dose(0.1), Health(), lost, None, 9.0)


def seen(number: int | None, *bad: bool, phase: Phase = Phase.MEASURE) -> Observed:
    return Observed(phase, number, tuple(sample(seq, bad=each) for seq, each in enumerate(bad)))


def of_both(*samples: Sample, phase: Phase, number: int | None = None) -> Observed:
    """The same samples scored for two SLOs."""
    rescored = tuple(scored((AVAILABILITY, LATENCY), each) for each in samples)
    return Observed(phase, number, rescored)


def opened(campaign: Campaign, arm: int, purpose: Purpose, samples: int = 10) -> Campaign:
    """With an open exposure of that purpose, as the next decision says."""
    number, n = len(campaign.decisions), len(campaign.exposures) + 1
    decision = decided(number, campaign, arm, purpose, samples)
    return fold(campaign, decision, started(campaign, n, arm))


def held(campaign: Campaign, arm: int) -> float:
    return float(only(campaign).certificate.held[0, arm])


def broke(campaign: Campaign, arm: int) -> float:
    return float(only(campaign).certificate.broke[0, arm])


# --- each event -----------------------------------------------------------------------------------


def test_a_campaign_begins_with_nothing() -> None:
    campaign = start(AVAILABILITY, LATENCY)
    assert campaign.header == header()
    assert campaign.budget_left() == 1000
    climb = only(campaign)
    assert climb.arms == (Arm(bad=(0, 0)),) * len(climb.ladder.severities)
    assert len(climb.beliefs) == 2
    assert climb.certificate.log_threshold == pytest.approx(math.log(20))


@pytest.mark.parametrize(
    ("max_duration_s", "ttl_s", "shares"),
    [
        (1800.0, 3600.0, 1),
        (3599.0, 3600.0, 1),
        (3600.0, 3600.0, 2),
        (7300.0, 3600.0, 3),
        (100.0, 20.0, 6),
        (math.inf, 3600.0, 1),
    ],
)
def test_one_threshold_for_every_claim_is_split_over_the_restarts_there_may_be(
    max_duration_s: float, ttl_s: float, shares: int
) -> None:
    search = Search(max_duration_s=max_duration_s, evidence_ttl_s=ttl_s)
    campaign = begin(scenario(over=ladder(0.1, 0.2), search=search))
    wanted = pytest.approx(math.log(20 * shares))
    assert only(campaign).certificate.log_threshold == wanted
    steady = SteadyStateMeasured(True, "", (0.0,), 3, 0.03, 0.0, {}, 4.0)
    for event in (steady, BlockRaised(8, 2, 5.0), EvidenceExpired("old", 9.0)):
        campaign = fold(campaign, event)
        assert only(campaign).certificate.log_threshold == wanted
    assert only(campaign).certificate.block == 8


def test_steady_samples_are_kept_per_route_and_charged() -> None:
    checks = Observed(Phase.STEADY, None, (sample(7, route=Route.CHECK),), "inventory")
    campaign = fold(start(), seen(None, False, True, phase=Phase.STEADY), checks)
    assert [each.seq for each in campaign.steady_samples[Route.CANARY]] == [0, 1]
    assert len(campaign.steady_checks["inventory"]) == 1
    assert campaign.tallies[Route.CANARY] == Tally(2, (1,), 1, {Phase.STEADY: 1})
    assert campaign.budget_left() == 999


def test_the_measured_steady_state_sets_the_block_and_the_models_floor() -> None:
    event = SteadyStateMeasured(True, "", (0.004,), 8, 0.03, 0.0, {"inventory": 0.005}, 4.0)
    campaign = fold(start(), event)
    assert campaign.steady == event
    assert only(campaign).certificate.block == 8
    assert only(campaign).beliefs[0].shapes.floor.min() == pytest.approx(0.0035)
    assert 0.004 in only(campaign).beliefs[0].shapes.floor


def test_decisions_are_kept_by_number() -> None:
    campaign = start()
    first, second = decided(0, campaign, 0, Purpose.SEARCH), Decided(1, Stop("done"), 0, 2.0)
    campaign = fold(campaign, first, second)
    assert campaign.decisions == {0: first.decision, 1: second.decision}


def test_an_exposure_stands_until_it_ends() -> None:
    campaign = opened(start(), 3, Purpose.SEARCH)
    assert (only(campaign).standing, only(campaign).highest_exposed) == (3, 3)
    assert campaign.current is not None
    assert campaign.current.started_s == 2.0
    campaign = fold(campaign, ended(1, 3))
    assert (only(campaign).standing, campaign.current) == (None, None)
    assert campaign.exposures[0].validity == VALID
    campaign = fold(opened(campaign, 1, Purpose.SEARCH), ended(2, 1))
    assert only(campaign).highest_exposed == 3


def test_routes_and_phases_of_an_exposure_are_told_apart() -> None:
    others = Observed(
        Phase.MEASURE,
        0,
        (sample(50, route=Route.CONTROL), sample(51, route=Route.CHECK), sample(52, bad=True)),
    )
    campaign = fold(
        opened(start(), 3, Purpose.SEARCH),
        seen(None, True, False, phase=Phase.WARMUP),
        others,
        seen(None, True, phase=Phase.WASHOUT),
    )
    current = campaign.current
    assert current is not None
    assert [len(each) for each in (current.canary, current.control, current.check)] == [1, 1, 1]
    assert (current.warmup, current.warmup_bad) == (2, 1)
    assert (current.samples, current.bad) == (1, (1,))
    assert campaign.spent_samples == 1
    assert only(campaign).arms[3] == Arm(1, (1,), 1)


def test_samples_sent_too_late_are_charged_and_otherwise_left_out() -> None:
    before = opened(start(), 3, Purpose.HELD)
    late = Observed(Phase.MEASURE, 0, (sample(1, bad=True, lag_s=0.2),))
    at_the_bound = replace(sample(1), intended_s=0.0, started_s=before.scenario.lag_bound_s)
    punctual = fold(before, Observed(Phase.MEASURE, 0, (at_the_bound,))).current
    assert punctual is not None
    assert (punctual.late, punctual.samples) == (0, 1)
    campaign = fold(before, late)
    assert campaign.current is not None
    assert (campaign.current.late, campaign.current.samples) == (1, 0)
    assert held(campaign, 3) == 0.0
    assert only(campaign).arms == only(before).arms
    assert campaign.budget_left() == 999


def test_wash_outs_are_counted_until_one_comes_back() -> None:
    campaign = fold(
        start(),
        WashedOut(1, False, "", True, True, 1.0),
        WashedOut(2, False, "", False, False, 2.0),
    )
    assert (campaign.washouts_failed, campaign.washed_out, campaign.control_sick) == (2, 0, False)
    campaign = fold(campaign, WashedOut(3, True, "", False, True, 3.0))
    assert (campaign.washouts_failed, campaign.washed_out) == (0, 3)


def test_a_stop_is_kept() -> None:
    event = Stopped("done", True, 0, True, "", 9.0)
    assert fold(start(), event).stopped == event


def test_nothing_is_changed_in_place() -> None:
    campaign = opened(start(), 3, Purpose.HELD)
    before = (campaign.tallies, campaign.decisions, held(campaign, 3), only(campaign).arms)
    fold(campaign, seen(0, False, True), ended(1, 3))
    assert before == (campaign.tallies, campaign.decisions, held(campaign, 3), only(campaign).arms)
    assert campaign.tallies == {}


# --- evidence -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "bad", "held_at", "broke_at"),
    [
        (Purpose.SEARCH, [False] * 9 + [True], 0.0, 0.0),
        (Purpose.HELD, [False] * 9, 9 * GOOD_HELD, 0.0),
        (Purpose.HELD, [False] * 9 + [True], 9 * GOOD_HELD + BAD_HELD, 0.0),
        (Purpose.BROKE, [True, True], 0.0, 2 * BAD_BROKE),
        (Purpose.BROKE, [True, False], 0.0, BAD_BROKE + GOOD_BROKE),
    ],
)
def test_samples_count_for_what_they_were_sent_to_prove(
    purpose: Purpose, bad: list[bool], held_at: float, broke_at: float
) -> None:
    campaign = fold(opened(start(), 3, purpose), seen(0, *bad), ended(1, 3))
    assert held(campaign, 3) == pytest.approx(held_at)
    assert broke(campaign, 3) == pytest.approx(broke_at)
    climb = only(campaign)
    assert climb.arms[3].samples == len(bad)
    everything = np.abs(climb.certificate.held).sum() + np.abs(climb.certificate.broke).sum()
    assert everything == pytest.approx(abs(held_at) + abs(broke_at))


def test_what_only_our_lateness_made_bad_is_no_evidence_of_broke_nor_a_lesson() -> None:
    """Else the model would price a claim by failures that its evidence never gets."""
    late = Observed(Phase.MEASURE, 0, (replace(sample(1, bad=True), bad_since_sent=(False,)),))
    before = opened(start(), 3, Purpose.BROKE)
    after, good = fold(before, late), fold(before, seen(0, False))
    assert broke(after, 3) == pytest.approx(broke(good, 3))
    assert broke(good, 3) < 0.0
    assert only(after).arms[3].bad == (1,)
    (believed,), (wanted,) = only(after).beliefs, only(good).beliefs
    assert believed.p_broke(3) == wanted.p_broke(3) < only(before).beliefs[0].p_broke(3)


def test_one_by_one_or_all_at_once_is_the_same() -> None:
    bad = [False, True, False, False, True, False]
    at_once = fold(opened(start(block=2), 3, Purpose.HELD), seen(0, *bad))
    one_by_one = opened(start(block=2), 3, Purpose.HELD)
    for each in bad:
        one_by_one = fold(one_by_one, seen(0, each))
    assert held(at_once, 3) == pytest.approx(held(one_by_one, 3))
    assert held(at_once, 3) == pytest.approx((4 * GOOD_HELD + 2 * BAD_HELD) / 2)


@pytest.mark.parametrize(
    ("bad", "held_at"),
    [
        ([False] * 3, 0.0),  # no whole block yet
        ([False] * 4, GOOD_HELD),
        ([False] * 7, GOOD_HELD),
        ([False] * 8, 2 * GOOD_HELD),
        ([False] * 4 + [True], GOOD_HELD),
    ],
)
def test_blocks_count_whole_and_to_their_root(bad: list[bool], held_at: float) -> None:
    campaign = fold(opened(start(block=4), 3, Purpose.HELD), seen(0, *bad))
    assert held(campaign, 3) == pytest.approx(held_at)


def held_after(samples: int, bad: Sequence[bool]) -> float:
    """What an exposure in blocks of 4 is worth for which so many samples were decided."""
    campaign = opened(start(block=4), 3, Purpose.HELD, samples)
    campaign = fold(campaign, seen(0, *bad), ended(1, 3))
    assert campaign.ladders[0].weighing.pending == ()
    return held(campaign, 3)


def test_an_incomplete_block_can_only_lose() -> None:
    assert held_after(7, [False] * 7) == pytest.approx(GOOD_HELD)
    assert held_after(2, [True, False]) == pytest.approx((BAD_HELD + GOOD_HELD) / 4)


def test_a_block_that_was_cut_loses_what_was_not_sent_of_it() -> None:
    assert held_after(8, [False] * 7) == pytest.approx(GOOD_HELD + (3 * GOOD_HELD + BAD_HELD) / 4)
    assert held_after(8, [True, False]) == pytest.approx((3 * BAD_HELD + GOOD_HELD) / 4)


def test_a_block_never_spans_two_decisions() -> None:
    campaign = fold(opened(start(block=4), 3, Purpose.HELD, 3), seen(0, False, False, True))
    campaign = fold(campaign, decided(1, campaign, 3, Purpose.HELD), seen(1, *[False] * 4))
    lost = (2 * GOOD_HELD + BAD_HELD) / 4
    assert held(campaign, 3) == pytest.approx(lost + GOOD_HELD)


# --- void -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "bad", "kept"),
    [
        (Purpose.HELD, [False] * 9, 0.0),
        (Purpose.HELD, [False] * 9 + [True], 9 * GOOD_HELD + BAD_HELD),
        (Purpose.BROKE, [True, True], 0.0),
        (Purpose.BROKE, [False] * 3, 3 * GOOD_BROKE),
    ],
)
def test_a_void_exposure_keeps_losses_and_drops_gains(
    purpose: Purpose, bad: list[bool], kept: float
) -> None:
    before = start()
    campaign = fold(opened(before, 3, purpose), seen(0, *bad), ended(1, 3, VOID))
    side = held(campaign, 3) if purpose is Purpose.HELD else broke(campaign, 3)
    assert side == pytest.approx(kept)
    assert only(campaign).arms == only(before).arms
    assert only(campaign).beliefs == only(before).beliefs
    assert campaign.voids_in_a_row == 1
    assert campaign.spent_samples == len(bad)
    assert campaign.budget_left() == 1000 - sum(bad)


def test_earlier_gains_survive_a_void_exposure_and_its_losses_are_taken_from_them() -> None:
    campaign = fold(opened(start(), 3, Purpose.HELD), seen(0, *[False] * 100), ended(1, 3))
    gained = held(campaign, 3)
    void = fold(opened(campaign, 3, Purpose.HELD), seen(1, *[False] * 50), ended(2, 3, VOID))
    assert held(void, 3) == pytest.approx(gained)
    void = fold(opened(campaign, 3, Purpose.HELD), seen(1, True), ended(2, 3, VOID))
    assert held(void, 3) == pytest.approx(gained + BAD_HELD)


def test_what_a_void_exposure_ruled_out_is_possible_again() -> None:
    campaign = fold(opened(start(), 3, Purpose.HELD), seen(0, *[False] * 400))
    assert only(campaign).certificate.held_arm == 3
    assert only(fold(campaign, ended(1, 3))).certificate.held_arm == 3
    assert only(fold(campaign, ended(1, 3, VOID))).certificate.held_arm is None


@pytest.mark.parametrize("purpose", [Purpose.HELD, Purpose.BROKE])
@pytest.mark.parametrize("bad", [False, True])
def test_a_reason_blind_to_the_canary_takes_gains_and_losses(purpose: Purpose, bad: bool) -> None:
    before = fold(opened(start(), 3, purpose), seen(0, bad), ended(1, 3))
    blind = Validity(False, "the control route broke", blind=True)
    after = fold(opened(before, 3, purpose), seen(1, *[bad] * 9), ended(2, 3, blind))
    assert only(after).certificate.log_e == pytest.approx(only(before).certificate.log_e)
    assert only(after).arms == only(before).arms
    assert after.voids_in_a_row == 1


def test_a_slow_recovery_takes_gains_but_no_beliefs() -> None:
    slow = Validity(False, "no wash-out", beliefs_stay=True)
    seen_bad = fold(opened(start(), 3, Purpose.SEARCH), seen(0, True, True, True))
    after = fold(seen_bad, ended(1, 3, slow))
    assert only(after).beliefs[0].crossing() == pytest.approx(only(seen_bad).beliefs[0].crossing())
    assert only(after).arms == only(start()).arms
    forgotten = fold(seen_bad, ended(1, 3, VOID))
    assert only(forgotten).believed_broken(3) < only(after).believed_broken(3)


def test_voids_in_a_row_end_with_a_valid_one() -> None:
    campaign = start()
    for n, validity in enumerate((VOID, VOID, VALID, VOID), start=1):
        campaign = fold(opened(campaign, 3, Purpose.SEARCH), ended(n, 3, validity))
        assert campaign.voids_in_a_row == {1: 1, 2: 2, 3: 0, 4: 1}[n]


# --- the budget -----------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", list(Phase))
def test_every_bad_canary_sample_is_charged_whatever_it_was_sent_for(phase: Phase) -> None:
    number = 0 if phase is Phase.MEASURE else None
    campaign = fold(
        opened(start(), 3, Purpose.SEARCH), seen(number, True, False, True, phase=phase)
    )
    assert campaign.budget_left() == 998
    assert campaign.tallies[Route.CANARY] == Tally(3, (2,), 2, {phase: 2})


@pytest.mark.parametrize("route", [Route.CONTROL, Route.CHECK])
def test_other_routes_are_counted_and_not_charged(route: Route) -> None:
    campaign = fold(start(), Observed(Phase.STEADY, None, (sample(1, bad=True, route=route),)))
    assert campaign.budget_left() == 1000
    assert campaign.tallies[route].samples == 1


def test_every_slo_has_a_ledger_and_the_scarcest_counts() -> None:
    strict = replace(LATENCY, objective=0.999)  # 100 allowed
    slow = of_both(sample(1, latency_s=0.5), sample(2, bad=True), phase=Phase.STEADY)
    campaign = fold(start(AVAILABILITY, strict), slow)
    assert [campaign.spent_bad(index) for index in (0, 1)] == [1, 1]
    assert campaign.tallies[Route.CANARY].any_bad == 2
    assert campaign.budget_left() == 99


def test_lost_samples_are_charged_as_bad() -> None:
    campaign = fold(opened(start(), 3, Purpose.SEARCH), ended(1, 3, VOID, lost=7))
    assert campaign.lost == 7
    assert campaign.budget_left() == 993


@pytest.mark.parametrize(
    ("latencies", "median_s"), [([], None), ([3.0], 3.0), ([1.0, 2.0, 9.0], 2.0), ([1.0, 2.0], 1.5)]
)
def test_median_latency(latencies: list[float], median_s: float | None) -> None:
    samples: tuple[Sample, ...] = tuple(
        sample(seq, latency_s=each) for seq, each in enumerate(latencies)
    )
    assert median_latency_s(samples) == median_s


def test_the_worst_slo_says_how_likely_an_arm_breaks() -> None:
    campaign = start(AVAILABILITY, LATENCY)
    slow = (sample(n, latency_s=0.5) for n in range(4))
    seen_slow = of_both(*slow, phase=Phase.MEASURE, number=0)
    climb = only(fold(opened(campaign, 3, Purpose.SEARCH), seen_slow))
    by_slo = [belief.p_broke(3) for belief in climb.beliefs]
    assert by_slo[0] < by_slo[1]
    assert climb.believed_broken(3) == by_slo[1] > 0.9


# --- several ladders, many samples at once, old evidence ------------------------------------------


def two_ladders() -> Campaign:
    first, second = ladder(0.1, 0.2), replace(ladder(0.05, 0.4), name="other")
    asked = replace(scenario(over=first), ladders=(first, second))
    return fold(begin(asked), header())


def test_what_is_measured_belongs_to_the_ladder_that_is_exposed() -> None:
    campaign = two_ladders()
    assert campaign.newest.name == "slow"
    held_bet = Expose(campaign.ladders[1].ladder.variant(2), 5, Purpose.HELD, (Q_HELD,))
    begun = ExposureStarted(1, 2, 0.05, "fault", 1.0, "other")
    campaign = fold(campaign, Decided(0, held_bet, 0, 1.0), begun)
    assert campaign.newest.name == "other"
    assert [Climb(campaign, number).standing for number in (0, 1)] == [None, 2]
    assert [Climb(campaign, number).highest_exposed for number in (0, 1)] == [None, 2]
    campaign = fold(campaign, seen(0, False, False))
    first, other = Climb(campaign, 0), Climb(campaign, 1)
    assert (first.arms[2].samples, other.arms[2].samples) == (0, 2)
    assert other.certificate.own_held(2) == pytest.approx(2 * GOOD_HELD)
    assert first.certificate.own_held(2) == 0.0
    assert (campaign.spent_samples, first.samples, other.samples) == (2, 0, 2)
    campaign = fold(campaign, ended(1, 2, VOID))
    assert Climb(campaign, 1).certificate.own_held(2) == 0.0
    assert campaign.exposures[0].climb == 1


def test_many_samples_at_once_are_as_good_as_one_by_one() -> None:
    flags = [False, False, True, False]
    single = start()
    begun = (decided(0, single, 1, Purpose.HELD), ExposureStarted(1, 1, 0.1, "fault", 1.0))
    single = fold(single, *begun, seen(0, *flags))
    bulk = measured(fold(start(), *begun), 0, np.array(flags)[:, None])
    assert only(bulk).arms == only(single).arms
    assert bulk.tallies == single.tallies
    assert bulk.spent_samples == single.spent_samples == 4
    by_one, at_once = only(single), only(bulk)
    assert at_once.certificate.log_e == pytest.approx(by_one.certificate.log_e)
    assert at_once.certificate.peak == pytest.approx(by_one.certificate.peak)
    assert at_once.beliefs[0].crossing() == pytest.approx(by_one.beliefs[0].crossing())


def test_old_evidence_only_guides() -> None:
    campaign = start()
    campaign = fold(
        campaign,
        decided(0, campaign, 1, Purpose.HELD),
        ExposureStarted(1, 1, 0.1, "fault", 7.0),
        seen(0, False, True, False),
        ended(1, 1),
    )
    assert campaign.evidence_since_s == 7.0
    believed = only(campaign).beliefs[0].crossing()
    after = fold(campaign, EvidenceExpired("old", 9.0))
    certificate = only(after).certificate
    assert (certificate.held == 0.0).all() and (certificate.peak == 0.0).all()
    assert only(after).arms == only(start()).arms
    assert only(after).beliefs[0].crossing() == pytest.approx(believed)
    assert after.spent_bad(0) == campaign.spent_bad(0) == 1
    assert (only(after).samples, after.evidence_since_s) == (0, None)
    again = fold(after, decided(1, after, 1, Purpose.HELD))
    assert fold(again, ExposureStarted(2, 1, 0.1, "f", 11.0)).evidence_since_s == 11.0


# --- what an exposure counts ----------------------------------------------------------------------


def test_samples_are_counted_by_their_age_since_the_first_request() -> None:
    campaign = opened(start(), 3, Purpose.SEARCH)
    warm = Observed(Phase.WARMUP, None, (sample(10),))  # sent at 0.2 s: ages count from there
    measured_at = ((11, False), (60, True), (61, False), (210, True), (460, False))
    samples = tuple(sample(seq, bad=bad) for seq, bad in measured_at)
    campaign = fold(campaign, warm, Observed(Phase.MEASURE, 0, samples))
    current = campaign.current
    assert current is not None
    assert current.first_s == pytest.approx(0.2)
    assert current.age_s == pytest.approx(9.0)
    assert current.by_age == {
        0: Arm(1, (0,), 0),  # 20 ms
        1: Arm(2, (1,), 1),  # 1.00 and 1.02 s
        3: Arm(1, (1,), 1),  # 4 s
        4: Arm(1, (0,), 0),  # 9 s
    }


@pytest.mark.parametrize(
    ("flags", "longest", "now"),
    [("..x.", 1, 0), (".xxx.xx", 3, 2), ("", 0, 0), ("....", 0, 0), ("xxxx", 0, 4)],
)
def test_the_longest_run_of_bad_samples_that_ended_is_counted(
    flags: str, longest: int, now: int
) -> None:
    campaign = fold(opened(start(), 3, Purpose.SEARCH), seen(0, *(f == "x" for f in flags)))
    assert campaign.current is not None
    current = campaign.current
    assert (current.longest_run, current.bad_in_a_row) == (longest, now)


def test_many_samples_at_once_have_their_ages_too() -> None:
    single = opened(start(), 1, Purpose.SEARCH)
    flags = [n % 7 == 0 for n in range(400)]
    by_one = fold(single, seen(0, *flags))
    at_once = measured(single, 0, np.array(flags)[:, None], 0.0, 0.020)
    assert by_one.current is not None and at_once.current is not None
    assert at_once.current.by_age == by_one.current.by_age
    assert at_once.current.age_s == pytest.approx(by_one.current.age_s)


# --- longer blocks in mid-run ---------------------------------------------------------------------


def history(campaign: Campaign, rng: np.random.Generator) -> Campaign:
    """A dozen exposures with bets on both sides, some void, blind or cut."""
    kinds = (VALID, VALID, VALID, VOID, Validity(False, "control", blind=True))
    for n in range(1, 13):
        arm, purpose = int(rng.integers(8)), (Purpose.HELD, Purpose.BROKE)[n % 2]
        campaign = opened(campaign, arm, purpose)
        number = len(campaign.decisions) - 1
        for _ in range(3):
            campaign = fold(campaign, seen(number, *(rng.random(int(rng.integers(40))) < 0.05)))
            number = len(campaign.decisions)
            campaign = fold(campaign, decided(number, campaign, arm, purpose))
        halted = "bad in a row" if n % 4 == 0 else None
        end = replace(ended(n, arm, kinds[int(rng.integers(len(kinds)))]), halted=halted)
        campaign = fold(campaign, seen(number, *[False] * 3), end)
    return campaign


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("expires", [False, True])
def test_longer_blocks_in_mid_run_weigh_as_if_they_had_been_known_from_the_start(
    seed: int, expires: bool
) -> None:
    def whole(first: Campaign, *between: Event) -> Campaign:
        rng = np.random.default_rng(seed)
        after = history(first, rng)
        after = fold(after, *([EvidenceExpired("old", 9.0)] if expires else []))
        n = len(after.exposures) + 1
        after = fold(opened(after, 2, Purpose.HELD), seen(len(after.decisions), *[False] * 9))
        return fold(after, ended(n, 2), *between)

    known, raised = whole(start(block=8)), whole(start(), BlockRaised(8, 2, 9.0))
    assert only(raised).certificate.block == 8
    assert only(raised).certificate.log_e == pytest.approx(only(known).certificate.log_e)
    assert only(raised).certificate.peak == pytest.approx(only(known).certificate.peak)
    assert only(raised).arms == only(known).arms
    assert only(whole(start())).certificate.peak.max() > only(raised).certificate.peak.max()


def test_after_longer_blocks_the_run_goes_on_in_them() -> None:
    known = fold(opened(start(block=4), 3, Purpose.HELD, 9), seen(0, *[False] * 9), ended(1, 3))
    raised = fold(opened(start(), 3, Purpose.HELD, 9), seen(0, *[False] * 9), ended(1, 3))
    raised = fold(raised, BlockRaised(4, 1, 9.0))
    more = [False] * 5
    known, raised = (fold(opened(c, 3, Purpose.HELD), seen(1, *more)) for c in (known, raised))
    assert held(raised, 3) == pytest.approx(held(known, 3))
    assert held(raised, 3) == pytest.approx(3 * GOOD_HELD)
    assert len(raised.ladders[0].weighing.pending) == 1
