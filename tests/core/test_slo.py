from __future__ import annotations

import pytest

from chaosbandit.core.model import Outcome
from chaosbandit.core.slo import SLI, SLO, ErrorBudget, bad_flags, scored
from tests.simulated import AVAILABILITY, LATENCY, sample

ANY = SLI("any")
OK = SLI("status in 2xx-3xx", ((200, 399),))
TWO_RANGES = SLI("status in 200, 404", ((200, 200), (404, 404)))
FAST = SLI("latency <= 300ms", (), 0.3)
BOTH = SLI("status in 2xx and latency <= 300ms", ((200, 299),), 0.3)


@pytest.mark.parametrize(
    ("sli", "status", "latency_s", "good"),
    [
        (ANY, 200, 9.0, True),
        (ANY, 599, 0.0, True),
        (OK, 200, 9.0, True),
        (OK, 399, 0.0, True),
        (TWO_RANGES, 404, 0.0, True),
        (FAST, 503, 0.3, True),
        (BOTH, 299, 0.3, True),
        (OK, 199, 0.0, False),
        (OK, 400, 0.0, False),
        (TWO_RANGES, 302, 0.0, False),
        (FAST, 200, 0.300001, False),
        (BOTH, 300, 0.1, False),
        (BOTH, 200, 0.4, False),
        (ANY, None, 0.0, False),
    ],
)
def test_a_response_is_good_within_its_statuses_and_its_bound(
    sli: SLI, status: int | None, latency_s: float, good: bool
) -> None:
    outcome = Outcome.RESPONSE if status is not None else Outcome.TRANSPORT_ERROR
    found = sli.good(sample(1, status=status, latency_s=latency_s, outcome=outcome))
    assert good == found


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.RESPONSE])
@pytest.mark.parametrize("sli", [ANY, OK, FAST, BOTH])
def test_what_is_no_response_is_bad_in_every_sli(sli: SLI, outcome: Outcome) -> None:
    assert not sli.good(sample(1, outcome=outcome, latency_s=0.0))
    assert not sli.good(sample(1, outcome=outcome, latency_s=0.0, status=200))


@pytest.mark.parametrize(
    ("latency_s", "lag_s", "bad", "since_sent"),
    [
        (0.2, 0.0, (False, False), (False, False)),
        (0.5, 0.0, (False, True), (False, True)),
        (0.305, 0.01, (False, True), (False, False)),  # late by our own fault
        (0.305, 0.001, (False, True), (False, True)),
        (0.2, 0.01, (False, False), (False, False)),
    ],
)
def test_a_sample_is_scored_once_with_and_without_our_own_lag(
    latency_s: float, lag_s: float, bad: tuple[bool, ...], since_sent: tuple[bool, ...]
) -> None:
    made = sample(1, latency_s=latency_s, lag_s=lag_s, slos=())
    assert made.bad == made.bad_since_sent == ()
    found = scored((AVAILABILITY, LATENCY), made)
    assert (found.bad, found.bad_since_sent) == (bad, since_sent)
    assert (found.latency_s, found.lag_s) == (made.latency_s, made.lag_s)


def test_bad_flags_are_in_the_order_of_the_slos() -> None:
    slow, failed = sample(1, latency_s=0.5), sample(2, bad=True)
    assert bad_flags((AVAILABILITY, LATENCY), slow) == (False, True)
    assert bad_flags((AVAILABILITY, LATENCY), failed) == (True, False)
    assert bad_flags((LATENCY, AVAILABILITY), failed) == (False, True)


@pytest.mark.parametrize(
    ("objective", "bad", "samples", "met"),
    [
        (0.99, 1, 100, True),
        (0.9, 10, 100, True),  # 1 - 0.9 is a hair under 0.1 in floats
        (0.999, 1, 1000, True),
        (0.95, 5, 100, True),
        (0.7, 30, 100, True),
        (0.99, 2, 100, False),
        (0.9, 11, 100, False),
    ],
)
def test_the_bad_ratio_is_what_the_objective_leaves(
    objective: float, bad: int, samples: int, met: bool
) -> None:
    assert met == (bad / samples <= SLO("slo", ANY, objective).bad_ratio)


@pytest.mark.parametrize(
    ("requests", "objective", "spend", "allowed"),
    [
        (2_000_000, 0.99, 0.05, 1000),
        (2_000_000, 0.999, 0.05, 100),
        (2_000_000, 0.9, 0.05, 10_000),
        (1_000_000, 0.95, 0.01, 500),
        (1999, 0.99, 0.1, 1),
        (999, 0.99, 0.1, 0),
        (10, 0.99, 0.1, 0),
    ],
)
def test_the_budget_is_rounded_down(
    requests: int, objective: float, spend: float, allowed: int
) -> None:
    assert ErrorBudget(1.0, requests, spend).allowed(SLO("slo", ANY, objective)) == allowed


def test_shares_and_burn_rates() -> None:
    budget = ErrorBudget(30 * 86400.0, 100_000, 0.05)
    assert budget.window_share(AVAILABILITY, 50) == pytest.approx(0.05)
    assert budget.burn_rate(AVAILABILITY, 1, 100) == pytest.approx(1.0)
    assert budget.burn_rate(AVAILABILITY, 10, 100) == pytest.approx(10.0)
    assert budget.burn_rate(AVAILABILITY, 0, 0) == 0.0
