"""How many samples the policies need to find a breaking point, against the theoretical limit.

`python benchmarks/search.py --runs 200` prints the table of `families` for one policy. The loop here
is the smallest that can drive a policy: no clock, no journal, no target but a formula.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from chaosbandit.core.campaign import Arm, Campaign
from chaosbandit.core.evidence import Certificate, claimed_bracket
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Expose, Purpose, Stop
from chaosbandit.core.policies import policy
from chaosbandit.core.response import Belief
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget

Response = Callable[[float], tuple[float, ...]]  # severity -> bad ratio per SLO
Draw = Callable[[tuple[float, ...], int, Generator], NDArray[np.bool_]]

_MAX_DECISIONS = 20_000


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
    decide_s: float
    campaign: Campaign


def scenario_of(
    taus: tuple[float, ...] = (0.01,),
    *,
    mild: float = 1.0,
    harsh: float = 10_000.0,
    search: Search | None = None,
    guardrails: Guardrails | None = None,
) -> Scenario:
    """A scenario with one latency ladder and an SLO per tau; only the search parts matter here."""
    search = search or Search()
    slos = tuple(SLO(f"slo-{i}", SLI("any"), 1.0 - tau) for i, tau in enumerate(taus))
    return Scenario(
        name="benchmark",
        toxiproxy="http://127.0.0.1:1",
        topology="edge",
        proxies=(Proxy("service", "127.0.0.1:1"),),
        traffic=Traffic("http://127.0.0.1:1/", "http://127.0.0.1:1/", 50.0, 2.0),
        slos=slos,
        budget=ErrorBudget(30 * 86400.0, 2_000_000, 0.05),
        ladders=(Ladder("slow", "service", "latency", mild, harsh, search.resolution),),
        search=search,
        guardrails=guardrails or Guardrails(),
    )


def start(scenario: Scenario, control_ratios: tuple[float, ...], setup_samples: float) -> Campaign:
    """A campaign before its first sample."""
    ladder, slos, block = scenario.ladder, scenario.slos, scenario.search.block or 1
    n_arms, delta = len(ladder.severities), 1.0 - scenario.search.confidence
    taus = [slo.bad_ratio for slo in slos]
    return Campaign(
        scenario=scenario,
        ladder=ladder,
        slos=slos,
        certificate=Certificate.start(n_arms, taus, math.log(1 / delta), block),
        one_sided=Certificate.start(n_arms, taus, math.log(2 / delta), block),
        beliefs=tuple(
            Belief.start(ladder.severities, tau, ratio)
            for tau, ratio in zip(taus, control_ratios, strict=True)
        ),
        arms=(Arm(bad=(0,) * len(slos)),) * n_arms,
        setup_samples=setup_samples,
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
    control_share: float = 0.1,
) -> Run:
    """Drive the scenario's policy to its end against a response."""
    slo_ratios = tuple(slo.bad_ratio * control_share for slo in scenario.slos)
    campaign = start(scenario, slo_ratios, setup_samples)
    search_policy = policy(scenario.search.policy)
    exposures, decide_s = 0, 0.0
    for decisions in range(1, _MAX_DECISIONS):
        began = time.perf_counter()
        decision = search_policy.decide(campaign, rng)
        decide_s += time.perf_counter() - began
        if isinstance(decision, Stop):
            return _result(campaign, response, decision, exposures, decisions, decide_s)
        exposures += decision.variant.arm != campaign.standing
        bad = draw(response(decision.variant.severity), decision.samples, rng)
        campaign = fold(campaign, decision, _until_stopped(bad, decision.stop_after_bad))
    raise AssertionError("the policy never stops")


def fold(campaign: Campaign, batch: Expose, bad: NDArray[np.bool_]) -> Campaign:
    """The campaign after a batch, all of it resolved and valid."""
    arm, seen = batch.variant.arm, campaign.arms[batch.variant.arm]
    counts = bad.sum(axis=0)
    after = Arm(
        seen.samples + len(bad), tuple(int(a + b) for a, b in zip(seen.bad, counts, strict=True))
    )
    rows, beliefs = bad.tolist(), zip(campaign.beliefs, counts.tolist(), strict=True)
    return replace(
        campaign,
        certificate=campaign.certificate.observe(arm, batch.purpose, batch.bets, rows),
        one_sided=campaign.one_sided.observe(arm, batch.purpose, batch.bets, rows),
        beliefs=tuple(belief.observe(arm, len(bad) - n, n) for belief, n in beliefs),
        arms=campaign.arms[:arm] + (after,) + campaign.arms[arm + 1 :],
        standing=arm,
        highest_exposed=max(arm, campaign.highest_exposed or 0),
        spent_samples=campaign.spent_samples + len(bad),
    )


def _until_stopped(bad: NDArray[np.bool_], stop_after_bad: int | None) -> NDArray[np.bool_]:
    if stop_after_bad is None:
        return bad
    ends = np.flatnonzero(bad.any(axis=1))
    return bad[: ends[stop_after_bad - 1] + 1] if len(ends) >= stop_after_bad else bad


def _result(
    campaign: Campaign,
    response: Response,
    stop: Stop,
    exposures: int,
    decisions: int,
    decide_s: float,
) -> Run:
    severities, certificate = campaign.ladder.severities, campaign.certificate
    taus = tuple(slo.bad_ratio for slo in campaign.slos)
    return Run(
        samples=campaign.spent_samples,
        bad=max(sum(arm.bad[s] for arm in campaign.arms) for s in range(len(taus))),
        exposures=exposures,
        decisions=decisions,
        stop=stop,
        bracket=claimed_bracket(certificate, severities, campaign.scenario.search.resolution),
        wrong=any(
            _false_claim(one, response, severities, taus)
            for one in (certificate, campaign.one_sided)
        ),
        decide_s=decide_s,
        campaign=campaign,
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
