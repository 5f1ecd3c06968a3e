from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaosbandit.core import steady_state as steadiness
from chaosbandit.core.campaign import Campaign, apply
from chaosbandit.core.events import Observed
from chaosbandit.core.model import Outcome, Phase, Route, Sample
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Scenario, Search, Timing
from tests.core.by_hand import checked, measured, rescored, row, steady
from tests.simulated import AVAILABILITY, LATENCY, sample, scenario

HUNDRED = Timing(steady_samples=100)


# --- before the first fault -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canary", "control", "met"),
    [
        ((100, 0), (20, 0), True),
        ((100, 1), (100, 1), True),
        ((200, 2), (20, 0), True),
        ((99, 0), (20, 0), None),
        ((100, 0), (19, 0), None),
        ((0, 0), (0, 0), None),
        ((100, 2), (20, 0), None),
        ((499, 6), (20, 0), None),
        ((500, 6), (20, 0), False),
        ((3, 3), (20, 0), False),
        ((100, 0), (50, 10), False),
        # A control with few requests cannot show 99 %: it is only called sick on proof.
        ((100, 0), (20, 1), None),
        ((100, 0), (99, 1), None),
        ((100, 0), (100, 2), True),
    ],
)
def test_steady_state_is_met_not_met_or_needs_more(
    canary: tuple[int, int], control: tuple[int, int], met: bool | None
) -> None:
    campaign = steady(scenario(timing=HUNDRED), row(*canary), row(*control))
    found = steadiness.steady_state(campaign, campaign.steady_samples)
    assert met == (None if found is None else found[0])


@pytest.mark.parametrize(
    ("samples", "share", "control"),
    [
        (100, 0.2, 20),
        (100, 1.0, 100),
        (100, 2.0, 100),
        (20, 0.2, 10),
        (5, 0.2, 5),
        (1000, 0.2, 200),
    ],
)
def test_steady_state_asks_the_control_for_its_share(
    samples: int, share: float, control: int
) -> None:
    asked = scenario(timing=Timing(steady_samples=samples))
    asked = replace(asked, traffic=replace(asked.traffic, control_share=share))
    assert steadiness.steady_wanted(asked, Route.CANARY) == samples
    assert steadiness.steady_wanted(asked, Route.CONTROL) == control


def test_an_unmet_steady_state_says_where_and_how() -> None:
    campaign = steady(scenario(LATENCY), row(100), row(10, latency_s=0.5))
    found = steadiness.steady_state(campaign, campaign.steady_samples)
    assert found is not None
    assert not found[0]
    assert "latency is not met on the control route without any fault: 10 of 10" in found[1]
    assert "for example 200 after 500 ms" in found[1]


def test_where_nothing_listens_nothing_more_is_needed() -> None:
    refused = [sample(seq, outcome=Outcome.CONNECT_ERROR) for seq in range(10)]
    campaign = steady(scenario(timing=HUNDRED), refused, row(100))
    found = steadiness.steady_state(campaign, campaign.steady_samples)
    assert found == (False, "the canary route cannot be connected to: nothing listens there")


@pytest.mark.parametrize(
    ("canary", "control", "objective"),
    [
        (row(500, 6), row(100), "96.1%"),  # 6 of 500 are shown to be at most 3.8 %
        (row(500), row(100, 10), "77.2%"),  # the worse route counts
        (row(20, 1), row(20), "66.9%"),  # few requests show little
    ],
)
def test_an_objective_is_proposed_as_far_as_it_was_measured(
    canary: list[Sample], control: list[Sample], objective: str
) -> None:
    told = steadiness.advice(steady(scenario(), canary, control))
    assert f"objective: {objective} for {AVAILABILITY.name}" in told
    share = float(objective.rstrip("%")) / 100
    assert all(sum(each.bad[0] for each in seen) <= (1 - share) * len(seen)
               for seen in (canary, control))  # fmt: skip


def test_only_what_is_missed_is_asked_less_of() -> None:
    campaign = steady(
        scenario(AVAILABILITY, LATENCY), row(100), [*row(90), *row(10, latency_s=0.5)]
    )
    assert LATENCY.name in steadiness.advice(campaign)
    assert AVAILABILITY.name not in steadiness.advice(campaign)


def test_nobody_is_advised_to_ask_for_half() -> None:
    assert "see what is wrong" in steadiness.advice(steady(scenario(), row(50, 30), row(50)))


def test_pages_that_are_not_there_are_a_wrong_path() -> None:
    missing = [sample(seq, bad=True, status=404) for seq in range(10)]
    assert "404" in steadiness.advice(steady(scenario(), missing, row(50)))


@pytest.mark.parametrize(
    ("run", "samples", "ratio", "clump"),
    [
        (1, 100, 1e-9, False),  # one is no run
        (2, 20, 0.1, False),
        (2, 100, 0.01, False),
        (2, 100, 0.001, True),
        (3, 100, 0.01, True),
        (4, 100, 0.04, True),
        (20, 100, 0.9, False),  # it simply fails
        (12, 10_000, 0.01, True),
    ],
)
def test_a_clump_is_a_run_that_chance_hardly_explains(
    run: int, samples: int, ratio: float, clump: bool
) -> None:
    assert steadiness.is_clump(run, samples, ratio) is clump


@pytest.mark.parametrize(
    ("canary", "control", "declared", "block"),
    [
        ([], [], None, 1),
        ([5], [7], None, 1),
        ([5, 6], [], None, 1),  # chance has that now and then
        ([5, 6, 7, 8], [], None, 16),
        ([5, 6, 7, 8], [3, 4, 5, 6, 7], None, 20),
        ([5, 7, 9, 11], [], None, 1),
        (list(range(40)), [], None, 1),  # no clump: it fails all the time
        ([], [], 6, 6),
        ([5, 6, 7, 8], [], 6, 16),
        ([5, 6, 7, 8], [], 60, 60),
    ],
)
def test_blocks_are_four_times_the_longest_burst_that_is_no_chance(
    canary: list[int], control: list[int], declared: int | None, block: int
) -> None:
    asked = scenario(search=Search(block=declared))
    campaign = steady(
        asked,
        [sample(seq, bad=seq in canary) for seq in range(100 if len(canary) < 40 else 42)],
        [sample(seq, bad=seq in control) for seq in range(100)],
    )
    assert steadiness.block_length(campaign) == block


def test_a_burst_is_seen_in_order_of_sending_however_late_its_samples_come_back() -> None:
    good = [sample(seq) for seq in range(100) if not 2 <= seq <= 5]
    bad = [sample(seq, bad=True) for seq in (2, 3, 4, 5)]  # time-outs: they finish last
    mixed = [*good[:4], bad[0], good[4], bad[1], good[5], bad[2], *good[6:], bad[3]]
    assert steadiness.block_length(steady(scenario(), mixed, [])) == 16


def test_checks_are_no_failures_of_the_target() -> None:
    checks = [sample(900 + n, bad=True, route=Route.CHECK) for n in range(9)]
    assert steadiness.block_length(checked(measured(scenario()), *checks)) == 1


def test_what_later_exposures_are_compared_with() -> None:
    asked = scenario(AVAILABILITY, LATENCY)
    slow = [sample(seq, latency_s=0.4 if seq >= 94 else 0.03) for seq in range(100)]
    campaign = checked(
        steady(asked, slow, row(100, 4)), *row(3, route=Route.CHECK, latency_s=0.007)
    )
    found = steadiness.steady_measured(campaign, True, "fine", 9.0)
    assert (found.met, found.why, found.now_s) == (True, "fine", 9.0)
    assert found.control_bad_ratios == (0.04, 0.0)
    assert found.canary_p95_s == 0.4
    assert found.canary_less_control_s == pytest.approx(0.01)
    assert found.check_medians_s == {"inventory": 0.007}
    assert found.block == 24


def test_without_a_control_nothing_is_known_of_the_usual_difference() -> None:
    found = steadiness.steady_measured(steady(scenario(), row(100), []), True, "", 9.0)
    assert found.canary_less_control_s == 0.0


@pytest.mark.parametrize(
    ("latencies", "q", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.95, 3.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), ([2.0, 1.0], 1.0, 2.0)],
)
def test_quantiles_are_of_the_nearest_rank(
    latencies: list[float], q: float, expected: float
) -> None:
    samples = [sample(n, latency_s=each) for n, each in enumerate(latencies)]
    assert steadiness.quantile_s(samples, q) == expected


REFUSED = sample(9, outcome=Outcome.CONNECT_ERROR, latency_s=0.0001, route=Route.CHECK)
HUNG = sample(8, outcome=Outcome.TIMEOUT, latency_s=2.0, route=Route.CHECK)


@pytest.mark.parametrize(
    ("checks", "arrived_s"),
    [
        ([], None),
        (row(3, latency_s=0.1), 0.1),
        ([*row(3, latency_s=0.1), HUNG, HUNG], 0.1),
        ([*row(3, latency_s=0.1), REFUSED], 0.1),
        ([REFUSED, REFUSED], 0.0),
        ([HUNG], 0.0),
    ],
)
def test_a_check_that_fails_took_no_dose(checks: list[Sample], arrived_s: float | None) -> None:
    assert steadiness.arrived_s(checks) == arrived_s


# --- after a fault --------------------------------------------------------------------------------


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
    found = steadiness.washed_out(measured(scenario()), canary, control)
    assert back == found.back
    assert f"of the last {min(10, len(canary))} bad" in found.why


@pytest.mark.parametrize(
    ("canary", "enough"),
    [(row(10), True), (row(10, 1), True), (row(9), False), (row(9, 1), True), ([], False)],
)
def test_too_few_that_are_all_well_tell_nothing(canary: list[Sample], enough: bool) -> None:
    assert steadiness.washed_out(measured(scenario()), canary, row(3)).enough is enough


def slowly(rate_per_s: float, washout_s: float = 15.0) -> Scenario:
    return scenario(rate_per_s=rate_per_s, timing=replace(HUNDRED, washout_s=washout_s))


@pytest.mark.parametrize(
    ("rate_per_s", "washout_s", "window", "limit_s"),
    [
        (50.0, 15.0, 10, 15.0),
        (2.0, 15.0, 10, 15.0),
        (1.0, 15.0, 5, 15.0),
        (0.5, 15.0, 4, 18.0),
        (0.1, 15.0, 4, 82.0),
        (50.0, 0.4, 7, 2.28),
    ],
)
def test_windows_and_limits_follow_the_rate(
    rate_per_s: float, washout_s: float, window: int, limit_s: float
) -> None:
    asked = slowly(rate_per_s, washout_s)
    assert steadiness.window(asked) == window
    assert steadiness.limit_s(asked, washout_s) == pytest.approx(limit_s)


def test_at_a_low_rate_fewer_in_a_row_are_washed_out() -> None:
    campaign = opening(slowly(0.5))
    assert steadiness.washed_out(campaign, row(4), row(1)).back
    assert not steadiness.washed_out(campaign, row(3), row(1)).back


@pytest.mark.parametrize(
    ("bad", "n", "sick"),
    [(0, 10, False), (4, 10, False), (5, 10, True), (1, 1, True), (0, 0, True)],
)
def test_a_control_route_that_fails_vouches_for_nothing(bad: int, n: int, sick: bool) -> None:
    assert sick == steadiness.control_sick(row(n, bad))


@pytest.mark.parametrize(
    ("samples", "sick"), [(row(10, 10), True), (row(30, 9), False), ([], False)]
)
def test_a_whole_window_of_bad_samples_is_plainly_sick(samples: list[Sample], sick: bool) -> None:
    assert steadiness.plainly_sick(measured(scenario()), samples) is sick


@pytest.mark.parametrize(
    ("checks", "well"),
    [
        (row(5, latency_s=0.005), True),
        (row(5, latency_s=0.019), True),  # 2 x 5 ms + 10 ms
        (row(5, latency_s=0.021), False),
        (row(4, latency_s=0.005), False),
        ([*row(9, latency_s=0.5), *(sample(20 + n, latency_s=0.005) for n in range(5))], True),
        ([*row(4, latency_s=0.005), REFUSED], False),
    ],
)
def test_the_dependency_vouches_for_its_proxy(checks: list[Sample], well: bool) -> None:
    assert steadiness.check_well(measured(scenario()), checks) is well
    assert not steadiness.check_well(opening(scenario()), checks)  # nothing to compare with


def test_all_of_one_outcome_is_said() -> None:
    gone = [sample(n, outcome=Outcome.CONNECT_ERROR) for n in range(10)]
    found = steadiness.washed_out(measured(scenario()), gone, row(3))
    assert found.why.startswith("10 of the last 10 bad (all connect-error)")


@pytest.mark.parametrize(
    ("bad", "n", "text"),
    [(3, 100, "3 of 100 (3.00%)"), (0, 0, "0 of 0"), (1, 3, "1 of 3 (33.33%)")],
)
def test_ratios_are_told_with_their_counts(bad: int, n: int, text: str) -> None:
    assert steadiness.ratio_text(bad, n) == text


def test_each_proxy_has_its_usual_check() -> None:
    campaign = measured(scenario())
    assert steadiness.usual_check_s(campaign, "inventory") == 0.005
    assert steadiness.usual_check_s(campaign, "prices") is None
    assert steadiness.usual_check_s(opening(scenario()), "inventory") is None


def with_steady(campaign: Campaign, samples: Sequence[Sample]) -> Campaign:
    event = Observed(Phase.STEADY, None, rescored(campaign.slos, samples))
    return apply(campaign, event)


def test_one_sick_slo_is_enough() -> None:
    asked = scenario(AVAILABILITY, LATENCY, timing=HUNDRED)
    campaign = with_steady(steady(asked, [], row(100)), row(100, latency_s=0.5))
    found = steadiness.steady_state(campaign, campaign.steady_samples)
    assert found is not None and not found[0]
    assert found[1].startswith("latency is not met on the canary route")
