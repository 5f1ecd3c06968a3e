"""How fast is the search, how often is it wrong, and what do others need? Simulated, one seed.

    python benchmarks/tables.py                    (make bench: under 15 minutes on two cores)
    python benchmarks/tables.py --effort quick     (make bench-quick: under 2)
    python benchmarks/tables.py --effort long      (make bench-long: 2000 campaigns a row)

Tables go to stdout, progress to stderr, the same figures with all digits to `--json FILE`. The
same seed gives the same figures, but for the times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from multiprocessing import Pool
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

from benchmarks import cost, figures, limits
from benchmarks.layout import MISSED, Table
from benchmarks.study import Study


@dataclass(frozen=True, slots=True)
class Effort:
    """Campaigns a row."""

    families: Mapping[float, int]  # by tau
    moving: int
    rivals: int
    edges: int
    cost: int
    real_life: int
    field: int
    limits: int


EFFORTS = {
    "quick": Effort({0.05: 20, 0.01: 20, 0.001: 10}, 10, 5, 20, 5, 1, 5, 5),
    "usual": Effort({0.05: 300, 0.01: 500, 0.001: 150}, 100, 40, 100, 20, 5, 200, 60),
    "long": Effort({0.05: 2000, 0.01: 2000, 0.001: 2000}, 500, 200, 2000, 100, 200, 1000, 500),
}

TABLES: dict[str, Callable[[Study, Effort], Table]] = {
    "1": lambda study, effort: figures.families(study, effort.families),
    "2": lambda study, effort: figures.moving(study, effort.moving),
    "3": lambda study, effort: figures.rivals(study, effort.rivals),
    "4": lambda study, effort: figures.edges(study, effort.edges),
    "5a": lambda study, effort: cost.by_steps(study, effort.cost),
    "5b": lambda study, effort: cost.by_samples(study, effort.cost),
    "8": lambda study, effort: limits.affordable(study, effort.limits),
    "9": lambda study, effort: limits.gates(study, effort.limits),
}
_REAL_LIFE, _FIELD = "6", "7"


def main() -> None:
    """Print the tables that the options ask for."""
    parser = argparse.ArgumentParser(description="The search, simulated: cost and validity.")
    parser.add_argument("--effort", choices=list(EFFORTS), default="usual")
    parser.add_argument("--only", nargs="+", choices=[*TABLES, _REAL_LIFE, _FIELD], help="tables")
    parser.add_argument("--runs", type=int, help="campaigns a row of table 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, help="write the same figures to this file")
    options = parser.parse_args()
    effort, began_s = EFFORTS[options.effort], time.monotonic()
    if options.runs is not None:
        effort = replace(effort, families=dict.fromkeys(effort.families, options.runs))
    print(f"effort {options.effort}, seed {options.seed}; {MISSED} misses the goal (in brackets)\n")
    found: list[dict[str, object]] = []
    with Pool(options.jobs) as pool:
        study = Study(pool, options.seed)
        for name, table_of in TABLES.items():
            if options.only is None or name in options.only:
                table = table_of(study, effort)
                found.append(table.json())
                print(table.text(), flush=True)
    if options.only is None or _REAL_LIFE in options.only:
        found.append(real_life(effort.real_life, options.seed, options.jobs))
    if options.only is None or _FIELD in options.only:
        found.append(field(effort.field, options.seed, options.jobs))
    took = {"wall_s": time.monotonic() - began_s, "processor_s": study.cpu_s}
    print(f"{took['wall_s']:.0f} s; processor time of the campaigns {took['processor_s']:.0f} s")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        whole = {"effort": options.effort, "seed": options.seed, **took, "tables": found}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


def real_life(runs: int, seed: int, jobs: int) -> dict[str, object]:
    """Whole campaigns of the engine in hostile worlds, from `benchmarks/real_life.py`."""
    # Imported here: it registers policies of its own, which the other tables need not see.
    from benchmarks.hostile import ROWS
    from benchmarks.real_life import HEADER, measured, told

    title = "through the engine: requests in flight, time-outs, bursts, several SLOs, restarts"
    print(f"{_REAL_LIFE}  {title}\n\n{HEADER}")
    rows = []
    for row in measured(list(ROWS), runs, seed, jobs):
        rows.append(asdict(row))
        print(told(row), flush=True)
    return {"table": _REAL_LIFE, "title": title, "rows": rows}


def field(runs: int, seed: int, jobs: int) -> dict[str, object]:
    """What users of the first version ran into, from `benchmarks/field.py`."""
    from benchmarks.field import table  # it registers a policy of its own, too

    with Pool(jobs) as pool:
        found = table(pool, runs, seed)
    print(found.text(), flush=True)
    return found.json()


if __name__ == "__main__":
    main()
