"""The textbook experiment: tests of fixed size, right as often as promised, then certified."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import binom

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Expose, Purpose
from chaosbandit.core.policies.bisect import _fixed_test
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.sim.response_curves import cliff, flat, smooth
from chaosbandit.sim.simulated_campaign import SimulatedRun, scenario_of
from tests.policy_steps import batches, guarded, holds_the_truth, tried

TAU = 0.05
NAME = "bisect"


def asked(high: float = 100.0, **more: Any) -> Scenario:
    return scenario_of(1.0, high, 1.0 - TAU, policy=NAME, **more)


def searches(run: SimulatedRun) -> list[Expose]:
    return [batch for batch in batches(run) if batch.purpose is Purpose.SEARCH]


def test_every_test_has_the_same_size_whatever_it_shows() -> None:
    run = tried(asked(), cliff(20.0))
    sizes = {batch.samples for batch in searches(run)}
    assert len(sizes) == 1 and all(batch.stop_after_bad is None for batch in batches(run))
    (size,) = sizes
    broken = {batch.variant.arm for batch in searches(run) if batch.variant.severity >= 20.0}
    seen = [Climb(run.campaign).arms[arm] for arm in broken]
    assert seen and all(arm.samples >= size and arm.bad[0] > 0.9 * size for arm in seen)


def test_it_doubles_until_it_breaks_then_bisects() -> None:
    scenario = asked()
    scenario = replace(scenario, search=replace(scenario.search, escalation=2.0))
    run = tried(scenario, cliff(20.0))
    *severities, again = [batch.variant.severity for batch in searches(run)]
    assert again == run.broke  # fails in a second exposure
    up = severities[:6]  # 1, 2, 4 ... 32
    assert up[0] == 1.0 and up[-1] > 20.0
    assert all(1.9 < b / a <= 2.0 for a, b in itertools.pairwise(up))
    assert all(up[-2] < severity < up[-1] for severity in severities[6:])
    assert len(set(severities)) == len(severities)


@pytest.mark.parametrize("tau", [0.001, 0.01, 0.05, 0.5])
@pytest.mark.parametrize("alpha", [0.05, 0.003])
def test_the_fixed_test_is_exact_and_no_larger_than_needed(tau: float, alpha: float) -> None:
    n, (most,) = _fixed_test((tau,), alpha)
    harsh = min(2 * tau, (1 + tau) / 2)
    assert binom.cdf(most, n, harsh) <= alpha and binom.sf(most, n, tau / 2) <= alpha
    fewer = np.arange(n)
    counts = np.arange(most + 1)[:, None]  # rows: what may pass, columns: samples
    too_bad, clean = binom.cdf(counts, fewer, harsh), binom.sf(counts, fewer, tau / 2)
    assert not np.any((too_bad <= alpha) & (clean <= alpha))


def test_several_objectives_share_the_larger_test() -> None:
    n, limits = _fixed_test((0.01, 0.1), 0.01)
    assert n == _fixed_test((0.01,), 0.01)[0]
    assert limits[0] < limits[1]
    assert all(binom.cdf(c, n, 2 * tau) <= 0.01 for c, tau in zip(limits, (0.01, 0.1), strict=True))


def test_cliffs_are_bracketed_and_smooth_curves_never_wrongly() -> None:
    answered = 0
    for seed in range(8):
        at = float(np.exp(default_rng(seed).uniform(0.3, 3.0)))
        run = tried(asked(30.0), cliff(at), seed=seed)
        assert run.answered and holds_the_truth(run, at)
        run = tried(asked(30.0, resolution=1.0), smooth(at, 0.3), seed=seed)
        assert (run.held or 0.0) < at < (run.broke or np.inf)
        answered += run.answered
    assert answered >= 4


def test_it_gives_up_when_the_certificate_does_not_follow() -> None:
    run = tried(asked(), flat(0.8 * TAU), seed=2)
    assert not run.answered and run.broke is None
    assert run.reason.startswith("the certificate does not follow the tests at ")


def test_ends_are_told_from_answers() -> None:
    never, broken = tried(asked(), flat(0.0)), tried(asked(), flat(0.4))
    assert never.answered and never.reason.startswith("held at the cap of 100")
    assert broken.answered and broken.reason.startswith("broke at 1, the mildest severity")
    capped = tried(guarded(asked(), 20.0), cliff(50.0))
    assert capped.reason.startswith("held at the cap of 19.")
    assert max(batch.variant.severity for batch in batches(capped)) <= 20.0
    below = tried(guarded(asked(), 0.5), cliff(50.0))
    assert not below.answered and below.samples == 0


def test_blocks_and_the_sample_limit_are_kept() -> None:
    scenario = asked(max_samples=903)
    run = tried(replace(scenario, search=replace(scenario.search, block=5)), flat(0.005))
    assert run.samples == 903
    assert all(batch.samples % 5 == 0 for batch in batches(run)[:-1])
    assert all(batch.stop_after_bad is None for batch in batches(run))
    assert run.reason == "search.max_samples (903) are spent"


def test_of_two_slos_the_one_that_breaks_first_is_found() -> None:
    both = replace(asked(), slos=(*asked().slos, SLO("loose", SLI("any"), 0.9)))
    for first, second in [(7.0, 30.0), (30.0, 7.0)]:
        run = tried(both, cliff(first), cliff(second, tau=0.1))
        assert run.answered and holds_the_truth(run, 7.0)
