"""Does the instrument disturb? Mild latency on the path of a pool that tests no connection.

Two applications keep ten connections each to a real database, one of them through a real Toxiproxy.
Latencies from 1 to 20 ms, which hurt nobody, go on and off that path: once set by plain API calls,
as with curl, once by `chaosbandit run`. Users come at 30 a second all the while. Every failed
request and every connection cut is the instrument's doing. Exit code 1 when a request failed.

    python benchmarks/gentle.py --exposures 40
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import aiohttp

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))
from benchmarks.layout import Column, Row, Table
from benchmarks.pooled_app import DATABASES, POOL, running_app
from tests.operator_path import free_port
from tests.real_parts import PARTS
from tests.servers import running_server

RATE_PER_S = 30.0
MILDEST_MS, HARSHEST_MS = 1, 20
BODY = 20_000
PROXY = "database"
PHASES = {  # as journals call them, and as they are called here
    "steady": "steady",
    "warmup": "warm-up",
    "measure": "measured",
    "removal": "removal",
    "washout": "wash-out",
    "after": "after",
}
POLICIES = ("thompson", "ramp")  # they take turns; both change the latency often
_PHASE_S = 1.0  # how long each phase of a native exposure lasts
_TIMEOUT_S = 5.0
_REPLACED_S = 1.0  # a pool has replaced the connections it met dead
_RUN_S = 900.0

# Half of the requests may fail: nothing is called broken, whatever the instrument does to them.
_SCENARIO = """\
version: 1
name: gentle
toxiproxy: {api}
topology: canary
proxies:
  {proxy}: {{upstream: {upstream}, listen: {listen}}}
traffic:
  url: {canary}/item/{{n}}
  control_url: {control}/item/{{n}}
  rate: {rate_per_s:g}/s
  timeout: {timeout_s:g}s
slos:
  - {{name: availability, good: status in 2xx, objective: 50%}}
budget: {{window: 30d, requests: 1_000_000_000, spend: 100%}}
ladders:
  - {{name: slow-database, proxy: {proxy}, toxic: latency, from: {mild}ms, to: {harsh}ms}}
search: {{policy: {policy}}}
guardrails: {{abort_if_bad_in_a_row: 1000}}
timing: {{steady_samples: 30}}
"""


@dataclass(slots=True)
class Tally:
    """What users of the canary saw, by phase."""

    exposures: int = 0
    cut: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    took_s: dict[str, list[float]] = field(default_factory=dict)  # the good ones
    endings: Counter[str] = field(default_factory=Counter)

    def add(self, phase: str, good: bool, took_s: float) -> None:
        """Count one request."""
        self.sent[phase] += 1
        self.failed[phase] += not good
        if good:
            self.took_s.setdefault(phase, []).append(took_s)

    @property
    def felt_s(self) -> float:
        """How much slower requests were under a toxic: proof that there was one."""
        return median(self.took_s["measure"]) - median(self.took_s["steady"])


@dataclass(frozen=True, slots=True)
class Place:
    """Two applications over one database, the canary's path through the operator's proxy."""

    api: str  # of Toxiproxy
    upstream: str
    listen: str
    control: str
    canary: str


@contextlib.contextmanager
def standing(database: str) -> Iterator[Place]:
    """Have everything on fresh servers."""
    options = ("--pool", str(POOL), "--body", str(BODY))
    with running_server("real") as api, PARTS[database].start() as part:
        place = Place(api, part.address, f"127.0.0.1:{free_port()}", "", "")
        proxy = {"name": PROXY, "listen": place.listen, "upstream": place.upstream}
        status, said = _call(f"{api}/proxies", "POST", proxy)
        assert status == 201, said
        with (
            running_app(database, place.upstream, *options) as control,
            running_app(database, place.listen, *options) as canary,
        ):
            yield Place(api, place.upstream, place.listen, control, canary)


# --- toxics by hand -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Request:
    phase: str
    good: bool | None = None  # not answered yet
    took_s: float = 0.0


class _Users:
    """They come in open loop; a request still unanswered when a removal begins belongs to it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._phase = "steady"
        self.requests: list[_Request] = []

    def begin(self, phase: str) -> None:
        """From now on requests are sent in this phase."""
        self._phase = phase
        if phase == "removal":
            for request in self.requests:
                if request.good is None:
                    request.phase = phase

    async def come(self, group: asyncio.TaskGroup) -> None:
        """Send until cancelled; answers are awaited by the group."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while True:
            await asyncio.sleep(began_s + len(self.requests) / RATE_PER_S - loop.time())
            request = _Request(self._phase)
            self.requests.append(request)
            group.create_task(self._send(request, len(self.requests)))

    async def _send(self, request: _Request, n: int) -> None:
        began_s = time.monotonic()
        try:
            async with self._session.get(f"{self._url}/item/{n}") as answer:
                await answer.read()
                request.took_s = time.monotonic() - began_s
                request.good = answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            request.good = False


def by_hand(place: Place, tally: Tally, exposures: int) -> None:
    """Add a latency toxic and delete it, again and again."""
    requests = asyncio.run(_by_hand(place, exposures))
    for request in requests:
        tally.add(request.phase, request.good is True, request.took_s)
    tally.exposures += exposures


async def _by_hand(place: Place, exposures: int) -> list[_Request]:
    toxics = f"{place.api}/proxies/{PROXY}/toxics"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),  # nothing kept that could be dead
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
    ) as session:
        users = _Users(session, place.canary)
        async with asyncio.TaskGroup() as group:
            coming = group.create_task(users.come(group))
            await asyncio.sleep(_PHASE_S)
            for n in range(exposures):
                users.begin("warmup")
                body = {"name": "slow", "type": "latency", "attributes": {"latency": _latency(n)}}
                async with session.post(toxics, json=body, raise_for_status=True):
                    await asyncio.sleep(_PHASE_S)
                users.begin("measure")
                await asyncio.sleep(_PHASE_S)
                users.begin("removal")
                async with session.delete(f"{toxics}/slow", raise_for_status=True):
                    users.begin("washout")
                await asyncio.sleep(_PHASE_S)
            coming.cancel()
    return users.requests


def _latency(n: int) -> int:
    """Every whole number of milliseconds in turn, up and down the range."""
    return MILDEST_MS + 7 * n % (HARSHEST_MS - MILDEST_MS + 1)


# --- toxics by runs -------------------------------------------------------------------------------


def by_runs(place: Place, tally: Tally, exposures: int) -> None:
    """Repeat `chaosbandit run` until there were that many exposures, or a few more."""
    wanted = tally.exposures + exposures
    for seed, policy in enumerate(cycle(POLICIES), start=1):
        with tempfile.TemporaryDirectory() as folder:
            _run(place, tally, policy, seed, Path(folder))
        if tally.exposures >= wanted:
            return


def _run(place: Place, tally: Tally, policy: str, seed: int, folder: Path) -> None:
    scenario = folder / "gentle.yaml"
    scenario.write_text(
        _SCENARIO.format(
            api=place.api,
            proxy=PROXY,
            upstream=place.upstream,
            listen=place.listen,
            canary=place.canary,
            control=place.control,
            rate_per_s=RATE_PER_S,
            timeout_s=_TIMEOUT_S,
            mild=MILDEST_MS,
            harsh=HARSHEST_MS,
            policy=policy,
        )
    )
    run = [sys.executable, "-m", "chaosbandit", "run", str(scenario), "--seed", str(seed)]
    done = subprocess.run(
        run,
        cwd=_ROOT,  # this checkout's, whatever is installed
        env={**os.environ, "XDG_STATE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        check=False,
    )
    before = tally.exposures
    for journal in (folder / "chaosbandit" / "runs").glob("*.jsonl"):
        for line in journal.read_text().splitlines():
            _count(json.loads(line), tally)
    tally.endings[f"exit {done.returncode}"] += 1
    if tally.exposures == before:
        raise RuntimeError(f"a run exposed nothing and ended with {done.returncode}: {done.stderr}")


def _count(event: dict[str, Any], tally: Tally) -> None:
    """One line of a journal."""
    match event["type"]:
        case "ExposureStarted":
            tally.exposures += 1
        case "Observed":
            for sample in event["samples"]:
                if sample["route"] == "canary":
                    good = sample["outcome"] == "response" and sample["status"] == 200
                    tally.add(event["phase"], good, sample["latency_s"])


# --- both -----------------------------------------------------------------------------------------

Exposing = Callable[[Place, Tally, int], None]
WAYS: dict[str, Exposing] = {
    "native toxics set by curl": by_hand,
    "chaosbandit run": by_runs,
}


def measured(database: str, expose: Exposing, times: int, exposures: int) -> Tally:
    """Expose on fresh servers each time; then whether the pool still holds dead connections."""
    tally = Tally()
    for _ in range(times):
        with standing(database) as place:
            expose(place, tally, exposures)
            for n in range(2 * POOL):
                tally.add("after", _call(f"{place.canary}/item/{n}")[0] == 200, 0.0)
            time.sleep(_REPLACED_S)
            opened = json.loads(_call(f"{place.canary}/connections")[1])["opened"]
            tally.cut += opened - POOL
    if tally.felt_s * 1000 < MILDEST_MS:
        raise RuntimeError(f"no toxic was felt, so the figures say nothing: {tally.felt_s:g} s")
    return tally


def _call(url: str, method: str = "GET", body: object = None) -> tuple[int, bytes]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request(method, place.path, json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read()


def table(rows: list[Row]) -> Table:
    """The rows as text and JSON."""
    count = partial(Column, form=",d")
    return Table(
        "gentle",
        f"{MILDEST_MS} to {HARSHEST_MS} ms at {RATE_PER_S:g}/s on a pool of {POOL}: what users "
        "and connections took from it",
        (
            Column("database", "database"),
            Column("way", "set by"),
            count("exposures", "exposures"),
            Column("felt_ms", "felt ms", ".1f"),
            count("requests", "requests"),
            count("failed", "failed"),
            *(count(f"failed_{phase}", head) for phase, head in PHASES.items()),
            count("cut", "cut"),
        ),
        rows,
        notes=(
            "felt: how much slower measured requests were than those before, in the median",
            "failed: all, then by the phase they were sent in; removal: also what it met in flight",
            f"after: {2 * POOL} requests when all is over, which meet what the pool holds dead",
            "cut: connections of the canary's pool that had to be replaced",
        ),
    )


def _row(database: str, way: str, tally: Tally) -> Row:
    return {
        "database": database,
        "way": way,
        "exposures": tally.exposures,
        "felt_ms": tally.felt_s * 1000,
        "requests": tally.sent.total(),
        "failed": tally.failed.total(),
        **{f"failed_{phase}": tally.failed[phase] for phase in PHASES},
        "cut": tally.cut,
    }


def main() -> int:
    """Print a row for each database and way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exposures", type=int, default=10, help="of each row; 40 to be sure")
    parser.add_argument("--times", type=int, default=1, help="all that on fresh servers")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=[*DATABASES])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and services end, too
    rows: list[Row] = []
    for database in asked.databases:
        for way, expose in WAYS.items():
            tally = measured(database, expose, asked.times, asked.exposures)
            rows.append(_row(database, way, tally))
            said = ", ".join(f"{n} runs with {ending}" for ending, n in tally.endings.items())
            figures = f"{tally.failed.total()} of {tally.sent.total()} failed, {tally.cut} cut"
            print(f"{database}, {way}: {figures} {said}", file=sys.stderr, flush=True)
    found = table(rows)
    print(found.text())
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(found.json(), indent=2))
    return 1 if any(row["failed"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
