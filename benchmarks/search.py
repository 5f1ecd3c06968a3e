"""How many samples the policies need to find a breaking point, against the theoretical limit.

`python benchmarks/search.py --runs 200` prints the table of all families for one policy. The loop
here is the smallest that can drive a policy: no clock, no journal, no target but a formula.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.evidence import Certificate, claimed_bracket, entropy_rate, within
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Decision, Stop
from chaosbandit.core.policies import Policy, policy
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget
from chaosbandit.sim.trial import SimulatedRun, Toll, trial

_NORMAL = NormalDist()
_CEILING = 0.95
_CONTROL_SHARE = 0.1  # of tau: the bad ratio at no severity

Response = Callable[[float], tuple[float, ...]]  # severity -> bad ratio per SLO
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
        budget=ErrorBudget(30 * 86400.0, 10**12, 1.0),
        ladders=(Ladder("slow", "service", "latency", mild, harsh, search.resolution),),
        search=search,
        guardrails=guardrails or Guardrails(max_unresolved=0),
        timing=Timing(warmup_s=0.0, warmup_samples=0),
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
    control_share: float = _CONTROL_SHARE,
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
        toll=Toll(setup_s=setup_samples / 50.0),
    )
    return _result(found, response, timed.spent_s)


class _Timed:
    """A policy with a stop-watch."""

    def __init__(self, inner: Policy) -> None:
        self.inner, self.name, self.spent_s = inner, inner.name, 0.0

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        began = time.perf_counter()
        decision = self.inner.decide(campaign, rng)
        self.spent_s += time.perf_counter() - began
        return decision


def _result(found: SimulatedRun, response: Response, decide_s: float) -> Run:
    campaign = found.campaign
    severities, certificate = campaign.ladder.severities, campaign.certificate
    taus = tuple(slo.bad_ratio for slo in campaign.slos)
    stop = campaign.decisions[found.decisions - 1]
    assert isinstance(stop, Stop)
    return Run(
        samples=found.samples,
        bad=max(campaign.spent_bad(s) for s in range(len(taus))),
        exposures=found.exposures,
        decisions=found.decisions,
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


def _steps(*levels: tuple[float, float]) -> Callable[[float, float], float]:
    """p by severity / breaking point: the last level (from this ratio on, bad ratio / tau)."""

    def ratio(relative: float, tau: float) -> float:
        reached = [level for start, level in levels if relative >= start]
        return min(reached[-1] * tau, _CEILING) if reached else _CONTROL_SHARE * tau

    return ratio


def _smooth(rise: Callable[[float, float], float]) -> Callable[[float, float], float]:
    """p = floor + (ceiling - floor) rise(log relative severity, rise at the breaking point)."""

    def ratio(relative: float, tau: float) -> float:
        floor = _CONTROL_SHARE * tau
        at_crossing = (tau - floor) / (_CEILING - floor)
        return floor + (_CEILING - floor) * rise(math.log(relative), at_crossing)

    return ratio


def _logistic(width: float) -> Callable[[float, float], float]:
    def rise(u: float, at_crossing: float) -> float:
        slope = u / width + math.log(at_crossing / (1 - at_crossing))
        return 1 / (1 + math.exp(-max(min(slope, 60.0), -60.0)))

    return _smooth(rise)


# Name -> bad ratio by (severity / breaking point, tau). None of the smooth ones but the logistic
# is among the model's hypotheses.
FAMILIES: dict[str, Callable[[float, float], float]] = {
    "cliff": lambda relative, tau: _CEILING if relative >= 1 else _CONTROL_SHARE * tau,
    "soft": lambda relative, tau: 0.2 if relative >= 1 else _CONTROL_SHARE * tau,
    "width-0.1": _logistic(0.1),
    "width-0.3": _logistic(0.3),
    "probit": _smooth(lambda u, at: _NORMAL.cdf(u / 0.2 + _NORMAL.inv_cdf(at))),
    "weibull": _smooth(lambda u, at: -math.expm1(math.log1p(-at) * math.exp(min(5 * u, 60.0)))),
    "plateau": _steps((1 / 3, 0.5), (1.0, math.inf)),
    "two-steps": _steps((1.0, 3.0), (2.0, math.inf)),
}


def response_of(family: str, breaking_point: float, tau: float) -> Response:
    """One SLO's response: crosses tau at the breaking point."""
    ratio = FAMILIES[family]
    return lambda severity: (ratio(severity / breaking_point, tau),)


def limit_of(response: Response, scenario: Scenario) -> float:
    """Samples no delta-correct method can beat on average (statistics.md, section 1).

    Garivier & Kaufmann 2016, minimised over the pairs of arms that close a bracket.
    """
    severities, tau = scenario.ladder.severities, scenario.slos[0].bad_ratio
    delta, resolution = 1.0 - scenario.search.confidence, scenario.search.resolution
    ratios = [response(severity)[0] for severity in severities]
    costs = [entropy_rate(delta, 1.0 - delta) / entropy_rate(ratio, tau) for ratio in ratios]
    best = math.inf
    for low in range(len(severities) - 1):
        high = low + 1
        while high < len(severities) and within(severities, low, high, resolution):
            if ratios[low] < tau < ratios[high]:
                best = min(best, costs[low] + costs[high])
            high += 1
    return best


def breaking_point(scenario: Scenario, rng: Generator) -> float:
    """A random one, log-uniform, away from the ladder's ends."""
    severities = scenario.ladder.severities
    low, high = math.log(2 * severities[0]), math.log(severities[-1] / 2)
    return math.exp(rng.uniform(low, high))


def row(family: str, scenario: Scenario, runs: int, seed: int, setup_samples: float) -> str:
    """One line of the table."""
    results, limits = [], []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        tau = scenario.slos[0].bad_ratio
        response = response_of(family, breaking_point(scenario, rng), tau)
        limits.append(limit_of(response, scenario))
        results.append(campaign_run(response, scenario, rng, setup_samples=setup_samples))
    ratios = [result.samples / limit for result, limit in zip(results, limits, strict=True)]
    decide_ms = 1e3 * sum(r.decide_s for r in results) / sum(r.decisions for r in results)
    return (
        f"{scenario.slos[0].bad_ratio:7.2%}  {family:10} {np.median(limits):8.0f} "
        f"{np.median([r.samples for r in results]):8.0f} {np.median(ratios):8.2f} "
        f"{np.mean(ratios):6.2f} {np.quantile(ratios, 0.9):6.2f} "
        f"{np.mean([r.bad for r in results]):8.1f} {np.mean([r.exposures for r in results]):6.1f} "
        f"{sum(not r.stop.answered for r in results):7} {sum(r.wrong for r in results):5}/{runs}"
        f" {decide_ms:7.2f}"
    )


def main() -> None:
    """Print the table that the options ask for."""
    parser = argparse.ArgumentParser(description="Samples per certified bracket, simulated.")
    parser.add_argument("--policy", default="certify")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--tau", nargs="+", type=float, default=[0.01, 0.05])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--setup", type=float, default=0.0, help="samples an exposure costs in time"
    )
    parser.add_argument("--cost-of-bad", type=float, default=0.0)
    parser.add_argument("--max-samples", type=int, default=5_000_000)
    options = parser.parse_args()
    print(
        f"policy {options.policy}, set-up {options.setup:g} samples, {options.runs} runs a row\n"
        "    tau  family        limit   median  med/lim   mean    p90  mean bad  expos unanswd"
        "  wrong     ms"
    )
    for tau in options.tau:
        search = Search(
            policy=options.policy,
            cost_of_bad=options.cost_of_bad,
            max_samples=options.max_samples,
        )
        scenario = scenario_of((tau,), search=search)
        for family in options.families:
            print(row(family, scenario, options.runs, options.seed, options.setup), flush=True)


if __name__ == "__main__":
    main()
