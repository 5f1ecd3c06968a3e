"""One simulated campaign of any policy, what it cost, and whether what it claimed is true.

The loop is `chaosbandit.sim.simulated_campaign`: no network, no late answers, no target but a
formula. The policies' tests use it too; `benchmarks/tables.py` prints the figures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.families import CONTROL_SHARE, Response, response_of
from benchmarks.yardsticks import pair_of
from chaosbandit.core.climb import Climb
from chaosbandit.core.evidence import Certificate, claimed_bracket
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Decision, Stop
from chaosbandit.core.policies import Policy, policy
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget
from chaosbandit.core.topology import topology
from chaosbandit.sim.simulated_campaign import RATE_PER_S, SimulatedRun, Toll, trial

__all__ = [
    "Run",
    "breaking_point",
    "campaign_run",
    "independent",
    "limit_of",
    "response_of",
    "scenario_of",
]

Draw = Callable[[tuple[float, ...], int, Generator], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Run:
    """What one simulated campaign cost, and what it claimed."""

    samples: int
    bad: int  # of the SLO with most
    exposures: int  # injections: extending a standing one is free
    decisions: int
    stop: Stop
    bracket: tuple[int | None, int | None, bool]
    wrong: bool  # some certified claim is false
    decide_s: tuple[float, ...]  # processor time of the policy, decision by decision
    climb: Climb


def scenario_of(
    taus: tuple[float, ...] = (0.01,),
    *,
    mild: float = 1.0,
    harsh: float = 10_000.0,
    search: Search | None = None,
    guardrails: Guardrails | None = None,
    required: float | None = None,
) -> Scenario:
    """A scenario with one latency ladder and an SLO per tau; only the search parts matter here.

    There is no limit on time: samples are what is counted. Nor is there a hold, unless asked for.
    `required` is the severity of a gate.
    """
    search = replace(search or Search(hold_s=0.0), max_duration_s=math.inf)
    slos = tuple(SLO(f"slo-{i}", SLI("any"), 1.0 - tau) for i, tau in enumerate(taus))
    return Scenario(
        name="benchmark",
        toxiproxy="http://127.0.0.1:1",
        topology=topology("edge"),
        proxies=(Proxy("service", "127.0.0.1:1"),),
        traffic=Traffic("http://127.0.0.1:1/", "http://127.0.0.1:1/", RATE_PER_S, 2.0),
        slos=slos,
        budget=ErrorBudget(30 * 86400.0, 10**12, 1.0),
        ladders=(Ladder("slow", "service", "latency", mild, harsh, search.resolution, required),),
        search=search,
        guardrails=guardrails or Guardrails(max_unresolved=0),
        timing=Timing(warmup_s=0.0, warmup_samples=0),
        require={} if required is None else {"slow": required},
    )


def independent(ratios: tuple[float, ...], n: int, rng: Generator) -> NDArray[np.bool_]:
    """Bad flags of n samples, one draw a sample: a failure tends to be bad in every SLO."""
    flags: NDArray[np.bool_] = rng.random(n)[:, None] < np.asarray(ratios)
    return flags


def campaign_run(
    response: Response,
    scenario: Scenario,
    rng: Generator,
    *,
    setup_samples: float = 0.0,
    draw: Draw = independent,
    control_share: float = CONTROL_SHARE,
) -> Run:
    """Drive the scenario's policy to its end against a response."""
    slo_ratios = tuple(slo.bad_ratio * control_share for slo in scenario.slos)
    timed = _Timed(policy(scenario.search.policy))
    found = trial(
        scenario,
        lambda variant, samples, rng: draw(response(variant.severity), samples, rng),
        policy=timed,
        seed=int(rng.integers(2**31)),
        control_bad_ratios=slo_ratios,
        toll=Toll(setup_s=setup_samples / RATE_PER_S),
    )
    return _result(found, response, tuple(timed.spent_s))


class _Timed:
    """A policy with a stop-watch, which other processes' load does not move."""

    def __init__(self, inner: Policy) -> None:
        self.inner, self.name = inner, inner.name
        self.spent_s: list[float] = []

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        began = time.process_time()
        decision = self.inner.decide(climb, rng)
        self.spent_s.append(time.process_time() - began)
        return decision


def _result(found: SimulatedRun, response: Response, decide_s: tuple[float, ...]) -> Run:
    climb = Climb(found.campaign)
    severities, certificate = climb.ladder.severities, climb.certificate
    taus = tuple(slo.bad_ratio for slo in climb.slos)
    stop = found.campaign.decisions[found.decisions - 1]
    assert isinstance(stop, Stop)
    return Run(
        samples=found.samples,
        bad=max(found.campaign.spent_bad(s) for s in range(len(taus))),
        exposures=found.exposures,
        decisions=found.decisions,
        stop=stop,
        bracket=claimed_bracket(certificate, severities, climb.search.resolution),
        wrong=_false_claim(certificate, response, severities, taus),
        decide_s=decide_s,
        climb=climb,
    )


def _false_claim(
    certificate: Certificate,
    response: Response,
    severities: tuple[float, ...],
    taus: tuple[float, ...],
) -> bool:
    """Whether an arm certified to hold breaks some SLO, or one certified to break breaks none."""
    held, broke = certificate.held_arm, certificate.broke_arm
    slack = 1e-9
    return (
        held is not None
        and any(p > tau + slack for p, tau in zip(response(severities[held]), taus, strict=True))
    ) or (
        broke is not None
        and all(p < tau - slack for p, tau in zip(response(severities[broke]), taus, strict=True))
    )


def limit_of(response: Response, scenario: Scenario) -> float:
    """Samples no delta-correct method can beat on average."""
    return pair_of(response, scenario).limit


def breaking_point(scenario: Scenario, rng: Generator) -> float:
    """A random one, log-uniform, away from the ladder's ends."""
    severities = scenario.ladders[0].severities
    low, high = math.log(2 * severities[0]), math.log(severities[-1] / 2)
    return math.exp(rng.uniform(low, high))
