"""What one request costs the engine in processor time, and whether that grows in a long exposure.

One severity is exposed once, for 1,000 up to 100,000 requests at 1000/s in a simulated world: the
whole engine with its fold, evidence, guardrails and order of sending. The world's own share, which
a real prober would have instead, is measured by itself and taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import replace

import numpy as np

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Route
from chaosbandit.core.scenario import Guardrails, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.ports import Signal
from chaosbandit.sim import World, simulate_campaign
from chaosbandit.sim.simulated_campaign import scenario_of

GOAL_US, GROWTH = 40.0, 1.5
RATE_PER_S = 1000.0
_WITHOUT = 500  # measured requests of the run that is taken off: set-up and first decisions


def main() -> int:
    """Print the table; 1 when a request costs more than the goal, or more than before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    asked = parser.parse_args()
    costs_us = []
    print(f"{'requests':>10}  us a request (goal {GOAL_US:.0f})")
    for samples in asked.samples:
        costs_us.append(cost_us(samples))
        print(f"{samples:>10,}  {costs_us[-1]:.1f}", flush=True)
    growth = costs_us[-1] / costs_us[0]
    print(f"from {asked.samples[0]:,} to {asked.samples[-1]:,}: x {growth:.2f} (goal {GROWTH})")
    return int(max(costs_us) > GOAL_US or growth > GROWTH)


def cost_us(samples: int) -> float:
    """Processor time a request of the engine alone, microseconds."""
    run_s = min(_run_s(samples + _WITHOUT) - _run_s(_WITHOUT) for _ in range(2))
    return 1e6 * (run_s - _world_s(samples)) / samples


def _run_s(samples: int) -> float:
    began_s = time.process_time()
    campaign = simulate_campaign(_scenario(samples), _world())
    assert campaign.spent_samples >= samples, campaign.stopped
    assert max(each.samples for each in campaign.exposures) >= 0.9 * samples, "one exposure"
    return time.process_time() - began_s


def _world_s(samples: int) -> float:
    """The simulated world's share: its clock, its heap of requests in flight, its samples."""
    world, left = _world(), samples

    def feed(seq: int) -> Route | Signal:
        nonlocal left
        left -= 1
        return Route.CANARY if left >= 0 else Signal.END

    async def all_of_it() -> None:
        async for _ in world.stream(feed, RATE_PER_S, {}):
            pass

    began_s = time.process_time()
    asyncio.run(all_of_it())
    return time.process_time() - began_s


def _world() -> World:
    """Answers come before the next slot, so that none is left empty."""
    answered_s = 0.4 / RATE_PER_S
    rng = np.random.default_rng(1)
    return World(lambda severity: 0.0, rng, good_latency_s=answered_s, felt=lambda severity: 0.0)


def _scenario(samples: int) -> Scenario:
    """One arm that always holds, under an objective too strict to be certified meanwhile."""
    like = scenario_of(1.0, 10.0, 0.999999, max_samples=samples)
    slo = SLO("availability", SLI("status in 2xx", ((200, 299),)), 0.999999)
    return replace(
        like,
        slos=(slo,),
        traffic=Traffic("", "", RATE_PER_S, 2.0, control_share=1e-3),
        ladders=(Ladder("simulated", "simulated", "number", 1.0, 1.05, 0.10),),
        search=Search(hold_s=0.0, max_samples=samples, max_duration_s=1e9, evidence_ttl_s=1e9),
        guardrails=Guardrails(max_exposure_s=1e9, max_unresolved=100),
        timing=Timing(steady_samples=20),
    )


if __name__ == "__main__":
    sys.exit(main())
