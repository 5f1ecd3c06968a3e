"""Does the demo's bracket contain the true breaking point? Long form, on real traffic.

For each server: run the demo with several seeds (of search and services), then measure the bad
ratio at fixed latencies with long samples (the sweep). A bracket is right when the breaking point
that the sweep allows at 95 % lies in it, at least in part; the table also says whether its point
estimate does. Nothing of the search is used for the sweep but the injector and the prober.

    python benchmarks/demo.py --server embedded --seeds 10
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.optimize import isotonic_regression

from chaosbandit.cli.demo_proof import bad_counts
from chaosbandit.cli.demo_services import Stage, standing
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.ratio_tests import interval

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import running_server


@dataclass(frozen=True, slots=True)
class Point:
    """The worst SLO's bad ratio at one latency, with a 95 % interval valid at all sizes."""

    latency_s: float
    samples: int
    bad: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """What long samples at fixed latencies say of the breaking point (seconds)."""

    points: tuple[Point, ...]
    low_s: float  # the breaking point is above this, as far as 95 % intervals tell
    high_s: float  # and below this
    estimate_s: float  # where the isotonic fit crosses the allowed bad ratio


def sweep(stage: Stage, around_s: float, samples: int) -> Sweep:
    """Measure nine latencies from 12 % below to 12 % above `around_s`."""
    scenario = stage.loaded().scenario
    steps = [round(around_s * (1 + 0.03 * k), 3) for k in range(-4, 5)]
    ladder = scenario.ladder
    points = []
    for latency_s in steps:
        exact = Ladder(ladder.name, ladder.proxy, ladder.kind, latency_s, latency_s * 2, 1.0)
        bad = max(asyncio.run(bad_counts(stage.server, scenario, exact.variant(0), samples)))
        low, high = interval(samples, bad, 0.05)
        points.append(Point(latency_s, samples, bad, low, high))
        print(f"    {latency_s * 1000:4.0f} ms  {bad:4d} of {samples} bad  {low:.2%} to {high:.2%}")
    return _locate(tuple(points), max(slo.bad_ratio for slo in scenario.slos))


def _locate(points: tuple[Point, ...], tau: float) -> Sweep:
    below = [p.latency_s for p in points if p.high < tau]
    above = [p.latency_s for p in points if p.low > tau]
    fit = isotonic_regression([p.bad / p.samples for p in points]).x
    crossing = next((n for n, ratio in enumerate(fit) if ratio > tau), len(points) - 1)
    before = points[max(0, crossing - 1)].latency_s
    return Sweep(
        points,
        low_s=max(below, default=0.0),
        high_s=min(above, default=float("inf")),
        estimate_s=(before + points[crossing].latency_s) / 2,
    )


def run(stage: Stage, seed: int) -> dict[str, object]:
    """One search as a user runs it; its result as the command's JSON."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "chaosbandit", "run", str(stage.scenario_file), "--json"]
        done = subprocess.run(
            [*command, "--quiet", "--seed", str(seed), "--journal", folder],
            env={**os.environ, **stage.environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    result: dict[str, object] = json.loads(done.stdout) if done.stdout else {}
    return result | {"stderr": done.stderr}


def measure(kind: str, seeds: int, samples: int) -> dict[str, object]:
    """Runs and sweep on one server, printed as they come."""
    rows: list[dict[str, object]] = []
    with ExitStack() as stack:
        server = stack.enter_context(running_server("real")) if kind == "real" else None
        for seed in range(1, seeds + 1):
            began = time.monotonic()
            with standing(server, seed) as stage:
                result = run(stage, seed)
            row = _row(seed, result, time.monotonic() - began)
            rows.append(row)
            print(f"  seed {seed:2d}: {row}")
        answered = [row for row in rows if row["held_s"] and row["broke_s"]]
        if not answered:
            return {"server": kind, "rows": rows, "right": 0}
        middle = sorted((float(str(r["held_s"])) + float(str(r["broke_s"]))) / 2 for r in answered)
        stage = stack.enter_context(standing(server))
        truth = sweep(stage, middle[len(middle) // 2], samples)
    right = sum(_right(row, truth) for row in answered)
    exact = sum(
        float(str(row["held_s"])) <= truth.estimate_s <= float(str(row["broke_s"]))
        for row in answered
    )
    print(
        f"{kind}: breaking point about {truth.estimate_s * 1000:.0f} ms "
        f"({truth.low_s * 1000:.0f} to {truth.high_s * 1000:.0f} at 95 %): "
        f"{right} of {seeds} brackets right, {exact} hold the point estimate"
    )
    return {"server": kind, "rows": rows, "sweep": asdict(truth), "right": right, "exact": exact}


def _row(seed: int, result: dict[str, object], took_s: float) -> dict[str, object]:
    ladders = result.get("ladders")
    ends = ladders[0]["bracket"] if isinstance(ladders, list) else {}
    return {
        "seed": seed,
        "exit": result.get("exit_code"),
        "held_s": ends.get("held"),
        "broke_s": ends.get("broke"),
        "took_s": round(took_s, 1),
        "stop": result.get("stop_reason"),
    }


def _right(row: dict[str, object], truth: Sweep) -> bool:
    return float(str(row["held_s"])) <= truth.high_s and float(str(row["broke_s"])) >= truth.low_s


def main() -> None:
    """Print the table; with --json FILE also write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--server", choices=("embedded", "real", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=1500, help="per latency of the sweep")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    kinds = ("embedded", "real") if asked.server == "both" else (asked.server,)
    tables = []
    for kind in kinds:
        print(f"{kind} Toxiproxy, {asked.seeds} seeds")
        tables.append(measure(kind, asked.seeds, asked.samples))
    if asked.json:
        asked.json.write_text(json.dumps(tables, indent=2))


if __name__ == "__main__":
    main()
