"""Policies of others, however they choose, claim what is false no more often than was allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.stats import binom

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Decision, Expose, Purpose, Stop, Variant
from chaosbandit.core.scenario import Guardrails, Search, Timing
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.sim import World
from chaosbandit.sim.simulated_campaign import Mask, scenario_of, trial
from chaosbandit.sim.targets import Answer, Asked
from tests.simulated import ladder, run, scenario

TAU, DELTA, BLOCK, RUNS = 0.2, 0.05, 8, 200
MOST = binom.ppf(0.999, RUNS, DELTA)  # where each run claims with delta; nearly all do, uncharged
ASKED = Search(block=BLOCK, confidence=1.0 - DELTA)


@dataclass
class Cutting:
    """Bets that the mildest arm holds, and leaves a block as soon as some of it are bad."""

    ends: int
    blocks: int
    bet: float = 0.2 * TAU
    name: str = "cutting"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        if climb.certificate.held_arm is not None or climb.spent_samples >= 400:
            return Stop("enough")
        variant, samples = climb.ladder.variant(0), self.blocks * BLOCK
        return Expose(variant, samples, Purpose.HELD, (self.bet,), stop_after_bad=self.ends)


CUTTING = [Cutting(1, 2), Cutting(1, 25), Cutting(2, 25)]


def whole_blocks(variant: Variant, samples: int, rng: Generator) -> Mask:
    """Exactly tau, and all of a block alike: as dependent as a block may be."""
    return np.repeat(rng.random(-(-samples // BLOCK)) < TAU, BLOCK)[:samples, None]


@pytest.mark.parametrize("policy", CUTTING, ids=str)
def test_leaving_bad_blocks_early_claims_no_more_in_trials(policy: Cutting) -> None:
    asked = replace(scenario_of(1.0, 1.2, 1.0 - TAU), search=ASKED)
    claims = 0
    for seed in range(RUNS):
        found = trial(asked, whole_blocks, policy=policy, seed=seed, control_bad_ratios=(0.02,))
        claims += found.campaign.ladders[0].certificate.held_arm is not None
    assert claims <= MOST


class Blocks:
    """The same of a service that knows where each block begins: where the last one was left."""

    def __init__(self, ends: int) -> None:
        self.ends, self.sent, self.sick = ends, 0, False

    def __call__(self, asked: Asked, rng: Generator) -> Answer:
        if asked.severity == 0.0:
            return Answer(0.001)
        if self.sent == 0:
            self.sick = bool(rng.random() < TAU)
        self.sent += 1
        if self.sent == (self.ends if self.sick else BLOCK):
            self.sent = 0
        return Answer(0.001, 503 if self.sick else 200)


def test_leaving_bad_blocks_early_claims_no_more_in_the_engine() -> None:
    ends = 1
    slo = SLO("availability", SLI("status in 2xx-3xx", ((200, 399),)), 1.0 - TAU)
    asked = scenario(
        slo,
        over=ladder(0.1, 0.12),
        search=ASKED,
        guardrails=Guardrails(max_exposure_s=1000.0, abort_if_bad_in_a_row=1000),
        timing=Timing(warmup_s=0.0, warmup_samples=0, steady_samples=10),
        check=False,
    )
    claims = 0
    for seed in range(RUNS):
        simulated = World(lambda severity: 0.0, default_rng([seed, 5]), target=Blocks(ends))
        found = run(asked, simulated, seed=seed, by=Cutting(ends, 2))
        assert found.stopped is not None and found.stopped.reason == "enough"
        claims += found.ladders[0].certificate.held_arm is not None
    assert claims <= MOST
