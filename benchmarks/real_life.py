"""Does the evidence stay valid in real life? Whole campaigns of the engine in hostile worlds.

Requests hang until the time-out, fail in bursts, meet a full pool, and operators lose patience at
the worst moment. A false claim must come up in at most 5 % of the runs of any row but the traps,
which show what no run can know. `naive` is what evidence in order of completion, without void
exposures and blocks, would have claimed of the same requests.

    python benchmarks/real_life.py --runs 200 --jobs 2 --json real_life.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import Pool
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.random import Generator

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.hostile import ROWS, Setup, Situation
from chaosbandit.core.campaign import Arm, Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import Decided, Event, ExposureEnded, Observed
from chaosbandit.core.model import Bracket, Decision, Expose, Phase, Purpose, Route, Sample
from chaosbandit.core.monotone import next_look, not_monotone
from chaosbandit.core.slo import SLO, bad_flags
from chaosbandit.plan.intervals import of_share
from chaosbandit.sim import simulate_campaign

DELTA = 0.05
NAIVE = {"bets-held": Purpose.HELD, "bets-broke": Purpose.BROKE}  # the side staked on last


@dataclass(frozen=True, slots=True)
class Result:
    """One campaign's claims against the truth."""

    seed: int
    held_false: bool
    broke_false: bool
    naive_false: bool | None
    closed: bool
    one_sided: bool
    exit_code: int
    reason: str
    samples: int
    took_ms: float
    exposures: int
    voids: int
    below_bump: bool = False  # brackets the lower crossing of a bump
    above_bump: bool = False  # held above it, as if it were not there
    told_bump: bool = False  # and yet the arms' own counts show that something is wrong
    found_bump: bool = False  # or they do so after looks below the bracket
    looks: int = 0  # requests that these looks cost


@dataclass(slots=True)
class Completions:
    """A sink that keeps what the bettors' samples would have shown to a naive analysis.

    Evidence in order of completion, void exposures left out with their losses, no blocks.
    """

    decisions: dict[int, Decision] = field(default_factory=dict)
    kept: list[tuple[float, int, Sample]] = field(default_factory=list)
    newest: list[tuple[float, int, Sample]] = field(default_factory=list)

    def accept(self, event: Event, campaign: Campaign) -> None:
        """Remember measured samples with the decision they were sent for."""
        match event:
            case Decided(n=n, decision=decision):
                self.decisions[n] = decision
            case Observed(phase=Phase.MEASURE, decision=int(n), samples=samples):
                self.newest += [
                    (sample.intended_s + sample.latency_s, n, sample)
                    for sample in samples
                    if sample.route is Route.CANARY
                ]
            case ExposureEnded(validity=validity):
                self.kept += self.newest if validity.valid else []
                self.newest = []
            case _:
                pass

    def false_claim(self, purpose: Purpose, slos: Sequence[SLO]) -> bool:
        """Whether the last side's evidence ever reaches 1/delta, taken naively."""
        log_e, highest = 0.0, 0.0
        for _, n, sample in sorted(self.kept, key=lambda each: each[:2]):
            decision = self.decisions[n]
            if not isinstance(decision, Expose) or decision.purpose is not purpose:
                continue
            steps = [
                math.log(q / slo.bad_ratio if bad else (1 - q) / (1 - slo.bad_ratio))
                for q, slo, bad in zip(decision.bets, slos, bad_flags(slos, sample), strict=True)
            ]
            log_e += min(steps) if purpose is Purpose.HELD else max(steps)
            highest = max(highest, log_e)
        return highest >= math.log(1 / DELTA)


def campaign_of(situation: Situation, policy: str, seed: int) -> Result:
    """Run one campaign and hold its claims against the truth."""
    rng = np.random.default_rng([seed, 7])
    setup = situation.build(rng, policy)
    heard = Completions()
    began = time.perf_counter()
    campaign = simulate_campaign(setup.asked, setup.world, seed=seed, sinks=[heard])
    took_ms = 1e3 * (time.perf_counter() - began)
    found, stopped = bracket(Climb(campaign)), campaign.stopped
    assert stopped is not None
    taus = [slo.bad_ratio for slo in campaign.slos]
    naive = NAIVE.get(policy) if len(taus) == 1 else None
    bumped = _Bump() if situation.bump is None else _around(setup, campaign, found, rng)
    return Result(
        seed=seed,
        held_false=found.held is not None
        and any(p(found.held) >= tau for p, tau in zip(setup.truth, taus, strict=True)),
        broke_false=found.broke is not None
        and all(p(found.broke) <= tau for p, tau in zip(setup.truth, taus, strict=True)),
        naive_false=None if naive is None else heard.false_claim(naive, campaign.slos),
        closed=found.closed,
        one_sided=(found.held is None) != (found.broke is None),
        exit_code=int(stopped.exit_code),
        reason=stopped.reason,
        samples=campaign.spent_samples,
        took_ms=took_ms,
        exposures=len(campaign.exposures),
        voids=sum(e.validity is not None and not e.validity.valid for e in campaign.exposures),
        below_bump=bumped.bracketed,
        above_bump=bumped.passed,
        told_bump=bumped.told,
        found_bump=bumped.found,
        looks=bumped.looks,
    )


@dataclass(frozen=True, slots=True)
class _Bump:
    """What became of a bump: bracketed, or passed over and perhaps found all the same."""

    bracketed: bool = False
    passed: bool = False
    told: bool = False
    found: bool = False
    looks: int = 0


def _around(setup: Setup, campaign: Campaign, found: Bracket, rng: Generator) -> _Bump:
    """Where the claims lie relative to the bump, and what `core.monotone` makes of it."""
    curve, taus = setup.truth[0], [slo.bad_ratio for slo in campaign.slos]
    grid = Climb(campaign).ladder.severities
    first = next(s for s in grid if curve(s) > taus[0])
    last = next(s for s in grid if s > first and curve(s) <= taus[0])
    bracketed = found.broke is not None and found.broke < last
    if found.held is None or found.held < last:
        return _Bump(bracketed=bracketed)
    held, arms = grid.index(found.held), list(Climb(campaign).arms)
    told = bool(not_monotone(arms, taus, held=held))
    before = sum(arm.samples for arm in arms)
    while (look := next_look(grid, arms, taus, held)) is not None:  # simple draws, no engine
        number, samples = look
        seen = arms[number]
        bad = seen.any_bad + int(rng.binomial(samples, curve(grid[number])))
        arms[number] = Arm(seen.samples + samples, (bad,), bad)
    return _Bump(
        passed=True,
        told=told,
        found=bool(not_monotone(arms, taus, held=held)),
        looks=sum(arm.samples for arm in arms) - before,
    )


# --- running and telling --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    situation: str
    policy: str
    trap: bool
    runs: int
    held_false: int
    broke_false: int
    either_false: int
    false: int  # on the worse side: where p is exactly tau, 5 % is promised for each by itself
    false_low: float  # Clopper & Pearson 1934, 95 %
    false_high: float
    naive_false: int | None
    closed: int
    one_sided: int
    exits: dict[str, int]
    samples: float
    took_ms: float
    exposures: float
    voids: float  # exposures whose gains were dropped, a campaign
    below_bump: int | None
    above_bump: int | None
    told_bump: int | None
    found_bump: int | None
    looks: float | None  # requests per campaign that passed over the bump
    assumptions_failed: int
    false_seeds: list[int]


def row_of(situation: Situation, policy: str, results: Sequence[Result]) -> Row:
    """Sum up a row's campaigns."""
    wrong = [result for result in results if result.held_false or result.broke_false]
    held_false = sum(result.held_false for result in results)
    broke_false = sum(result.broke_false for result in results)
    low, high = of_share(max(held_false, broke_false), len(results))
    passed = [result for result in results if result.above_bump]
    bumped, naive = situation.bump is not None, [result.naive_false for result in results]
    return Row(
        situation=situation.name,
        policy=policy,
        trap=situation.trap,
        runs=len(results),
        held_false=held_false,
        broke_false=broke_false,
        either_false=len(wrong),
        false=max(held_false, broke_false),
        false_low=low,
        false_high=high,
        naive_false=None if None in naive else sum(map(bool, naive)),
        closed=sum(result.closed for result in results),
        one_sided=sum(result.one_sided for result in results),
        exits={str(k): v for k, v in sorted(Counter(r.exit_code for r in results).items())},
        samples=mean(result.samples for result in results),
        took_ms=mean(result.took_ms for result in results),
        exposures=mean(result.exposures for result in results),
        voids=mean(result.voids for result in results),
        below_bump=sum(r.below_bump for r in results) if bumped else None,
        above_bump=len(passed) if bumped else None,
        told_bump=sum(r.told_bump for r in results) if bumped else None,
        found_bump=sum(r.found_bump for r in results) if bumped else None,
        looks=mean(r.looks for r in passed) if passed else None,
        assumptions_failed=sum("assumptions failed" in r.reason for r in results),
        false_seeds=[result.seed for result in wrong[:10]],
    )


def _job(job: tuple[str, str, int]) -> Result:
    name, policy, seed = job
    return campaign_of(ROWS[name], policy, seed)


def measured(names: Sequence[str], runs: int, seed: int, jobs: int) -> Iterator[Row]:
    """The rows one by one, as soon as each is done."""
    with Pool(jobs) as pool:
        for name in names:
            for policy in ROWS[name].policies:
                todo = [(name, policy, seed + run) for run in range(runs)]
                results = pool.map(_job, todo, chunksize=max(1, runs // (8 * jobs)))
                yield row_of(ROWS[name], policy, results)


HEADER = (
    f"{'situation':36} {'policy':10} {'held':>5} {'broke':>5} {'false':>6}  {'95 % interval':13} "
    f"{'naive':>6} {'closed':>6} {'1-side':>6} {'samples':>7} {'expos':>5} {'void':>4} {'ms':>5}"
    "  exits"
)


def told(row: Row) -> str:
    """A row as a line of text."""
    share = f"{row.false / row.runs:6.1%}"
    between = f"{row.false_low:5.1%}-{row.false_high:5.1%}"
    naive = "" if row.naive_false is None else f"{row.naive_false / row.runs:.0%}"
    exits = " ".join(f"{code}:{count}" for code, count in row.exits.items())
    if row.below_bump is not None:
        exits += (
            f"  bump bracketed {row.below_bump}, passed over {row.above_bump}, of these told by "
            f"the arms' counts {row.told_bump}, by {row.looks or 0:.0f} more requests "
            f"{row.found_bump}; assumptions failed {row.assumptions_failed}"
        )
    return (
        f"{row.situation:36} {row.policy:10} {row.held_false:5} {row.broke_false:5} {share}  "
        f"{between:13} {naive:>6} {row.closed:6} {row.one_sided:6} {row.samples:7.0f} "
        f"{row.exposures:5.0f} {row.voids:4.1f} {row.took_ms:5.0f}  {exits}"
    )


def main() -> None:
    """Print the table that the options ask for."""
    parser = argparse.ArgumentParser(description="False claims in hostile worlds, simulated.")
    parser.add_argument("--runs", type=int, default=200, help="campaigns a row")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the situations' names")
    parser.add_argument("--json", type=Path, help="write the same numbers to this file")
    options = parser.parse_args()
    names = [name for name in ROWS if any(part in name for part in options.only)]
    if not names:
        parser.error(f"--only: found no situation, wanted parts of: {', '.join(ROWS)}")
    print(f"{options.runs} runs a row, nominal {DELTA:.0%}, seeds from {options.seed}\n{HEADER}")
    rows, began = [], time.monotonic()
    for row in measured(names, options.runs, options.seed, options.jobs):
        rows.append(row)
        print(told(row), flush=True)
        print(f"{len(rows)} rows, {time.monotonic() - began:.0f} s", file=sys.stderr)
    above = [row for row in rows if not row.trap and row.false_low > DELTA]
    print(f"{len(above)} rows certainly above {DELTA:.0%}")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
