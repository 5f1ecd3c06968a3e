"""Whole campaigns of the real engine in simulated worlds: their claims are true often enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from scipy.stats import binom

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import Decided, Observed
from chaosbandit.core.model import Expose, Purpose, Route
from chaosbandit.core.scenario import Scenario, Search
from chaosbandit.errors import Exit
from chaosbandit.sim import Response
from tests.simulated import (
    AVAILABILITY,
    LATENCY,
    QUICK,
    SLOPPY,
    Heard,
    Jittery,
    cliff,
    errors_ladder,
    generator,
    ladder,
    run,
    scenario,
    words,
    world,
)
from tests.tiers import first_alone

Shape = Callable[[float, float], Response]  # (crossing, tau) -> bad ratio at a severity


def logistic(width: float) -> Shape:
    """A logistic in log severity that crosses tau where it should."""

    def shape(crossing: float, tau: float) -> Response:
        offset = math.log(tau / (1 - tau))

        def response(severity: float) -> float:
            if severity <= 0.0:
                return 0.0
            u = math.log(severity / crossing) / width + offset
            return 1.0 / (1.0 + math.exp(-u)) if u > -500 else 0.0

        return response

    return shape


def steep(above: float, below: float = 0.1) -> Shape:
    """A cliff from a share of tau to `above`."""
    return lambda crossing, tau: cliff(crossing, below=below * tau, above=above)


@dataclass(frozen=True)
class Family:
    """Breaking points drawn from 5 ms to 700 ms (or 0.5 % to 70 %) on one shape."""

    name: str
    asked: Scenario
    shape: Shape
    seeds: int
    median_samples: int  # at most, without those that only let the held arm stand
    answered: float = 1.0  # share of the runs that end with a bracket, at least
    jitter: bool = False

    def __str__(self) -> str:
        return self.name


# Every other seed with every change, the rest in the matrix.
HALVES = pytest.mark.parametrize("part", first_alone([(0,), (1,)]))

COARSE = Search(resolution=0.5)
STEADY = replace(QUICK, steady_samples=100)  # 20 pass for sick in one of 200 runs like these
FAMILIES = [
    Family("cliff at 99 %", scenario(), steep(0.95), 40, 700),
    Family("cliff to 100 % at 95 %", scenario(SLOPPY), steep(1.0), 40, 300),
    Family("soft cliff at 99 %", scenario(), steep(0.2), 30, 1500),
    Family("two slos", scenario(AVAILABILITY, LATENCY), steep(0.95), 30, 900, jitter=True),
    Family("errors at 99 %", scenario(over=errors_ladder(), check=False), steep(0.9), 30, 900),
    Family(
        "logistic at 95 %",
        scenario(SLOPPY, over=ladder(resolution=0.5), search=COARSE),
        logistic(0.1),
        40,
        2500,
    ),
    Family(
        "wide logistic at 95 %",
        scenario(SLOPPY, over=ladder(resolution=0.5), search=COARSE, spend=0.5),
        logistic(0.25),
        20,
        8000,
    ),
]


@HALVES
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_brackets_contain_the_breaking_point(family: Family, part: int) -> None:
    wrong, answered, samples, told = 0, 0, [], []
    seeds = range(part, family.seeds, 2)
    for seed in seeds:
        campaign, response, stood, story = simulated(family, seed)
        samples.append(campaign.spent_samples - stood)
        if not is_right(campaign, response):
            wrong += 1
            told.append(story)
        assert campaign.stopped is not None
        assert campaign.stopped.exit_code in (Exit.ANSWERED, Exit.GUARDRAIL), story
        assert campaign.stopped.answered == bracket(Climb(campaign)).closed, story
        assert campaign.budget_left() >= 0, story
        answered += campaign.stopped.answered
        if not campaign.stopped.answered:
            told.append(story)
    assert wrong <= binom.ppf(0.999, len(seeds), 0.05), "\n\n".join(told)
    assert answered >= family.answered * len(seeds), "\n\n".join(told)
    assert sorted(samples)[len(samples) // 2] <= family.median_samples


def simulated(family: Family, seed: int) -> tuple[Campaign, Response, int, str]:
    """One campaign, the truth, the samples that holding took, and its story should it fail."""
    crossing = float(0.005 * 140 ** generator(seed).random())
    response = family.shape(crossing, family.asked.slos[0].bad_ratio)
    heard = Heard()
    simulated_world = world(response, seed)
    if family.jitter:
        simulated_world = Jittery(response, simulated_world.rng, felt=lambda s: min(s, 0.05))
    asked = replace(family.asked, timing=STEADY)
    campaign = run(asked, simulated_world, seed=seed, sinks=[heard])
    assert campaign.stopped is not None
    story = (
        f"{family}, seed {seed}: breaks at {crossing:.6g}, found {bracket(Climb(campaign))}, "
        f"{campaign.stopped.reason}\n{words(heard.events)}"
    )
    return campaign, response, holding(heard), story


def holding(heard: Heard) -> int:
    """Samples of decisions to hold."""
    holds = {
        event.n
        for event in heard.of(Decided)
        if isinstance(event.decision, Expose) and event.decision.purpose is Purpose.HOLD
    }
    return sum(
        sample.route is Route.CANARY
        for event in heard.of(Observed)
        if event.decision in holds
        for sample in event.samples
    )


def is_right(campaign: Campaign, response: Response) -> bool:
    """Whether the bad ratio is at most tau where held and at least tau where broke."""
    found, tau = bracket(Climb(campaign)), campaign.slos[0].bad_ratio
    held = found.held is None or response(found.held) <= tau
    return held and (found.broke is None or response(found.broke) >= tau)


@HALVES
def test_a_response_that_never_breaks_has_no_bracket(part: int) -> None:
    tau = AVAILABILITY.bad_ratio
    for seed in range(part, 40, 2):
        campaign = run(
            scenario(over=ladder(0.01, 0.5)), world(lambda s: 0.1 * tau, seed), seed=seed
        )
        found = bracket(Climb(campaign))
        assert found.broke is None, f"seed {seed}"
        assert found.held == 0.5, f"seed {seed}: {campaign.stopped}"


@HALVES
def test_at_the_objective_itself_hardly_anything_is_claimed(part: int) -> None:
    """Held and broke are both true here, so only claims of a bracket that closes are counted."""
    asked = scenario(SLOPPY, over=ladder(0.1, 0.2), spend=0.5, search=Search(max_samples=400))
    claims, tau = 0, SLOPPY.bad_ratio
    seeds = range(part, 80, 2)
    for seed in seeds:
        flat = world(lambda s: tau if s > 0.0 else 0.0, seed, bad_latency_s=1.5)
        claims += bracket(Climb(run(asked, flat, seed=seed))).closed
    assert claims <= binom.ppf(0.999, len(seeds), 0.05)
