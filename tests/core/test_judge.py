from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaosbandit.core import judge
from chaosbandit.core.campaign import (
    Arm,
    Campaign,
    Decided,
    Exposure,
    ExposureEnded,
    ExposureStarted,
    Observed,
    apply,
)
from chaosbandit.core.model import (
    Dose,
    Expose,
    Health,
    Outcome,
    Phase,
    Purpose,
    Route,
    Sample,
    Validity,
    VerdictKind,
)
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Scenario, Search, Timing
from tests.simulated import AVAILABILITY, LATENCY, SLOPPY, errors_ladder, ladder, sample, scenario

HUNDRED = Timing(steady_samples=100)
REST = [Outcome.TIMEOUT, Outcome.CONNECT_ERROR, Outcome.TRANSPORT_ERROR, Outcome.OVERLOAD]


def row(n: int, bad: int = 0, route: Route = Route.CANARY, latency_s: float = 0.02) -> list[Sample]:
    """n samples, the last ones bad."""
    return [sample(seq, bad=seq >= n - bad, route=route, latency_s=latency_s) for seq in range(n)]


def steady(asked: Scenario, canary: Sequence[Sample], control: Sequence[Sample]) -> Campaign:
    """A campaign that saw these samples before any fault."""
    campaign = apply(opening(asked), Observed(Phase.STEADY, None, tuple(canary)))
    controls = tuple(replace(each, route=Route.CONTROL) for each in control)
    return apply(campaign, Observed(Phase.STEADY, None, controls))


def measured(asked: Scenario, check_s: float | None = 0.005) -> Campaign:
    """A campaign whose steady state was met."""
    campaign = steady(asked, row(100), row(100))
    if check_s is not None:
        checks = tuple(row(5, route=Route.CHECK, latency_s=check_s))
        campaign = apply(campaign, Observed(Phase.STEADY, None, checks, "inventory"))
    return apply(campaign, judge.steady_measured(campaign, True, "", 5.0))


# --- steady state ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canary", "control", "met"),
    [
        ((100, 0), (100, 0), True),
        ((100, 1), (100, 1), True),
        ((200, 2), (100, 0), True),
        ((99, 0), (100, 0), None),
        ((100, 0), (99, 0), None),
        ((0, 0), (0, 0), None),
        ((100, 2), (100, 0), None),
        ((499, 6), (100, 0), None),
        ((500, 6), (100, 0), False),
        ((3, 3), (100, 0), False),
        ((100, 0), (50, 10), False),
    ],
)
def test_steady_state_is_met_not_met_or_needs_more(
    canary: tuple[int, int], control: tuple[int, int], met: bool | None
) -> None:
    campaign = steady(scenario(timing=HUNDRED), row(*canary), row(*control))
    found = judge.steady_state(campaign, campaign.steady_samples)
    assert met == (None if found is None else found[0])


def test_an_unmet_steady_state_says_where_and_how() -> None:
    campaign = steady(scenario(LATENCY), row(100), row(10, latency_s=0.5))
    found = judge.steady_state(campaign, campaign.steady_samples)
    assert found is not None
    assert not found[0]
    assert "latency is not met on the control route without any fault: 10 of 10" in found[1]
    assert "for example 200 after 500 ms" in found[1]


def test_where_nothing_listens_nothing_more_is_needed() -> None:
    refused = [sample(seq, outcome=Outcome.CONNECT_ERROR) for seq in range(10)]
    campaign = steady(scenario(timing=HUNDRED), refused, row(100))
    found = judge.steady_state(campaign, campaign.steady_samples)
    assert found == (False, "the canary route cannot be connected to: nothing listens there")


@pytest.mark.parametrize(
    ("canary", "control", "declared", "block"),
    [
        ([], [], None, 1),
        ([5], [7], None, 1),
        ([5, 6], [], None, 8),
        ([5, 6], [3, 4, 5], None, 12),
        ([5, 7], [], None, 1),
        ([], [], 6, 6),
        ([5, 6], [], 6, 8),
    ],
)
def test_blocks_are_four_times_the_longest_burst(
    canary: list[int], control: list[int], declared: int | None, block: int
) -> None:
    asked = scenario(search=Search(block=declared))
    campaign = steady(
        asked,
        [sample(seq, bad=seq in canary) for seq in range(20)],
        [sample(seq, bad=seq in control) for seq in range(20)],
    )
    assert judge.block_length(campaign) == block


def test_a_burst_is_seen_in_order_of_sending_however_late_its_samples_come_back() -> None:
    good = [sample(seq) for seq in (0, 1, 5, 6, 7, 8)]
    bad = [sample(seq, bad=True) for seq in (2, 3, 4)]  # time-outs: they finish last
    mixed = [*good[:4], bad[0], good[4], bad[1], good[5], bad[2]]
    assert judge.longest_burst(steady(scenario(), mixed, [])) == 3


def test_checks_are_no_failures_of_the_target() -> None:
    campaign = measured(scenario())
    checks = tuple(sample(900 + n, bad=True, route=Route.CHECK) for n in range(9))
    assert (
        judge.longest_burst(apply(campaign, Observed(Phase.STEADY, None, checks, "inventory"))) == 0
    )


def test_what_later_exposures_are_compared_with() -> None:
    asked = scenario(AVAILABILITY, LATENCY)
    slow = [sample(seq, latency_s=0.4 if seq >= 94 else 0.02) for seq in range(100)]
    campaign = steady(asked, slow, row(100, 4))
    checks = tuple(row(3, route=Route.CHECK, latency_s=0.007))
    campaign = apply(campaign, Observed(Phase.STEADY, None, checks, "inventory"))
    found = judge.steady_measured(campaign, True, "fine", 9.0)
    assert (found.met, found.why, found.now_s) == (True, "fine", 9.0)
    assert found.control_bad_ratios == (0.04, 0.0)
    assert found.canary_p95_s == 0.4
    assert found.check_medians_s == {"inventory": 0.007}
    assert found.block == 24


@pytest.mark.parametrize(
    ("latencies", "q", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.95, 3.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), ([2.0, 1.0], 1.0, 2.0)],
)
def test_quantiles_are_of_the_nearest_rank(
    latencies: list[float], q: float, expected: float
) -> None:
    samples = [sample(n, latency_s=each) for n, each in enumerate(latencies)]
    assert judge.quantile_s(samples, q) == expected


# --- one exposure ---------------------------------------------------------------------------------


def exposure(
    severity: float = 0.1,
    canary: Sequence[Sample] = (),
    control: Sequence[Sample] = (),
    check: Sequence[Sample] = (),
    late: int = 0,
) -> Exposure:
    return Exposure(
        1, 3, severity, 0.0, tuple(canary), tuple(control), tuple(check),
        late=late, samples=len(canary),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("canary_s", "control_s", "check_s", "expected"),
    [
        ([0.12, 0.13, 0.5], [0.02], [0.105], Dose(0.1, 0.1, 0.11)),
        ([0.12], [], [0.105], Dose(0.1, 0.1, None)),
        ([], [0.02], [0.105], Dose(0.1, 0.1, None)),
        ([0.12], [0.02], [], Dose(0.1, None, 0.1)),
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


def test_a_control_route_that_fails_now_and_then_voids_nothing() -> None:
    control = row(200, 2, route=Route.CONTROL)
    assert judge.validity(
        measured(scenario()), exposure(0.1, GOOD, control, ARRIVED), Health(), 0
    ).valid


def test_errors_are_not_void_for_a_dose_that_cannot_be_told_from_the_outcome() -> None:
    campaign = measured(scenario(over=errors_ladder()))
    assert judge.validity(campaign, exposure(0.5, GOOD, CONTROL), Health(), 0).valid


@pytest.mark.parametrize(
    ("canary", "control", "back"),
    [
        (row(10), row(3), True),
        ([*row(30, 30), *row(10)], row(3), True),
        (row(10, latency_s=0.034), row(3), True),  # 1.25 x 20 ms + 10 ms
        (row(10, latency_s=0.2), row(3, latency_s=0.2), True),  # everybody is slow now
        ([*row(6, latency_s=0.02), *row(4, latency_s=0.2)], row(3), True),  # a median
        (row(9), row(3), False),
        (row(10, 1), row(3), False),
        (row(10, latency_s=0.036), row(3), False),
        ([], [], False),
    ],
)
def test_washed_out_is_ten_in_a_row_within_the_control_band(
    canary: list[Sample], control: list[Sample], back: bool
) -> None:
    found, why = judge.washed_out(measured(scenario()), canary, control)
    assert back == found
    assert f"of the last {min(10, len(canary))} bad" in why


@pytest.mark.parametrize(
    ("bad", "n", "sick"),
    [(0, 10, False), (4, 10, False), (5, 10, True), (1, 1, True), (0, 0, True)],
)
def test_a_control_route_that_fails_vouches_for_nothing(bad: int, n: int, sick: bool) -> None:
    assert sick == judge.control_sick(measured(scenario()), row(n, bad))


# --- claims ---------------------------------------------------------------------------------------


def exposed(
    campaign: Campaign,
    arm: int,
    purpose: Purpose,
    good: int,
    bad: int,
    dose: Dose | None = None,
) -> Campaign:
    """One valid exposure with bets that pay."""
    n, number = len(campaign.exposures) + 1, len(campaign.decisions)
    variant = campaign.ladder.variant(arm)
    q = 0.001 if purpose is Purpose.HELD else 0.9
    decision = Expose(variant, good + bad, purpose, (q,) * len(campaign.slos))
    samples = tuple(sample(seq, bad=seq >= good) for seq in range(good + bad))
    for event in (
        Decided(number, decision, 0, 0.0),
        ExposureStarted(n, arm, variant.severity, "fault", 0.0),
        Observed(Phase.MEASURE, number, samples),
        ExposureEnded(
            n, arm, Validity(True), dose or Dose(variant.severity), Health(), 0, None, 1.0
        ),
    ):
        campaign = apply(campaign, event)
    return campaign


ARMS = ladder(0.1, 0.2)  # 100, 102, 105, 107, 110, 113, ...


def bracketed() -> Campaign:
    campaign = measured(scenario(over=ARMS))
    campaign = exposed(campaign, 2, Purpose.HELD, 420, 0)
    campaign = exposed(campaign, 4, Purpose.SEARCH, 5, 0)
    return exposed(campaign, 5, Purpose.BROKE, 0, 2)


def test_two_certified_sides_close_a_bracket() -> None:
    found = judge.bracket(bracketed())
    assert (found.held, found.broke, found.closed) == (0.105, ARMS.severities[5], True)
    assert found.confidence == 0.95


def test_claims_name_what_was_measured_what_is_implied_and_what_is_unknown() -> None:
    campaign = exposed(bracketed(), 0, Purpose.SEARCH, 10, 0)
    campaign = exposed(campaign, 8, Purpose.SEARCH, 1, 2)
    verdicts = judge.claims(campaign)
    assert [(v.kind, v.measured, v.samples, v.bad) for v in verdicts] == [
        (VerdictKind.HELD, False, 10, (0,)),
        (VerdictKind.HELD, True, 420, (0,)),
        (VerdictKind.UNKNOWN, True, 5, (0,)),
        (VerdictKind.BROKE, True, 2, (2,)),
        (VerdictKind.BROKE, False, 3, (2,)),
    ]
    text = [ARMS.text(v.severity) for v in verdicts]
    assert [v.sentence for v in verdicts] == [
        f"{text[0]}: held, 0 of 10 requests bad, implied by monotonicity",
        f"{text[1]}: held, 0 of 420 requests bad, certified at 0.95 confidence",
        f"{text[2]}: unknown, 0 of 5 requests bad",
        f"{text[3]}: broke, 2 of 2 requests bad, certified at 0.95 confidence",
        f"{text[4]}: broke, 2 of 3 requests bad, implied by monotonicity",
    ]


def test_one_side_alone_needs_twice_the_evidence() -> None:
    gain = math.log((1 - 0.001) / (1 - 0.01))
    just = math.ceil(math.log(20) / gain)  # 1/delta, not 2/delta
    campaign = measured(scenario(over=ARMS))
    assert judge.bracket(exposed(campaign, 2, Purpose.HELD, just, 0)).held is None
    enough = math.ceil(math.log(40) / gain)
    assert judge.bracket(exposed(campaign, 2, Purpose.HELD, enough, 0)).held == 0.105


def test_nothing_is_claimed_where_an_assumption_failed() -> None:
    campaign = exposed(bracketed(), 1, Purpose.BROKE, 0, 3)
    campaign = exposed(campaign, 7, Purpose.HELD, 2000, 0)
    assert campaign.certificate.empty
    found = judge.bracket(campaign)
    assert (found.held, found.broke, found.closed) == (None, None, False)
    assert {v.kind for v in judge.claims(campaign)} == {VerdictKind.UNKNOWN}


def test_an_open_exposure_is_among_the_claims() -> None:
    campaign = apply(bracketed(), ExposureStarted(4, 9, ARMS.severities[9], "fault", 0.0))
    assert judge.claims(campaign)[-1].severity == ARMS.severities[9]


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
    ],
)
def test_a_path_is_exercised_when_a_dose_was_felt_somewhere(
    doses: list[Dose], broke: bool, expected: bool
) -> None:
    campaign = measured(scenario(over=ARMS))
    for given in doses:
        campaign = exposed(campaign, 0, Purpose.SEARCH, 5, 0, given)
    if broke:
        arms = (Arm(9, (9,), 9), *campaign.arms[1:])
        campaign = campaign.with_climb(arms=arms)
    assert judge.exercised(campaign) == expected


def test_a_path_that_is_not_exercised_supports_no_claim() -> None:
    unfelt = Dose(0.105, 0.105, 0.0)
    campaign = exposed(measured(scenario(over=ARMS)), 2, Purpose.HELD, 900, 0, unfelt)
    assert judge.bracket(campaign).held is None
    one_bad = exposed(campaign, 2, Purpose.SEARCH, 0, 1)
    assert judge.bracket(one_bad).held is None, "a bad request now and then is not a felt dose"
    felt = exposed(campaign, 2, Purpose.SEARCH, 5, 0, Dose(0.105, 0.105, 0.1))
    assert judge.bracket(felt).held == 0.105


@pytest.mark.parametrize(
    ("require", "gate"),
    [
        ({}, None),
        ({"another": 9.0}, None),
        ({"slow": 0.1}, True),
        ({"slow": 0.105}, True),
        ({"slow": 0.106}, False),  # inside the closed bracket: not shown to hold
        ({"slow": 0.5}, False),
    ],
)
def test_a_gate_holds_only_when_certified(require: dict[str, float], gate: bool | None) -> None:
    campaign = bracketed()
    campaign = replace(campaign, scenario=replace(campaign.scenario, require=require))
    assert judge.gate(campaign) is gate


@pytest.mark.parametrize(
    ("require", "gate"), [({"slow": 0.1}, None), ({"slow": 0.13}, False), ({"slow": 0.15}, False)]
)
def test_a_gate_is_open_while_nothing_is_known_of_it(
    require: dict[str, float], gate: bool | None
) -> None:
    asked = scenario(SLOPPY, over=ARMS, require=require)
    campaign = exposed(measured(asked), 8, Purpose.BROKE, 0, 4)
    broke = judge.bracket(campaign).broke
    assert broke is not None
    assert 0.1 < broke < 0.13
    assert judge.gate(campaign) is gate
