"""One simulated campaign of a scenario: a service drawn at random, and what finding out cost.

Policies, fold, limits, `search.hold` and the second look at what broke are the real ones
(sim.trial), and so are warm-up, wash-out, steady state, control requests, requests in flight and
the length of an exposure. Left out: requests sent late, void exposures, failures in clumps, a
target that recovers slowly or has bad moments, and `abort_if_bad_in_a_row`, which ends an exposure
and not the run. Real runs cost a little more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator

from chaosbandit.core import guardrail
from chaosbandit.core.campaign import Tally
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.ending import Ending, ending, stopped_for
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Route, Stop, Variant
from chaosbandit.core.policies import highest_arm, policy
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.steady_state import steady_wanted, window
from chaosbandit.plan.curves import Response, control_ratio, response
from chaosbandit.sim.simulated_campaign import (
    NOTHING_SPENT,
    Draw,
    Latency,
    SimulatedRun,
    Spent,
    Toll,
    trial,
)

SETUP_S = 0.1  # to inject, read back and remove a fault
HANGING = 1 / 3  # of the services: a failing request is heard of at the time-out only
HEALTHY_S = 0.03  # a good answer without a fault


class Found(StrEnum):
    """What a campaign ends with on one ladder."""

    BRACKET = "bracket"
    ABOVE = "above"  # the breaking point is above the harshest severity allowed
    BELOW = "below"  # and here below the mildest
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Service:
    """What is drawn for one campaign: how the target fails on each ladder, and how fast."""

    responses: Mapping[str, Response]  # per ladder
    control: tuple[float, ...]  # bad ratio per SLO without a fault
    hangs: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """What one simulated campaign cost and what came of it."""

    number: int
    found: tuple[Found, ...]  # per ladder
    ending: Ending  # with exit code and gates, as a real run's
    requests: float  # on all routes
    canary_requests: int
    samples: int  # measured ones of these
    exposures: int
    duration_s: float
    bad: tuple[int, ...]  # per SLO, canary requests of all phases
    bad_requests: int  # bad in at least one SLO
    stood: Spent = NOTHING_SPENT  # of all this, for `search.hold` alone

    @property
    def answered(self) -> bool:
        """Whether what was asked is certified."""
        return self.ending.answered


def simulated(scenario: Scenario, seed: int, number: int) -> Cost:
    """Campaign `number`: the same service and luck whatever the limits of the scenario are."""
    rng = np.random.default_rng([seed, number])
    service = plausible(scenario, rng)
    return cost_of(scenario, service, int(rng.integers(2**31)), number)


def cost_of(scenario: Scenario, service: Service, seed: int, number: int = 0) -> Cost:
    """What one campaign against this service costs."""
    found = trial(
        scenario,
        _drawn(service.responses),
        policy=policy(scenario.search.policy),
        seed=seed,
        control_bad_ratios=service.control,
        toll=toll_of(scenario, latency_of(scenario, hangs=service.hangs)),
    )
    return _cost(scenario, found, number)


def plausible(scenario: Scenario, rng: Generator) -> Service:
    """A service that may stand behind the scenario's ladders."""
    taus = [slo.bad_ratio for slo in scenario.slos]
    control = tuple(control_ratio(tau, rng) for tau in taus)
    hangs = bool(rng.random() < HANGING)
    responses = {}
    for ladder in scenario.ladders:
        low, high = ladder.severities[0], harshest(scenario, ladder)
        responses[ladder.name] = response(low, high, taus, control, rng)
    return Service(responses, control, hangs)


def harshest(scenario: Scenario, ladder: Ladder) -> float:
    """The highest severity that the guardrails allow."""
    cap = scenario.cap(ladder)
    return ladder.severities[-1 if cap is None else max(0, highest_arm(ladder.severities, cap))]


def toll_of(scenario: Scenario, latency: Callable[[Variant], Latency]) -> Toll:
    """What the engine spends around its samples."""
    timing, rate_per_s = scenario.timing, scenario.traffic.rate_per_s
    control = steady_wanted(scenario, Route.CONTROL) / scenario.traffic.control_share
    return Toll(
        rate_per_s=rate_per_s,
        setup_s=SETUP_S,
        warmup_samples=guardrail.warmup_samples(scenario),
        warmup_s=timing.warmup_s,
        washout_samples=window(scenario),
        steady_samples=timing.steady_samples,
        steady_s=max(timing.steady_samples, control) / rate_per_s,
        longest_s=scenario.guardrails.max_exposure_s,
        latency=latency,
        reckoned_samples=guardrail.setup_samples(scenario),
    )


def latency_of(scenario: Scenario, *, hangs: bool) -> Callable[[Variant], Latency]:
    """How long answers take: users feel a dose of latency, and failing takes at least as long."""
    doses = {ladder.name: ladder.dose for ladder in scenario.ladders}
    timeout_s = scenario.traffic.timeout_s
    bounds = [slo.sli.latency_s for slo in scenario.slos if slo.sli.latency_s is not None]
    slow_s = min(bounds, default=timeout_s)  # a good answer never takes longer

    def latency(variant: Variant) -> Latency:
        felt_s = doses[variant.ladder].delay_s(variant.severity)
        takes_s = HEALTHY_S + felt_s
        failing_s = max(takes_s, slow_s if bounds and felt_s else 0.0)
        bad_s = timeout_s if hangs else min(failing_s, timeout_s)
        return Latency(min(takes_s, slow_s, timeout_s), bad_s)

    return latency


def _drawn(responses: Mapping[str, Response]) -> Draw:
    return lambda variant, samples, rng: responses[variant.ladder].draw(
        variant.severity, samples, rng
    )


def _cost(scenario: Scenario, run: SimulatedRun, number: int) -> Cost:
    campaign = run.campaign
    tally = campaign.tallies.get(Route.CANARY, Tally())
    stop = campaign.decisions[run.decisions - 1]
    assert isinstance(stop, Stop), "a trial ends with one"
    cause, _ = stopped_for(campaign, stop)
    sending_s = run.duration_s - run.exposures * SETUP_S
    beside = sending_s * scenario.traffic.rate_per_s * (_requests_per_canary(scenario) - 1.0)
    return Cost(
        number=number,
        found=tuple(_found(climb) for climb in climbs(campaign)),
        ending=ending(campaign, cause),
        requests=tally.samples + beside,
        canary_requests=tally.samples,
        samples=run.samples,
        exposures=run.exposures,
        duration_s=run.duration_s,
        bad=tuple(campaign.spent_bad(s) for s in range(len(campaign.slos))),
        bad_requests=tally.any_bad,
        stood=run.stood,
    )


def _found(climb: Climb) -> Found:
    """What is certified of a ladder."""
    between, severities = bracket(climb), climb.ladder.severities
    if between.closed:
        return Found.BRACKET
    if between.held is not None and between.held >= harshest(climb.scenario, climb.ladder):
        return Found.ABOVE
    if between.broke is not None and between.broke <= severities[0]:
        return Found.BELOW
    return Found.NOTHING


def _requests_per_canary(scenario: Scenario) -> float:
    """Requests on all routes beside one of the canary's."""
    return 1.0 + scenario.traffic.control_share + _checks_per_request(scenario)


def _checks_per_request(scenario: Scenario) -> float:
    checked = any(scenario.proxy(ladder.proxy).check is not None for ladder in scenario.ladders)
    return guardrail.check_share(scenario) if checked else 0.0
