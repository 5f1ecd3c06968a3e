"""What stands around a campaign that is struck: server, services, and how all of it looked before.

Two topologies on one server of either kind. The campaigns are as small as ones with several
exposures can be, since each is run again for every point in it.

A run killed while a call about a fault was on the wire leaves that fault's ledger file and its
watchdog for a minute, with path and server as before: that is *watched*, not left. Whoever strikes
ends with `wait_for_watchdogs`, after which nothing may be there any more.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from chaosbandit.cli.demo_services import demo_folder, standing
from chaosbandit.errors import ChaosbanditError
from chaosbandit.store.journal import read
from tests.e2e.runs import journals, ledger_files, processes_with, proxies, service
from tests.servers import Kind, running_server

Topology = Literal["edge", "canary"]
WITHIN_S = 5.0  # the time allowed until nothing is left
WATCHED_S = 65.0  # and until no watchdog looks for late calls any more
NORMAL_S = 0.08  # the mildest dose is 100 ms
PAUSE_S = 0.02

_CANARY = """\
version: 1
name: struck
toxiproxy: ${CB_DEMO_TOXIPROXY}
topology: canary
proxies:
  inventory:
    upstream: ${CB_DEMO_INVENTORY}
    listen: ${CB_DEMO_LISTEN}
    check: http://${CB_DEMO_LISTEN}/stock/1
traffic:
  url: http://${CB_DEMO_CANARY}/product/{n}
  control_url: http://${CB_DEMO_CONTROL}/product/{n}
"""
_EDGE = """\
version: 1
name: struck
toxiproxy: ${CB_DEMO_TOXIPROXY}
topology: edge
proxies:
  inventory: {upstream: "${CB_DEMO_INVENTORY}"}
traffic:
  url: http://${CB_DEMO_INVENTORY}/stock/{n}
"""
_SMALL = """\
  rate: 120/s
  timeout: 500ms
slos:
  - {name: latency, good: latency <= 170ms, objective: 60%}
budget: {window: 30d, requests: 2_000_000, spend: 5%}
ladders:
  - {name: slow, proxy: inventory, toxic: latency, from: 100ms, to: 200ms}
search: {confidence: 80%, resolution: 100%, block: 1, max_samples: 40, hold: 0s}
guardrails: {max_exposure: 6s}
timing: {steady_samples: 20, warmup: 20ms, warmup_samples: 2, washout: 4s}
"""
_LONG = """\
  rate: 80/s
  timeout: 1s
slos:
  - {name: latency, good: latency <= 300ms, objective: 90%}
budget: {window: 30d, requests: 2_000_000, spend: 5%}
ladders:
  - {name: slow, proxy: inventory, toxic: latency, from: 100ms, to: 800ms}
search: {confidence: 80%, resolution: 100%, hold: 0s}
guardrails: {max_exposure: 10s}
timing: {steady_samples: 30, warmup: 500ms, warmup_samples: 5, washout: 6s}
"""


@dataclass(frozen=True, slots=True)
class World:
    """Server and services while they stand."""

    kind: Kind
    topology: Topology
    server: str
    url: str  # what a user of the service asks for
    scenario: str
    environment: Mapping[str, str]
    before: Mapping[str, Any] = field(default_factory=dict)  # the server's proxies
    served: bool = True  # others have not closed the path

    @property
    def name(self) -> str:
        """Which of the combinations it is."""
        return f"{self.kind} {self.topology}"

    def left(self, state: Path) -> list[str]:
        """What is not yet as if there had been no run that used this state folder."""
        return self._remains(state)[0]

    def watched(self, state: Path) -> list[str]:
        """Of what is still there: ledger files, and the watchdogs that look after them."""
        return self._remains(state)[1]

    def _remains(self, state: Path) -> tuple[list[str], list[str]]:
        faults, rest = ledger_files(state), unreadable(state)
        processes = processes_with(str(state))
        watchdogs = [line for line in processes if "safety/watchdog.py" in line]
        rest += [f"process {line}" for line in processes if line not in watchdogs]
        looking = [f"ledger file {name}" for name in faults]
        looking += [f"watchdog {line}" for line in watchdogs]
        if watchdogs:  # the file may not have been written yet when the run was killed
            return self.sick() + rest, looking
        return self.sick() + rest + looking, []

    def sick(self) -> list[str]:
        """What is wrong with the proxies and with a user's request."""
        problem = request_problem(self.url) if self.served else ""
        try:
            shown = proxies(self.server)
        except OSError as error:
            return [f"the API does not answer: {error}"]
        if shown != self.before:
            return [f"proxies are {json.dumps(shown)}, were {json.dumps(dict(self.before))}"]
        return [problem] if problem else []

    def wait_until_normal(self, state: Path, within_s: float = WITHIN_S) -> tuple[float, list[str]]:
        """How long it took until nothing was left, and what still is."""
        began_s = time.monotonic()
        while True:
            left = self.left(state)
            took_s = time.monotonic() - began_s
            if not left or took_s > within_s:
                return took_s, left
            time.sleep(PAUSE_S)


def request_problem(url: str) -> str:
    """What a user finds wrong with one request; empty when it is fast and fine."""
    place = urlsplit(url)
    began_s = time.monotonic()
    with closing(
        http.client.HTTPConnection(str(place.hostname), place.port, timeout=2.0)
    ) as connection:
        try:
            connection.request("GET", place.path)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"a request ended in {error!r}"
    took_s = time.monotonic() - began_s
    good = status == 200 and took_s < NORMAL_S
    return "" if good else f"a request was answered {status} after {took_s * 1000:.0f} ms"


def unreadable(state: Path) -> list[str]:
    """Journals that cannot be read."""
    found = []
    for path in journals(state):
        try:
            read(path, lambda _: None)
        except ChaosbanditError as error:
            found.append(f"journal: {error}")
    return found


def wait_for_watchdogs(states: Iterable[Path], within_s: float = WATCHED_S) -> list[str]:
    """What no watchdog has seen to the end in time: ledger files and processes."""
    give_up_s = time.monotonic() + within_s
    waiting = [*states]
    while waiting := [state for state in waiting if ledger_files(state) or _processes(state)]:
        if time.monotonic() > give_up_s:
            return [f"{state}: {ledger_files(state)}, {_processes(state)}" for state in waiting]
        time.sleep(10 * PAUSE_S)
    return []


def _processes(state: Path) -> list[str]:
    return processes_with(str(state))


def residue(state: Path) -> list[str]:
    """Files that stand for no fault but are there: locks and drafts of killed runs."""
    ledger = state / "chaosbandit" / "faults"
    logs = [f"watchdog.log: {log.read_text()}" for log in ledger.glob("watchdog.log")]
    others = (path.name for path in ledger.glob("*") if not path.match("cb*.json"))
    return sorted({*others} - {"watchdog.log"}) + logs


@contextmanager
def world(
    kind: Kind, topology: Topology, *, server: str | None = None, long: bool = False
) -> Iterator[World]:
    """Have everything in place, on a fresh server unless one is given.

    A `long` campaign has several exposures of about a second.
    """
    with ExitStack() as stack:
        server = server or stack.enter_context(running_server(kind))
        if topology == "canary":
            environment = stack.enter_context(standing(server, seed=1)).environment
            url, scenario = f"http://{environment['CB_DEMO_CANARY']}/product/1", _CANARY
        else:
            shop = stack.enter_context(service(demo_folder() / "inventory.py"))
            stack.enter_context(_bystander(server, urlsplit(shop).netloc))
            environment = {"CB_DEMO_TOXIPROXY": server, "CB_DEMO_INVENTORY": urlsplit(shop).netloc}
            url, scenario = f"{shop}/stock/1", _EDGE
        scenario += _LONG if long else _SMALL
        yield World(kind, topology, server, url, scenario, environment, proxies(server))


@contextmanager
def _bystander(server: str, shop: str) -> Iterator[None]:
    """An operator's proxy that is none of the run's business."""
    body = {"name": "theirs", "listen": "127.0.0.1:0", "upstream": shop}
    assert call(server, "POST", "/proxies", body) == 201
    try:
        yield
    finally:
        with suppress(OSError):
            call(server, "DELETE", "/proxies/theirs")


def call(server: str, method: str, path: str, body: object = None, within_s: float = 5.0) -> int:
    """The status of one API call."""
    place = urlsplit(server)
    with closing(
        http.client.HTTPConnection(str(place.hostname), place.port, timeout=within_s)
    ) as api:
        api.request(method, path, None if body is None else json.dumps(body))
        return api.getresponse().status
