"""Does the field's trouble still cost answers, or truth? Whole campaigns of the engine, simulated.

Every attack once gave false claims or no answer; what the first version made of it stands beside
its row. A row is refuted when its share of false claims is certainly above 5 %.

    python benchmarks/field.py --runs 200 --jobs 2 --only hold hiccup
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.attacks import ATTACKS, Attack
from benchmarks.layout import Column, Row, Table
from benchmarks.real_life import DELTA
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Bracket, Route
from chaosbandit.plan.intervals import of_share
from chaosbandit.sim import simulate_campaign

NAME, TITLE = "7", "what the field taught: attacks on the first version, through the engine"


@dataclass(frozen=True, slots=True)
class Met:
    """What became of one campaign under attack."""

    seed: int
    found: Bracket
    held_false: bool
    broke_false: bool
    harmed: bool
    cause: str
    exit_code: int
    requests: int  # of the canary, measured
    bad: int  # of the canary, in every phase
    seconds: float  # simulated, from the first request to the end
    block: int

    @property
    def sides(self) -> int:
        """How many sides of the bracket are certified."""
        return (self.found.held is not None) + (self.found.broke is not None)

    @property
    def width(self) -> float | None:
        """Broke over held, less one."""
        held, broke = self.found.held, self.found.broke
        return None if held is None or broke is None else broke / held - 1.0


def met(attack: Attack, seed: int) -> Met:
    """One campaign, its claims held against the truth."""
    case = attack.build(np.random.default_rng([seed, 11]))
    campaign = simulate_campaign(case.asked, case.world, seed=seed)
    found, stopped, tau = (
        bracket(Climb(campaign, 0)),
        campaign.stopped,
        case.asked.slos[0].bad_ratio,
    )
    assert stopped is not None and campaign.header is not None
    held, broke, wrong = found.held, found.broke, attack.nothing_true
    tally = campaign.tallies.get(Route.CANARY)
    return Met(
        seed=seed,
        found=found,
        held_false=held is not None and (wrong or case.truth(held) >= tau),
        broke_false=broke is not None and (wrong or case.truth(broke) <= tau),
        harmed=case.harmed(),
        cause=stopped.cause.value,
        exit_code=int(stopped.exit_code),
        requests=campaign.spent_samples,
        bad=sum(tally.bad_by_phase.values()) if tally else 0,
        seconds=stopped.now_s - campaign.header.now_s,
        block=campaign.ladders[0].certificate.block,
    )


COLUMNS = (
    Column("attack", "attack"),
    Column("setting", "setting"),
    Column("runs", "runs", "d"),
    Column("false", "false", "d"),
    Column("interval", "95 % interval"),
    Column("two", "two", "d"),
    Column("one", "one", "d"),
    Column("unknown", "none", "d"),
    Column("width", "width", ".0%"),
    Column("requests", "requests", ".0f", "requests_goal"),
    Column("bad", "bad", ".0f", "bad_goal"),
    Column("seconds", "seconds", ".0f", "seconds_goal"),
    Column("exits", "exits"),
    Column("before", "before"),
)


def row_of(attack: Attack, results: Sequence[Met]) -> Row:
    """Sum up a row's campaigns; of false claims on the worse side, as each is promised alone."""
    sides = Counter(result.sides for result in results)
    false = max(sum(r.held_false for r in results), sum(r.broke_false for r in results))
    low, high = of_share(false, len(results))
    widths = [result.width for result in results if result.width is not None]
    exits = sorted(Counter(result.exit_code for result in results).items())
    harmed = sum(result.harmed for result in results)
    blocks = sum(result.block > 1 for result in results)
    return {
        "attack": attack.name,
        "setting": attack.setting,
        "runs": len(results),
        "false": false,
        "false_low": low,
        "false_high": high,
        "interval": f"{low:5.1%}-{high:5.1%}",
        "two": sides[2],
        "one": sides[1],
        "unknown": sides[0],
        "width": median(widths) if widths else None,
        "requests": median(result.requests for result in results),
        "requests_goal": attack.most_requests,
        "bad": median(result.bad for result in results),
        "bad_goal": attack.most_bad,
        "seconds": median(result.seconds for result in results),
        "seconds_goal": attack.most_s,
        "exits": " ".join(f"{code}:{count}" for code, count in exits)
        + (f" killed:{harmed}" if harmed else "")
        + (f" blocks:{blocks}" if blocks else ""),
        "trap": attack.trap,
        "before": attack.before,
    }


def _job(job: tuple[str, int]) -> tuple[str, Met]:
    name, seed = job
    return name, met(ATTACKS[name], seed)


def measured(pool: Pool, names: Iterable[str], runs: int, seed: int) -> Iterator[Row]:
    """The rows one by one, as soon as each is done."""
    todo = [(name, seed + run) for name in names for run in range(runs)]
    found = pool.imap(_job, todo, chunksize=max(1, min(5, runs // 4)))
    for name, results in groupby(found, key=lambda each: each[0]):
        yield row_of(ATTACKS[name], [result for _, result in results])
        print(f"field: {name}", file=sys.stderr, flush=True)


def table(pool: Pool, runs: int, seed: int, names: Iterable[str] = tuple(ATTACKS)) -> Table:
    """All rows; the goal is that none is certainly above the nominal share of false claims."""
    rows = list(measured(pool, names, runs, seed))
    above = sum(float(row["false_low"] or 0.0) > DELTA for row in rows if not row["trap"])
    return Table(NAME, TITLE, COLUMNS, rows, [f"{above} rows certainly above {DELTA:.0%} false"])


def main() -> None:
    """Print the table that the options ask for."""
    parser = argparse.ArgumentParser(description="Attacks on the first version, simulated.")
    parser.add_argument("--runs", type=int, default=200, help="campaigns a row")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the rows' names")
    parser.add_argument("--json", type=Path, help="write the same numbers to this file")
    options = parser.parse_args()
    names = [name for name in ATTACKS if any(part in name for part in options.only)]
    if not names:
        parser.error(f"--only: found no attack, wanted parts of: {'; '.join(ATTACKS)}")
    began = time.monotonic()
    with Pool(options.jobs) as pool:
        found = table(pool, options.runs, options.seed, names)
    print(found.text())
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(found.json(), indent=1) + "\n")


if __name__ == "__main__":
    main()
