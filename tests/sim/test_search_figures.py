"""The figures of `make bench` in small: few false claims, near the limit, far ahead of the rival.

Cheap families only, seeded; the tables have all families and thousands of campaigns.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import binom

from benchmarks.families import FAMILIES, response_of
from benchmarks.figures import total
from benchmarks.search import limit_of, scenario_of
from benchmarks.study import DELTA, Case, Sampled, sampled
from benchmarks.yardsticks import pair_of, wald_samples
from chaosbandit.core.scenario import BRACKET, GATE
from chaosbandit.sim import limit
from chaosbandit.sim.information_limit import Pair

SEED = 11  # not the one of the tables
CLIFF = Case("cliff", 0.01)
SHORT = 300.0  # a ladder long enough for validity, which has nothing to do with its length


def campaigns(case: Case, runs: int) -> list[Sampled]:
    return [sampled(case, SEED, number) for number in range(runs)]


def too_many(runs: int) -> int:
    """Hits that a share of delta exceeds in one of a thousand tests."""
    return int(binom.ppf(0.999, runs, DELTA)) + 1


@pytest.fixture(scope="module")
def cliffs() -> list[Sampled]:
    return campaigns(CLIFF, 80)


@pytest.mark.parametrize(
    ("case", "runs"),
    [
        (Case("cliff", 0.05, harsh=SHORT), 40),
        (Case("soft", 0.01, harsh=SHORT), 40),
        (Case("soft", 0.05, harsh=SHORT), 40),
        (Case("retry-storm", 0.05, harsh=SHORT), 40),
        (Case("two-steps", 0.05, harsh=SHORT, resolution=0.5), 60),
        # Hardly any claim on a cliff can be false; here a certificate that is too easy shows.
        (Case("width-0.3", 0.05, harsh=30.0, resolution=0.5), 100),
    ],
    ids=lambda value: f"{value.family} {value.tau:.0%}" if isinstance(value, Case) else "",
)
def test_false_claims_stay_within_delta(case: Case, runs: int) -> None:
    found = campaigns(case, runs)
    assert all(one.answered and one.closed for one in found)
    assert sum(one.wrong for one in found) < too_many(runs)


def test_false_claims_on_the_cliff_stay_within_delta(cliffs: list[Sampled]) -> None:
    assert all(one.answered and one.closed for one in cliffs)
    assert sum(one.wrong for one in cliffs) < too_many(len(cliffs))


@pytest.mark.parametrize("tau", [0.01, 0.05])
def test_exactly_at_the_objective_each_side_is_rarely_claimed(tau: float) -> None:
    """Neither claim is false there, but each comes up by chance alone."""
    found = campaigns(Case("exactly at tau", tau, harsh=30.0, max_samples=round(15 / tau)), 60)
    for claims in ("held", "broke", "closed"):
        assert sum(getattr(one, claims) for one in found) < too_many(len(found)), claims


@pytest.mark.parametrize("family", ["A/A", "never breaks"])
def test_what_never_breaks_is_not_bracketed(family: str) -> None:
    found = campaigns(Case(family, 0.05, harsh=30.0), 40)
    assert all(one.answered for one in found)
    assert sum(one.wrong or one.broke for one in found) < too_many(len(found))
    assert sum(one.held and not one.broke for one in found) > len(found) - too_many(len(found))


def test_a_cliff_takes_hardly_more_samples_than_the_limit(cliffs: list[Sampled]) -> None:
    """Single campaigns scatter by half of the limit, so means of 80 by 0.06: three of these spare.

    The mean is 1.48 (580 campaigns of other seeds).
    """
    assert mean(one.samples / one.limit for one in cliffs) <= 1.65
    assert mean(one.bad for one in cliffs) <= 8


def test_few_exposures_when_each_costs_time(cliffs: list[Sampled]) -> None:
    found = campaigns(replace(CLIFF, setup_s=2.0), 40)
    assert mean(one.exposures for one in found) <= 25
    assert total(found, "samples") <= 1.5 * total(cliffs[:40], "samples")


def test_short_samples_certify_what_they_can() -> None:
    """Of the first version's campaigns with so many samples 10 % and none certified both sides."""
    soft = campaigns(Case("soft", 0.01, max_samples=500), 24)
    gradual = campaigns(Case("width-0.1", 0.01, max_samples=1000), 12)
    assert sum(one.sides == 2 for one in soft) >= 8
    assert sum(one.sides == 2 for one in gradual) >= 5
    assert all(one.sides >= 1 for one in soft) and not any(one.wrong for one in soft + gradual)


@pytest.mark.parametrize(("family", "at"), [("A/A", 100.0), ("cliff", 50.0)])
def test_a_gate_costs_less_than_a_bracket(family: str, at: float) -> None:
    gate = Case(family, 0.01, at=at, required=100.0, stop=GATE)
    found, whole = campaigns(gate, 20), campaigns(replace(gate, stop=BRACKET), 20)
    assert all(one.answered and not one.wrong for one in found)
    assert total(found, "samples") < 0.9 * total(whole, "samples")


def test_the_fair_rival_needs_many_times_as_much(cliffs: list[Sampled]) -> None:
    """So many campaigns tell a ratio of means to a quarter: it may be that much below the table."""
    rival = campaigns(replace(CLIFF, policy="bisect_sequential"), len(cliffs))
    assert all(one.answered for one in rival)
    assert sum(one.wrong for one in rival) < too_many(len(rival))
    assert total(rival, "samples") >= 6.5 * total(cliffs, "samples")
    assert total(rival, "bad") >= 1.3 * total(cliffs, "bad")


def test_every_policy_and_price_meets_the_same_targets() -> None:
    first = Case("probit", 0.01, harsh=SHORT, max_samples=50)
    limits = [
        sampled(case, SEED, 3).limit
        for case in (first, replace(first, policy="ramp"), replace(first, setup_s=2.0))
    ]
    assert limits[0] == limits[1] == limits[2] != sampled(first, SEED, 4).limit


@pytest.mark.parametrize("tau", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_crosses_where_it_says(family: str, tau: float) -> None:
    ratio = FAMILIES[family]
    ratios = [ratio(float(relative), tau) for relative in np.geomspace(1e-4, 1e4, 801)]
    assert ratios == sorted(ratios) and 0.0 < ratios[0] <= 0.5 * tau and ratios[-1] <= 0.96
    assert ratio(0.999, tau) < tau <= ratio(1.001, tau)


@pytest.mark.parametrize("family", ["cliff", "probit"])
def test_the_limit_is_the_simulators(family: str) -> None:
    response = response_of(family, 70.0, 0.01)
    assert limit_of(response, scenario_of()) == pytest.approx(
        limit(lambda severity: response(severity)[0], low=1.0, high=10_000.0, objective=0.99),
        rel=1e-3,  # its grid is of whole milliseconds
    )


def test_walds_test_oversteps_but_not_by_much() -> None:
    pair = pair_of(response_of("cliff", 70.0, 0.01), scenario_of())
    assert (pair.low, pair.high) == (0.001, 0.95)
    rng = default_rng(0)
    needed = mean(wald_samples(pair, 0.01, DELTA, rng) for _ in range(200))
    assert pair.limit < needed < 1.15 * pair.limit
    assert wald_samples(Pair(1e-9, 0.999999, 0.0), 0.01, DELTA, rng) == 293 + 1
