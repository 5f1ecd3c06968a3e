"""How soon is the path normal again when the engine is killed with SIGKILL in mid-fault?

Each kill: a process of its own holds the run's guard and a latency fault of five seconds on the
operator's proxy, as `run` does, and is killed at a random moment while the fault stands. A client
asks the path again and again; what counts is the time from the kill to its first normal
echo. Afterwards nothing of ours may be left on the server, in the ledger or among the processes.

    python benchmarks/watchdog.py --server embedded --kills 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.scenario import Proxy, Scenario, Traffic
from chaosbandit.core.slo import ErrorBudget
from chaosbandit.core.topology import topology
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from tests.operator_path import DOSE_S, ORIGINAL, OperatorPath, operator_path
from tests.servers import Kind, running_server

LIMIT_S = 0.1  # what 99 of 100 kills must stay under
_LATEST_KILL_S = 0.5
_LEAVE_S = 20.0
_RUN = "victim01"


@dataclass(frozen=True, slots=True)
class Kill:
    """What one kill led to."""

    normal_s: float  # from the kill to the first normal echo
    leftovers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What all kills led to."""

    server: str
    kills: int
    p50_s: float
    p90_s: float
    p99_s: float
    worst_s: float
    over_limit: int
    leftovers: int


def kills(kind: Kind, times: int, seed: int) -> list[Kill]:
    """Kill `times` engines in mid-fault on one server, one after the other."""
    rng = random.Random(seed)
    with running_server(kind) as url, operator_path(url) as path:
        return [_kill(path, rng.uniform(0.0, _LATEST_KILL_S)) for _ in range(times)]


def summary(server: str, found: Sequence[Kill]) -> Summary:
    """The order statistics; a p99 is reached or exceeded by at most one in a hundred."""
    times_s = sorted(kill.normal_s for kill in found)

    def quantile(share: float) -> float:
        return times_s[math.ceil(share * len(times_s)) - 1]

    return Summary(
        server=server,
        kills=len(found),
        p50_s=quantile(0.5),
        p90_s=quantile(0.9),
        p99_s=quantile(0.99),
        worst_s=times_s[-1],
        over_limit=sum(time_s > LIMIT_S for time_s in times_s),
        leftovers=sum(bool(kill.leftovers) for kill in found),
    )


def _kill(path: OperatorPath, after_s: float) -> Kill:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--victim", folder, path.url, path.listen, path.upstream]
        process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline().split()
            if said[:1] != ["standing"]:
                raise RuntimeError(f"the engine to be killed said {said} instead of `standing`")
            time.sleep(after_s)
            process.kill()
            normal_s = path.wait_until_normal()
        finally:
            process.kill()
            process.communicate()
        return Kill(normal_s, tuple(_leftovers(path, Path(folder), int(said[1]))))


def _leftovers(path: OperatorPath, ledger: Path, watchdog_pid: int) -> list[str]:
    give_up_s = time.monotonic() + _LEAVE_S
    while _runs(watchdog_pid) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    found = [f"watchdog {watchdog_pid} still runs"] if _runs(watchdog_pid) else []
    found += [f"proxy {name}" for name in path.names() if name != ORIGINAL]
    found += [f"entry {entry.fault.name}" for entry in FaultLedger(ledger).entries().entries]
    if not path.is_normal():
        found.append(f"proxy {ORIGINAL} is {path.show()}")
    return found


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def _stand(ledger: Path, path: OperatorPath) -> None:
    """Be the engine: have the fault in place, say so, and wait for the end."""
    scenario = Scenario(
        name="killed",
        toxiproxy=path.url,
        topology=topology("canary"),
        proxies=(Proxy(ORIGINAL, path.upstream, path.listen),),
        traffic=Traffic("http://127.0.0.1/", "http://127.0.0.1/", 1.0, 1.0),
        slos=(),
        budget=ErrorBudget(86400.0, 1000, 0.1),
        ladders=(Ladder("slow", ORIGINAL, "latency", DOSE_S, 2 * DOSE_S, 1.0),),
    )
    async with RunGuard(_RUN, FaultLedger(ledger)) as guard:
        injector = ToxiproxyInjector(scenario, _RUN, path.url, guard)
        await injector.preflight()
        fault = injector.plan(scenario.ladder.variant(0))
        async with injector.paths(), injector.inject(fault):
            print("standing", guard.watchdog_pid(), flush=True)
            await asyncio.sleep(120)


def main() -> int:
    """Print one line a server; 1 when a p99 is over the limit or something was left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--server", choices=("embedded", "real", "both"), default="embedded")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--json", type=Path, help="also write the figures and every kill here")
    parser.add_argument("--victim", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.victim:
        asyncio.run(_stand(Path(asked.victim[0]), OperatorPath(*asked.victim[1:])))
        return 0
    kinds: tuple[Kind, ...] = ("embedded", "real") if asked.server == "both" else (asked.server,)
    tables, ok = [], True
    for kind in kinds:
        found = kills(kind, asked.kills, asked.seed)
        row = summary(kind, found)
        print(
            f"{kind:9s} {row.kills} kills: path normal after p50 {row.p50_s * 1000:.1f} ms, "
            f"p90 {row.p90_s * 1000:.1f} ms, p99 {row.p99_s * 1000:.1f} ms, "
            f"worst {row.worst_s * 1000:.1f} ms; {row.over_limit} over {LIMIT_S * 1000:.0f} ms, "
            f"{row.leftovers} left something (load {os.getloadavg()[0]:.1f})",
            flush=True,
        )
        for kill in found:
            if kill.leftovers:
                print(f"  left: {', '.join(kill.leftovers)}")
        tables.append({**asdict(row), "each": [asdict(kill) for kill in found]})
        ok = ok and row.p99_s <= LIMIT_S and row.leftovers == 0
    if asked.json:
        asked.json.write_text(json.dumps(tables, indent=2))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
