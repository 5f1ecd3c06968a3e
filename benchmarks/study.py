"""Many campaigns on both cores, with one scheme of seeds, and the statistics of their figures.

Campaign number n of every case has the same breaking point, so that families, policies and prices
are compared on the same targets. What several tables need is simulated once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import Pool

import numpy as np

from benchmarks.families import response_of
from benchmarks.search import Run, breaking_point, campaign_run, scenario_of
from benchmarks.yardsticks import pair_of, wald_samples
from chaosbandit.core.scenario import BRACKET, Search
from chaosbandit.sim.simulated_campaign import LONGEST, RATE_PER_S

DELTA = 0.05
_CHUNK = 5  # campaigns a process is given at a time
_TOLD_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """Campaigns that differ in nothing but chance: a row, or part of one."""

    family: str
    tau: float
    policy: str = "certify"
    setup_s: float = 0.0
    harsh: float = 10_000.0  # the ladder begins at 1
    resolution: float = 0.1
    max_samples: int = LONGEST
    delta: float = DELTA
    hold_s: float = 0.0
    at: float | None = None  # the breaking point; None: a random one
    required: float | None = None  # severity of a gate
    stop: str = BRACKET


@dataclass(frozen=True, slots=True)
class Sampled:
    """The figures of one campaign."""

    samples: int
    bad: int
    exposures: int
    answered: bool
    closed: bool  # a bracket was claimed
    held: bool  # some severity was certified to hold, whatever was reported
    broke: bool
    wrong: bool
    sides: int  # claimed of the bracket
    width: float | None  # broke over held, less one
    limit: float  # samples no method can beat on average
    wald: float
    arms: int
    decide_s: tuple[float, ...]
    cpu_s: float


def sampled(case: Case, seed: int, number: int) -> Sampled:
    """Campaign `number` of a case."""
    rng = np.random.default_rng([seed, number])
    search = Search(
        policy=case.policy,
        confidence=1.0 - case.delta,
        resolution=case.resolution,
        max_samples=case.max_samples,
        hold_s=case.hold_s,
        stop=case.stop,
    )
    scenario = scenario_of((case.tau,), harsh=case.harsh, search=search, required=case.required)
    at = breaking_point(scenario, rng) if case.at is None else case.at
    response = response_of(case.family, at, case.tau)
    began = time.process_time()
    run = campaign_run(response, scenario, rng, setup_samples=case.setup_s * RATE_PER_S)
    cpu_s = time.process_time() - began
    pair = pair_of(response, scenario)
    wald = wald_samples(pair, case.tau, DELTA, rng) if pair.limit < np.inf else np.inf
    return _figures(run, pair.limit, wald, cpu_s)


def _figures(run: Run, limit: float, wald: float, cpu_s: float) -> Sampled:
    certificate, severities = run.climb.certificate, run.climb.ladder.severities
    low, high, _ = run.bracket
    width = None
    if low is not None and high is not None:
        width = severities[high] / severities[low] - 1.0
    return Sampled(
        samples=run.samples,
        bad=run.bad,
        exposures=run.exposures,
        answered=run.stop.answered,
        closed=run.bracket[2],
        held=certificate.held_arm is not None,
        broke=certificate.broke_arm is not None,
        wrong=run.wrong,
        sides=(low is not None) + (high is not None),
        width=width,
        limit=limit,
        wald=wald,
        arms=len(severities),
        decide_s=run.decide_s,
        cpu_s=cpu_s,
    )


@dataclass(slots=True)
class Study:
    """All campaigns simulated so far."""

    pool: Pool
    seed: int
    done: dict[Case, list[Sampled]] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)

    def simulate(self, title: str, wanted: Iterable[tuple[Case, int]]) -> None:
        """Bring every case to so many campaigns; progress goes to stderr."""
        jobs = []
        for case, runs in dict(wanted).items():
            have = len(self.done.setdefault(case, []))
            jobs += [
                (case, self.seed, start, min(start + _CHUNK, runs))
                for start in range(have, runs, _CHUNK)
            ]
        told_s = time.monotonic()
        for number, (case, found) in enumerate(self.pool.imap(_job, jobs), start=1):
            self.done[case] += found
            if time.monotonic() - told_s > _TOLD_EVERY_S or number == len(jobs):
                told_s = time.monotonic()
                share = f"{number / len(jobs):4.0%}, {told_s - self.began_s:.0f} s so far"
                print(f"{title}: {share}", file=sys.stderr, flush=True)

    def of(self, case: Case, runs: int) -> list[Sampled]:
        """The first campaigns of a case that was simulated."""
        assert len(self.done[case]) >= runs
        return self.done[case][:runs]

    @property
    def cpu_s(self) -> float:
        """Processor time of all campaigns together."""
        return sum(one.cpu_s for found in self.done.values() for one in found)


def _job(job: tuple[Case, int, int, int]) -> tuple[Case, list[Sampled]]:
    case, seed, start, end = job
    return case, [sampled(case, seed, number) for number in range(start, end)]


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean, median and 90th percentile, as columns of a row."""
    return {
        f"{name}_mean": float(np.mean(values)),
        f"{name}_median": float(np.median(values)),
        f"{name}_p90": float(np.quantile(values, 0.9)),
    }
