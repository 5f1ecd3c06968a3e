from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaosbandit.core import judge
from chaosbandit.core.campaign import Campaign, Exposure, apply
from chaosbandit.core.events import EvidenceExpired, ExposureStarted
from chaosbandit.core.growing_sequence import Series
from chaosbandit.core.model import Dose, Health, Outcome, Purpose, Route, Sample, Validity
from chaosbandit.core.scenario import Search
from tests.core.by_hand import ARMS, closed, measured, rescored, row, standing
from tests.simulated import errors_ladder, sample, scenario

REST = [Outcome.TIMEOUT, Outcome.CONNECT_ERROR, Outcome.TRANSPORT_ERROR, Outcome.OVERLOAD]


# --- one exposure ---------------------------------------------------------------------------------


def exposure(
    severity: float = 0.1,
    canary: Sequence[Sample] = (),
    control: Sequence[Sample] = (),
    check: Sequence[Sample] = (),
    late: int = 0,
) -> Exposure:
    return Exposure(
        n=1,
        climb=0,
        arm=3,
        severity=severity,
        started_s=0.0,
        bad=(sum(any(each.bad) for each in canary),),
        samples=len(canary),
        canary=Series(canary),
        control=Series(control),
        check=Series(check),
        late=late,
    )


@pytest.mark.parametrize(
    ("canary_s", "control_s", "check_s", "expected"),
    [
        ([0.12, 0.12, 0.13, 0.5, 0.5], [0.02], [0.105], Dose(0.1, 0.1, 0.11)),
        ([0.12] * 5, [], [0.105], Dose(0.1, 0.1, None)),
        ([], [0.02], [0.105], Dose(0.1, 0.1, None)),
        ([0.12] * 5, [0.02], [], Dose(0.1, None, 0.1)),
        ([0.12] * 4, [0.02], [0.105], Dose(0.1, 0.1, None)),  # too few to tell what was felt
    ],
)
def test_doses_are_medians_against_their_base(
    canary_s: list[float], control_s: list[float], check_s: list[float], expected: Dose
) -> None:
    found = judge.dose(
        measured(scenario()),
        exposure(
            canary=[sample(n, latency_s=each) for n, each in enumerate(canary_s)],
            control=[sample(n, latency_s=each) for n, each in enumerate(control_s)],
            check=[sample(n, latency_s=each) for n, each in enumerate(check_s)],
        ),
    )
    assert (found.asked, found.delivered, found.felt) == (
        expected.asked,
        pytest.approx(expected.delivered) if expected.delivered is not None else None,
        pytest.approx(expected.felt) if expected.felt is not None else None,
    )


def test_the_dose_of_an_errors_ladder_is_the_share_of_requests_without_a_response() -> None:
    campaign = measured(scenario(over=errors_ladder()))
    canary = [*row(6), sample(6, bad=True), *(sample(n, outcome=REST[0]) for n in range(7, 10))]
    found = judge.dose(campaign, exposure(0.25, canary))
    assert found == Dose(0.25, delivered=0.3, felt=0.3)
    assert judge.dose(campaign, exposure(0.25)) == Dose(0.25)


GOOD = row(50)
CONTROL = row(20, route=Route.CONTROL)
ARRIVED = row(3, route=Route.CHECK, latency_s=0.105)
SHUT = [sample(9, route=Route.CHECK, outcome=Outcome.CONNECT_ERROR, latency_s=0.001)] * 3


@pytest.mark.parametrize(
    ("given", "health", "lost", "why"),
    [
        (exposure(0.1, GOOD, CONTROL, ARRIVED), Health(), 0, ""),
        (exposure(0.1, row(50, 50), CONTROL, ARRIVED), Health(), 0, ""),  # bad is no reason
        (exposure(0.1, GOOD, CONTROL), Health(), 0, ""),  # no check: dose unknown
        (exposure(0.1, GOOD, CONTROL, row(3, latency_s=0.082)), Health(), 0, ""),
        (exposure(0.1, GOOD, CONTROL, row(3, latency_s=0.06)), Health(), 0, "not delivered: 55 ms"),
        (exposure(0.001, GOOD, CONTROL, row(3, latency_s=0.004)), Health(), 0, ""),  # noise
        (exposure(0.1, GOOD, row(20, 4), ARRIVED), Health(), 0, "the control route broke"),
        (exposure(0.1, GOOD, CONTROL, ARRIVED, late=10), Health(), 0, ""),
        (exposure(0.1, GOOD, CONTROL, ARRIVED, late=13), Health(), 0, "sent 13 of 63 requests"),
        (exposure(0.1, GOOD, CONTROL, row(3, latency_s=0.05)), Health(), 0, "not delivered: 45 ms"),
        (exposure(0.1, GOOD, CONTROL, row(3, latency_s=0.004)), Health(), 0, "not delivered: 0 ms"),
        (exposure(0.1, GOOD, CONTROL, row(3, latency_s=0.14)), Health(), 0, "more than was asked"),
        (exposure(0.1, GOOD, CONTROL, [*ARRIVED, *SHUT]), Health(), 0, "3 of 6 checks failed"),
        (exposure(0.1, GOOD, CONTROL, [*ARRIVED, *SHUT[:2]]), Health(), 0, ""),
        (exposure(0.1, GOOD, CONTROL, ARRIVED), Health(overloads=2), 0, "could not send 2"),
        (exposure(0.1, GOOD, CONTROL, ARRIVED), Health(), 3, "interrupted with 3 requests"),
    ],
)
def test_every_reason_for_which_an_exposure_is_void(
    given: Exposure, health: Health, lost: int, why: str
) -> None:
    found = judge.validity(measured(scenario()), given, health, lost)
    assert found.valid == (why == "")
    assert why in found.why


@pytest.mark.parametrize(
    ("control", "overloads", "lost", "blind"),
    [
        (row(20, 4), 0, 0, True),
        (row(20), 2, 0, False),
        (row(20), 0, 3, False),
        (row(20, 4), 2, 0, False),
        (row(20, 4), 0, 3, False),
    ],
)
def test_only_a_control_that_broke_is_a_reason_blind_to_the_canary(
    control: list[Sample], overloads: int, lost: int, blind: bool
) -> None:
    given = exposure(0.1, GOOD, control, ARRIVED)
    found = judge.validity(measured(scenario()), given, Health(overloads=overloads), lost)
    assert not found.valid
    assert found.blind is blind
    assert not found.beliefs_stay


def test_nothing_measured_is_no_evidence() -> None:
    found = judge.validity(measured(scenario()), exposure(0.1, [], CONTROL, ARRIVED), Health(), 0)
    assert found.why == "nothing was measured before it had to end"


def test_what_is_felt_is_less_what_was_usual_before() -> None:
    campaign = measured(scenario())
    assert campaign.steady is not None
    slower = replace(campaign, steady=replace(campaign.steady, canary_less_control_s=0.07))
    given = exposure(0.1, row(5, latency_s=0.12), row(5, latency_s=0.02))
    assert judge.dose(campaign, given).felt == pytest.approx(0.1)
    assert judge.dose(slower, given).felt == pytest.approx(0.03)


def test_a_control_route_that_fails_now_and_then_voids_nothing() -> None:
    control = row(200, 2, route=Route.CONTROL)
    assert judge.validity(
        measured(scenario()), exposure(0.1, GOOD, control, ARRIVED), Health(), 0
    ).valid


def test_errors_are_not_void_for_a_dose_that_cannot_be_told_from_the_outcome() -> None:
    campaign = measured(scenario(over=errors_ladder()))
    assert judge.validity(campaign, exposure(0.5, GOOD, CONTROL), Health(), 0).valid


@pytest.mark.parametrize(
    ("latency_s", "bad", "warmup_bad", "patient"),
    [
        (0.12, 0, 0, True),
        (0.101, 0, 0, True),
        (0.09, 0, 0, False),  # a fallback answers well and too fast
        (0.12, 1, 0, False),
        (0.12, 0, 1, False),
    ],
)
def test_clients_are_patient_where_all_was_good_and_the_dose_was_felt(
    latency_s: float, bad: int, warmup_bad: int, patient: bool
) -> None:
    canary = row(50, bad, latency_s=latency_s)
    given = replace(exposure(0.1, canary, CONTROL), warmup_bad=warmup_bad)
    assert judge.patient(measured(scenario()), given) is patient


def test_nobody_was_patient_where_nothing_was_measured() -> None:
    assert not judge.patient(measured(scenario()), exposure(0.1, [], CONTROL))


# --- over all exposures ---------------------------------------------------------------------------


def clumps(*runs: int, block: int | None = None, validity: Validity | None = None) -> Campaign:
    """An exposure of 200 good samples with runs of bad ones far apart."""
    campaign = measured(scenario(over=ARMS, search=Search(block=block)))
    flags = [False] * 50
    for run in runs:
        flags += [True] * run + [False] * 50
    return closed(standing(campaign, 3, Purpose.SEARCH, flags), validity=validity)


@pytest.mark.parametrize(
    ("runs", "block", "clump"),
    [
        ((), None, 0),
        ((4,), None, 0),  # too short to tell
        ((5,), None, 5),
        ((2, 12, 6), None, 12),
        ((12,), 48, 0),  # allowed for
        ((12,), 47, 12),
        ((20,), None, 20),
    ],
)
def test_failures_in_clumps_are_seen(runs: tuple[int, ...], block: int | None, clump: int) -> None:
    assert judge.clumped(clumps(*runs, block=block)) == clump


def test_what_sets_in_late_and_stays_is_no_clump() -> None:
    flags = [False] * 300 + [True] * 40
    campaign = closed(standing(measured(scenario(over=ARMS)), 3, Purpose.SEARCH, flags))
    assert judge.clumped(campaign) == 0


@pytest.mark.parametrize(
    "before",
    ["", "x" + 60 * ".", "x" + 600 * "."],  # a failure long before has nothing to do with it
)
def test_what_sets_in_late_and_fails_by_half_is_no_clump(before: str) -> None:
    told = 400 * "." + before + "xx.x.xxxxxxx..xx..x.xxx.x.x.x.xx"
    flags = [each == "x" for each in told]
    campaign = closed(standing(measured(scenario(over=ARMS)), 3, Purpose.SEARCH, flags))
    assert judge.clumped(campaign) == 0


def test_an_arm_that_always_fails_is_no_clump() -> None:
    flags = [True] * 30 + [False] + [True] * 30
    campaign = closed(standing(measured(scenario(over=ARMS)), 3, Purpose.SEARCH, flags))
    assert campaign.exposures[0].longest_run == 30
    assert judge.clumped(campaign) == 0


def test_void_exposures_show_no_clumps() -> None:
    assert judge.clumped(clumps(12, validity=Validity(False, "control"))) == 0


def test_evidence_expires_by_the_clock_alone() -> None:
    search = Search(evidence_ttl_s=60.0)
    campaign = measured(scenario(over=ARMS, search=search))
    assert judge.expired(campaign, 1e6) is None  # there is none
    campaign = apply(campaign, ExposureStarted(1, 3, 0.107, "fault", 100.0))
    assert judge.expired(campaign, 160.0) is None
    found = judge.expired(campaign, 160.1)
    assert found is not None and "search.evidence_ttl (60 s)" in found
    assert judge.expired(apply(campaign, EvidenceExpired(found, 160.1)), 1e6) is None


def with_control(campaign: Campaign, bad: int, n: int, validity: Validity) -> Campaign:
    open_one = standing(campaign, 3, Purpose.SEARCH, [False] * 5)
    assert open_one.current is not None
    control = Series(rescored(campaign.slos, row(n, bad, route=Route.CONTROL)))
    return closed(replace(open_one, current=replace(open_one.current, control=control)),
                  validity=validity)  # fmt: skip


def test_a_control_that_drifts_a_little_in_each_exposure_is_seen_over_all_of_them() -> None:
    campaign = measured(scenario(over=ARMS))
    for _ in range(3):
        assert judge.control_drifted(campaign) is None
        campaign = with_control(campaign, 2, 30, Validity(True))
    assert judge.control_drifted(campaign) == "availability: 6 of 90 (6.67%) bad"
    void = measured(scenario(over=ARMS))
    for _ in range(4):
        void = with_control(void, 2, 30, Validity(False, "not delivered"))
    assert judge.control_drifted(void) is None
