"""How fast the prober sends on this machine, and whether whole runs at such rates are valid.

First what one request costs the sending side in processor time, at 1000/s against a local nginx.
Then whole runs of `chaosbandit run` through a real Toxiproxy to that nginx, with how late their
requests left, beside how late a bare timer is on this machine meanwhile: no prober does better than
that. vegeta and wrk send at the same rates where they are found on PATH; wrk has no rate, so its
figure is the most it sends. Exit code 1 when a run the prober is meant for is not valid.

    python benchmarks/speed.py --rates 500 1000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))
from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.core.scenario import Traffic
from chaosbandit.traffic.clock import SystemClock
from chaosbandit.traffic.request_sender import Sender
from tests.real_parts import nginx
from tests.servers import Kind, real_server_path, running_server

COST_AT_PER_S, GOAL_US, GOAL_LAG_S = 1000.0, 150.0, 0.005
RATES_PER_S = (500, 1000, 3000)
_SECONDS = 5.0  # of each plain sender
_RUN_S = 240.0
_SCENARIO = """\
version: 1
name: speed
toxiproxy: {toxiproxy}
topology: edge
proxies: {{shop: {{upstream: "{address}"}}}}
traffic: {{url: "http://{address}/", rate: {rate}/s, timeout: 2s}}
slos:
  - {{name: availability, good: status in 2xx-3xx, objective: 99%}}
  - {{name: latency, good: latency <= 100ms, objective: 99%}}
budget: {{window: 30d, requests: 20_000_000, spend: 5%}}
ladders: [{{name: slow, proxy: shop, toxic: latency, from: 20ms, to: 500ms}}]
search: {{resolution: 20%, hold: 3s, max_duration: 90s}}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What a whole run came to."""

    exit_code: int
    why: str
    exposures: int = 0
    void: int = 0
    lags_s: tuple[float, ...] = ()


def main() -> int:
    """Print the figures; 1 when a run at up to 1000/s ended without its answer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", type=int, nargs="*", default=RATES_PER_S)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of each plain sender")
    asked = parser.parse_args()
    failed = False
    with nginx() as server:
        url = f"http://{server.address}/"
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; nginx, 5 byte body\n")
        cost_us = min(client_us(url, asked.seconds) for _ in range(3))
        print(f"client processor time a request at {COST_AT_PER_S:g}/s: {cost_us:.0f} us "
              f"(goal {GOAL_US:.0f})")  # fmt: skip
        print(f"wrk, as fast as it can: {wrk(url, asked.seconds)}\n")
        kind: Kind = "real" if real_server_path() else "embedded"
        print(f"whole runs through the {kind} Toxiproxy (goal: lag p99 {GOAL_LAG_S * 1e3:g} ms)")
        for rate in asked.rates:
            with running_server(kind) as toxiproxy, bare_timer() as timer_s:
                run = whole_run(_SCENARIO.format(
                    toxiproxy=toxiproxy, address=server.address, rate=rate))  # fmt: skip
            print(f"{rate:>6}/s  {told(run)}")
            print(f"          a bare timer meanwhile: {late(timer_s)}")
            print(f"          vegeta: {vegeta(url, rate, asked.seconds)}", flush=True)
            failed |= rate <= COST_AT_PER_S and (run.exit_code != 0 or run.void > 0)
    return int(failed)


def client_us(url: str, lasts_s: float) -> float:
    """Processor time of this process for each request sent in open loop, microseconds."""

    async def sent(sender: Sender, count: int) -> list[Sample]:
        start_s, flights = time.monotonic(), list[asyncio.Task[Sample]]()
        for seq in range(count):
            due_s = start_s + seq / COST_AT_PER_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            flights.append(asyncio.create_task(sender.send(seq, Route.CANARY, due_s)))
        return await asyncio.gather(*flights)

    async def measured() -> float:
        async with Sender(Traffic(url, url, COST_AT_PER_S, 2.0), {}, SystemClock()) as sender:
            await sent(sender, 200)
            began_s, count = time.process_time(), math.ceil(COST_AT_PER_S * lasts_s)
            samples = await sent(sender, count)
            spent_s = time.process_time() - began_s
        lost = [sample.told for sample in samples if sample.outcome is not Outcome.RESPONSE]
        if lost:
            print(f"{len(lost)} of {count} had no answer: {lost[0]}")
        return 1e6 * spent_s / count

    return asyncio.run(measured())


def whole_run(scenario: str) -> Run:
    """`chaosbandit run` from start to end, and what its journal says of lateness."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speed.yaml"
        file.write_text(scenario)
        done = subprocess.run(
            [sys.executable, "-m", "chaosbandit", "run", str(file), "--json", "--seed", "1"],
            capture_output=True,
            text=True,
            timeout=_RUN_S,
            env={**os.environ, "XDG_STATE_HOME": folder},
            check=False,
        )
        journals = list(Path(folder).glob("chaosbandit/runs/*.jsonl"))
        if not journals:
            return Run(done.returncode, (done.stderr or done.stdout).strip().splitlines()[-1])
        events = [json.loads(line) for line in journals[0].read_text().splitlines()]
    ended = [event for event in events if event["type"] == "ExposureEnded"]
    return Run(
        exit_code=done.returncode,
        why=events[-1].get("reason", "no end"),
        exposures=len(ended),
        void=sum(not event["validity"]["valid"] for event in ended),
        lags_s=tuple(
            sample["started_s"] - sample["intended_s"]
            for event in events
            if event["type"] == "Observed"
            for sample in event["samples"]
        ),
    )


def told(run: Run) -> str:
    """One line on a run."""
    if not run.lags_s:
        return f"exit {run.exit_code}: {run.why}"
    return (
        f"exit {run.exit_code}, {run.void} of {run.exposures} exposures void, "
        f"{len(run.lags_s):,} requests {late(run.lags_s)}; {run.why}"
    )


def late(lags_s: Sequence[float]) -> str:
    """The middle and the tail."""
    ordered = sorted(lags_s)
    p50_s, p99_s = (ordered[math.ceil(p * len(ordered)) - 1] for p in (0.5, 0.99))
    return f"late by p50 {p50_s * 1e3:.2f}, p99 {p99_s * 1e3:.2f} ms"


@contextmanager
def bare_timer() -> Iterator[list[float]]:
    """How much later than asked a thread that only sleeps 1 ms wakes up, again and again."""
    lags_s: list[float] = []
    over = threading.Event()

    def sleep() -> None:
        while not over.is_set():
            due_s = time.monotonic() + 0.001
            time.sleep(0.001)
            lags_s.append(time.monotonic() - due_s)

    thread = threading.Thread(target=sleep)
    thread.start()
    try:
        yield lags_s
    finally:
        over.set()
        thread.join()


def vegeta(url: str, rate: int, lasts_s: float) -> str:
    """Its processor time a request and its latencies at this rate."""
    program = shutil.which("vegeta")
    if program is None:
        return "not on PATH (go install github.com/tsenart/vegeta/v12@v12.12.0)"
    before_s = _children_s()
    attack = subprocess.run(
        [program, "attack", f"-rate={rate}", f"-duration={lasts_s}s"],
        input=f"GET {url}\n".encode(),
        capture_output=True,
        check=True,
    )
    spent_s = _children_s() - before_s
    report = subprocess.run(
        [program, "report", "-type=json"], input=attack.stdout, capture_output=True, check=True
    )
    found = json.loads(report.stdout)
    p50_s, p99_s = (found["latencies"][key] / 1e9 for key in ("50th", "99th"))
    return (
        f"{found['rate']:,.0f}/s sent, {1e6 * spent_s / found['requests']:.0f} us processor time a "
        f"request, latency p50 {p50_s * 1e3:.2f}, p99 {p99_s * 1e3:.2f} ms"
    )


def wrk(url: str, lasts_s: float) -> str:
    """The most it sends over 32 connections."""
    program = shutil.which("wrk")
    if program is None:
        return "not on PATH (a package of Debian)"
    before_s = _children_s()
    command = [program, "-t1", "-c32", f"-d{math.ceil(lasts_s)}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent_s = _children_s() - before_s
    sent = re.search(r"(\d+) requests in", said)
    assert sent is not None, said
    count = int(sent[1])
    return f"{count / lasts_s:,.0f}/s, {1e6 * spent_s / count:.0f} us processor time a request"


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
