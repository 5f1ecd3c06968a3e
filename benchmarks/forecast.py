"""How well `plan` foresees what the engine then spends: means over runs, by family and rate.

The same services (a cliff, a soft and a smooth one, placed on the ladder at random) are searched
by simulated campaigns as `plan` runs them, and by the whole engine in a simulated world, sample by
sample. Printed are the ratios of the means, plan to engine, in requests on all routes, bad canary
requests and time; set-up, warm-up, wash-out and `search.hold` are in both.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Route
from chaosbandit.core.scenario import Guardrails, Scenario, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget
from chaosbandit.plan.campaigns import HEALTHY_S, SETUP_S, Service, cost_of
from chaosbandit.plan.curves import Curve, Response, Rise
from chaosbandit.sim import World, simulate_campaign
from chaosbandit.sim.simulated_campaign import scenario_of
from chaosbandit.sim.targets import Service as Target
from chaosbandit.sim.targets import Symptom, independent, lognormal

WIDTHS = {"cliff": 0.0, "soft": 0.1, "smooth": 0.5}  # of the rise, in log severity
RATES_PER_S = (5.0, 50.0, 200.0)
LOW, HIGH = 0.8, 1.25  # ratios that are good enough
LUCKS = 3  # simulated campaigns a service, so that mostly the engine's own luck is left
TAU, CONTROL, CEILING = 0.05, 0.002, 0.9


@dataclass(frozen=True, slots=True)
class Forecast:
    """Means of plan divided by those of the engine."""

    requests: float
    bad_requests: float
    duration_s: float
    spread: tuple[float, float, float]  # standard error of each ratio, services being paired

    @property
    def good(self) -> bool:
        """All within the goal."""
        ratios = (self.requests, self.bad_requests, self.duration_s)
        return all(LOW <= ratio <= HIGH for ratio in ratios)


def main() -> int:
    """Print a row a family and rate; 1 when a ratio is outside of the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="services a row")
    parser.add_argument("--rates", type=float, nargs="*", default=list(RATES_PER_S))
    parser.add_argument("--families", nargs="*", default=list(WIDTHS), choices=list(WIDTHS))
    asked = parser.parse_args()
    print(f"plan / engine, goal {LOW} to {HIGH}, {asked.runs} services a row, 1 standard error")
    print(f"{'family':<8}{'rate':>6}  {'requests':>13}  {'bad requests':>13}  {'time':>13}")
    all_good = True
    for family in asked.families:
        for rate_per_s in asked.rates:
            found = forecast(family, rate_per_s, range(asked.runs))
            ratios = (found.requests, found.bad_requests, found.duration_s)
            cells = (
                f"{ratio:.2f} +- {spread:.2f}"
                for ratio, spread in zip(ratios, found.spread, strict=True)
            )
            print(f"{family:<8}{rate_per_s:>4g}/s", *(f"{cell:>13}" for cell in cells), sep="  ")
            sys.stdout.flush()
            all_good &= found.good
    return 0 if all_good else 1


def forecast(family: str, rate_per_s: float, numbers: Sequence[int]) -> Forecast:
    """Plan and engine over these services."""
    made = scenario(rate_per_s)
    planned, engine = [], []
    for number in numbers:
        target = service(family, made, number)
        engine.append(engine_cost(made, target, number))
        costs = [cost_of(made, target, 100 * number + luck) for luck in range(LUCKS)]
        planned.append(
            np.mean([(one.requests, one.bad_requests, one.duration_s) for one in costs], axis=0)
        )
    means, wanted = np.mean(planned, axis=0), np.mean(engine, axis=0)
    ratios = means / wanted
    off = np.asarray(planned) - ratios * np.asarray(engine)  # of a ratio of paired means
    spread = off.std(axis=0) / math.sqrt(len(off)) / wanted
    requests, bad, duration_s = ratios.tolist()
    return Forecast(requests, bad, duration_s, (spread[0], spread[1], spread[2]))


def scenario(rate_per_s: float) -> Scenario:
    """Latency up to 1 s in a scenario with all the timing that scenarios have by default."""
    plain = scenario_of(0.01, 1.0, 1.0 - TAU)
    ladder = Ladder("slow", "simulated", "latency", 0.01, 1.0, 0.10)
    return replace(
        plain,
        traffic=Traffic("", "", rate_per_s, 2.0),
        slos=(SLO("availability", SLI("status in 2xx", ((200, 299),)), 1.0 - TAU),),
        budget=ErrorBudget(30 * 86400.0, 2_000_000, 0.05),
        ladders=(ladder,),
        search=replace(plain.search, max_samples=None, max_duration_s=3600.0, hold_s=15.0),
        guardrails=Guardrails(),
        timing=Timing(),
    )


def service(family: str, made: Scenario, number: int) -> Service:
    """Breaks somewhere from a tenth of the ladder on, or a little beyond its end."""
    rng = np.random.default_rng([11, number])
    at = made.ladder.severities[-1] * 10.0 ** float(rng.uniform(-1.6, 0.1))
    width = WIDTHS[family]
    shift = -width * math.log((TAU - CONTROL) / (CEILING - TAU)) if width else 0.0
    curve = Curve(at, CONTROL, (Rise(CEILING - CONTROL, shift, width),))
    return Service({"slow": Response((curve,))}, (CONTROL,), bool(rng.random() < 1 / 3))


def engine_cost(made: Scenario, target: Service, seed: int) -> tuple[float, float, float]:
    """Requests, bad requests and seconds of the real engine against the same service."""
    felt = 1.0 if made.ladder.kind == "latency" else 0.0
    answers = target.responses[made.ladder.name]

    def ratio(severity: float) -> float:
        return answers.ratios(severity)[0] if severity else target.control[0]

    failing = Symptom(independent(ratio), math.inf if target.hangs else None, 503)
    world = World(
        lambda severity: 0.0,
        np.random.default_rng([seed, 1]),
        good_latency_s=HEALTHY_S,
        control_bad_ratio=lambda now_s: target.control[0],
        target=Target((failing,), lognormal(HEALTHY_S, 0.0, felt)),
        timeout_s=made.traffic.timeout_s,
    )
    campaign = simulate_campaign(made, world, seed=seed)
    requests = sum(tally.samples for tally in campaign.tallies.values())
    duration_s = world.time_s + len(campaign.exposures) * SETUP_S
    return requests, campaign.tallies[Route.CANARY].any_bad, duration_s


if __name__ == "__main__":
    sys.exit(main())
