"""Are the answers right on real services, with the real Toxiproxy and the command that users run?

Each situation once misled a run or left it without an answer: a dear objective and little time, a
breaker that stays open for longer than the wash-out, a canary that never asks its dependency, a
dependency that is slow whenever there is a toxic, a rate of one request in a second or two. Its
truth is known by construction, so each claim is right or false. Exit code 1 when a goal is missed.

    python benchmarks/answers.py breaker --seeds 10 --jobs 2
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))
from benchmarks.layout import Column, Row, Table
from benchmarks.shop import running_shop
from chaosbandit.toxiproxy.calls import Calls
from tests.e2e.runs import Command, journals, soon
from tests.operator_path import free_port
from tests.real_parts import nginx
from tests.servers import running_server

LIMIT_S = 0.12  # what the shop's pages wait for the stock
STRUCK_S = 2.0  # after the injection a run is interrupted
_STRIKE_WITHIN_S, _ENDS_WITHIN_S = 120.0, 2400.0

EDGE = """\
version: 1
name: answers
toxiproxy: {api}
topology: edge
proxies:
  shop: {{upstream: "{service}"}}
traffic: {{url: "http://{service}/item/{{n}}", rate: 50/s, timeout: 1s, connections: per-request}}
slos:
  - {{name: availability, good: status in 2xx, objective: 95%}}
budget: {{window: 30d, requests: 2_000_000, spend: 5%}}
ladders:
  - {{name: broken-connections, proxy: shop, toxic: errors, from: 0.5%, to: 40%}}
search: {search}
"""
CANARY = """\
version: 1
name: answers
toxiproxy: {api}
topology: canary
proxies:
  stock: {{upstream: "{stock}", listen: "{listen}", check: "http://{listen}/"}}
traffic:
  url: http://{canary}/item/{{n}}
  control_url: http://{control}/item/{{n}}
  rate: {rate}
  timeout: 1s
slos:
  - {{name: availability, good: status in 2xx, objective: 95%}}
budget: {{window: 30d, requests: 2_000_000, spend: 5%}}
ladders:
  - {{name: slow-stock, proxy: stock, toxic: latency, from: 10ms, to: 1s}}
search: {search}
timing: {timing}
"""
_USUAL = "{steady_samples: 60}"
_SPARING = "{warmup: 0s, warmup_samples: 0, steady_samples: 20}"  # where requests are few


# --- one run --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """What one run said, held against the truth."""

    seed: int
    false: str  # the claim that is not true; empty: all are
    held: float | None
    broke: float | None
    estimate: float | None  # the model's median, never certified
    answered: bool
    exit_code: int
    cause: str | None
    said: str
    stopped: str
    clean: str
    duration_s: float
    requests: int  # to the canary
    bad: int
    exposures: int
    void: int

    @property
    def sides(self) -> int:
        """Certified ends of the bracket."""
        return (self.held is not None) + (self.broke is not None)

    @property
    def ratio(self) -> float:
        """Of the bracket: broke / held."""
        closed = self.held is not None and self.broke is not None
        return self.broke / self.held if closed else math.inf  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Truth:
    """All up to `holds` does, all from `breaks` on breaks; of what lies between either is true."""

    holds: float
    breaks: float

    def denies(self, held: float | None, broke: float | None) -> str:
        """What of these claims is false; empty when nothing is."""
        false = [f"held at {held:g}"] if held is not None and held >= self.breaks else []
        false += [f"broke at {broke:g}"] if broke is not None and broke <= self.holds else []
        return ", ".join(false)


NO_DOSE = Truth(holds=math.inf, breaks=0.0)  # of a path that is not used nothing is true
Standing = Callable[[], AbstractContextManager[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Situation:
    """Real services, what is asked of them, what is true of them, and how well a run should do."""

    title: str
    scenario: str
    standing: Standing
    truth: Truth
    goal: str
    met: Callable[[Sequence[Run]], bool]  # beyond that no claim is false
    asked: Mapping[str, str]  # of the scenario
    strike: bool = False  # SIGTERM while the first fault stands

    def run(self, seed: int, **changes: str) -> Run:
        """One run of the command line against fresh services."""
        with tempfile.TemporaryDirectory() as name, self.standing() as places:
            folder = Path(name)
            scenario = folder / "scenario.yaml"
            scenario.write_text(self.scenario.format(**places, **{**self.asked, **changes}))
            run = ("run", scenario, "--json", "--seed", seed)
            with Command(folder, *run, environment={"PYTHONPATH": str(_ROOT)}) as command:
                if self.strike:
                    _strike(command)
                ended = command.ended(_ENDS_WITHIN_S)
        if not ended.out:
            raise RuntimeError(f"no result, exit code {ended.code}: {ended.err[-2000:]}")
        return _told(seed, ended.code, json.loads(ended.out), self.truth)


def _strike(command: Command) -> None:
    def exposed() -> bool:
        began = '"type":"ExposureStarted"'
        return any(began in path.read_text() for path in journals(command.state))

    if not soon(exposed, _STRIKE_WITHIN_S):
        raise RuntimeError(f"no exposure within {_STRIKE_WITHIN_S:g} s: {command.err[-2000:]}")
    time.sleep(STRUCK_S)
    command.send(signal.SIGTERM)


def _told(seed: int, code: int, result: dict[str, Any], truth: Truth) -> Run:
    (ladder,) = result["ladders"]
    held, broke = ladder["bracket"]["held"], ladder["bracket"]["broke"]
    routes: dict[str, dict[str, Any]] = {each["route"]: each for each in result["requests"]}
    canary = routes.get("canary", {})
    return Run(
        seed=seed,
        false=truth.denies(held, broke),
        held=held,
        broke=broke,
        estimate=(ladder["estimate"] or {}).get("median"),
        answered=result["answered"],
        exit_code=code,
        cause=result["cause"],
        said=result["answer"],
        stopped=result["stop_reason"],
        clean=result["clean"],
        duration_s=result["duration_s"],
        requests=canary.get("sent", 0),
        bad=canary.get("any_bad", 0),
        exposures=len(result["exposures"]),
        void=sum(not each["valid"] for each in result["exposures"]),
    )


# --- situations -----------------------------------------------------------------------------------


@contextlib.contextmanager
def edge() -> Iterator[Mapping[str, str]]:
    """nginx that answers 200."""
    with running_server("real") as api, nginx() as part:
        yield {"api": api, "service": part.address}


@contextlib.contextmanager
def shop(*options: str) -> Iterator[Mapping[str, str]]:
    """The shop with these options, its canary wired to an operator's proxy."""
    listen = f"127.0.0.1:{free_port()}"
    with running_server("real") as api, running_shop(listen, api, *options) as there:
        proxy = {"name": "stock", "listen": listen, "upstream": there.stock}
        with contextlib.closing(Calls(api)) as calls:
            assert calls.call("POST", "/proxies", proxy).status == 201
        yield {"api": api, "listen": listen, **asdict(there)}


def shop_with(*options: str) -> Standing:
    """The shop with these options."""
    return partial(shop, *options)


def _asked(rate: str, max_duration: str, timing: str = _USUAL) -> Mapping[str, str]:
    search = f"{{resolution: 50%, max_duration: {max_duration}}}"
    return {"rate": rate, "search": search, "timing": timing}


def _share(at_least: float, true: Callable[[Run], bool]) -> Callable[[Sequence[Run]], bool]:
    return lambda runs: sum(map(true, runs)) >= at_least * len(runs) - 1e-9


def _bracketed(widest: float) -> Callable[[Sequence[Run]], bool]:
    return lambda runs: all(r.sides == 2 for r in runs) and median(r.ratio for r in runs) <= widest


# A page's limit covers more than the wire, and machines stall: a little below it either is true.
_LIMIT = Truth(holds=0.875 * LIMIT_S, breaks=LIMIT_S)
SITUATIONS: Mapping[str, Situation] = {
    "edge-errors": Situation(
        title="5 % of errors break 95 %, and 150 s are all there is",
        scenario=EDGE,
        standing=edge,
        truth=Truth(holds=0.05, breaks=math.nextafter(0.05, 1.0)),
        goal="two sides in all, broke / held at most 3.1 in the median",
        met=_bracketed(3.1),
        asked={"search": "{resolution: 25%, max_duration: 150s}"},
    ),
    "breaker": Situation(
        title="a breaker stays open for 20 s, the wash-out is 15 s",
        scenario=CANARY,
        standing=shop_with("--limit", f"{LIMIT_S}", "--breaker", "20"),
        truth=_LIMIT,
        goal="answered in 9 of 10",
        met=_share(0.9, lambda run: run.answered),
        asked=_asked("50/s", "15m"),
    ),
    "slow-canary": Situation(
        title="the canary is 25 ms slower by itself and never asks",
        scenario=CANARY,
        standing=shop_with("--asks-nothing", "--slower", "0.025"),
        truth=NO_DOSE,
        goal="nothing is claimed",
        met=_share(1.0, lambda run: run.sides == 0),
        asked=_asked("50/s", "5m"),
    ),
    "slow-dependency": Situation(
        title="the stock is 400 ms slower while there are toxics",
        scenario=CANARY,
        standing=shop_with("--limit", "0.7", "--stock-slower", "0.4"),
        truth=Truth(holds=0.6, breaks=0.7),
        goal="nothing false",
        met=lambda runs: True,
        asked=_asked("50/s", "5m"),
    ),
    "low-rate-interrupt": Situation(
        title="60 requests a minute, SIGTERM under the first fault",
        scenario=CANARY,
        standing=shop_with("--limit", f"{LIMIT_S}"),
        truth=_LIMIT,
        goal="exit 143, nothing left behind",
        met=_share(1.0, lambda run: run.exit_code == 143 and run.clean != "not confirmed"),
        asked=_asked("60/min", "5m", _SPARING),
        strike=True,
    ),
    "low-rate": Situation(
        title="30 requests a minute for 30 minutes",
        scenario=CANARY,
        standing=shop_with("--limit", f"{LIMIT_S}"),
        truth=_LIMIT,
        goal="a side in all",
        met=_share(1.0, lambda run: run.sides > 0),
        asked=_asked("30/min", "30m", _SPARING),
    ),
}

# --- all of them ----------------------------------------------------------------------------------


def measured(name: str, seeds: Sequence[int], jobs: int) -> list[Run]:
    """A run per seed, each told on stderr when it is over."""

    def once(seed: int) -> Run:
        run = SITUATIONS[name].run(seed)
        print(f"{name}, seed {seed}: {_line(run)}", file=sys.stderr, flush=True)
        return run

    pool = ThreadPoolExecutor(jobs)
    try:
        return list(pool.map(once, seeds))
    finally:
        pool.shutdown(cancel_futures=True)


def _line(run: Run) -> str:
    ends = f"{run.held} .. {run.broke}, exit {run.exit_code} ({run.cause})"
    cost = f"{run.duration_s:.0f} s, {run.requests} requests, {run.bad} bad"
    exposures = f"{run.exposures} exposures, {run.void} void, {run.clean}"
    return f"{f'FALSE: {run.false}; ' if run.false else ''}{ends}; {cost}, {exposures}; {run.said}"


def row_of(name: str, runs: Sequence[Run]) -> Row:
    """Sum up a situation's runs."""
    situation, true = SITUATIONS[name], [run for run in runs if not run.false]
    ratios = sorted(run.ratio for run in true if run.sides == 2)
    exits = Counter(run.exit_code for run in runs)
    missed = len(true) < len(runs) or not situation.met(runs)
    return {
        "situation": name,
        "runs": len(runs),
        "bracket": sum(run.sides == 2 for run in true),
        "side": sum(run.sides == 1 for run in true),
        "nothing": sum(run.sides == 0 for run in true),
        "false": len(runs) - len(true),
        "answered": sum(run.answered for run in runs),
        "ratio": median(ratios) if ratios else None,
        "widest": ratios[-1] if ratios else None,
        "duration_s": median(run.duration_s for run in runs),
        "longest_s": max(run.duration_s for run in runs),
        "requests": median(run.requests for run in runs),
        "bad": median(run.bad for run in runs),
        "exits": " ".join(f"{code}:{count}" for code, count in sorted(exits.items())),
        "goal": f"{'MISSED' if missed else 'met'}: {situation.goal}",
        "missed": int(missed),
    }


def table(rows: Sequence[Row]) -> Table:
    """The rows as text and JSON."""
    count, rounded = partial(Column, form="d"), partial(Column, form=".0f")
    return Table(
        "answers",
        "real services: what runs claim, and whether it is true",
        (
            Column("situation", "situation"),
            count("runs", "runs"),
            count("bracket", "bracket"),
            count("side", "one side"),
            count("nothing", "nothing"),
            count("false", "false"),
            count("answered", "answered"),
            Column("ratio", "broke/held", ".2f"),
            Column("widest", "widest", ".2f"),
            rounded("duration_s", "seconds"),
            rounded("longest_s", "longest"),
            rounded("requests", "requests"),
            rounded("bad", "bad"),
            Column("exits", "exits"),
            Column("goal", "goal"),
        ),
        rows,
        notes=(
            *(f"{row['situation']}: {SITUATIONS[str(row['situation'])].title}" for row in rows),
            "bracket, one side, nothing: what true runs certified; false: runs with a false claim",
            "medians of width, seconds, requests to the canary and bad ones, warm-up included",
        ),
    )


def main() -> int:
    """Print a row for each situation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("situations", nargs="*", metavar="SITUATION", help=", ".join(SITUATIONS))
    parser.add_argument("--seeds", type=int, default=10, help="runs of each situation")
    parser.add_argument("--first", type=int, default=1, metavar="SEED")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--json", type=Path, help="also write every run here")
    asked = parser.parse_args()
    unknown = set(asked.situations) - set(SITUATIONS)
    if unknown:
        parser.error(f"found {', '.join(sorted(unknown))}, wanted any of {', '.join(SITUATIONS)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also as a shell's background job
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services end, too
    seeds, runs = range(asked.first, asked.first + asked.seeds), {}
    for name in asked.situations or SITUATIONS:
        runs[name] = measured(name, seeds, asked.jobs)
    rows = [row_of(name, each) for name, each in runs.items()]
    print(table(rows).text())
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        told = {name: [asdict(run) for run in each] for name, each in runs.items()}
        asked.json.write_text(json.dumps(told, indent=1))
    return 1 if any(row["missed"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
