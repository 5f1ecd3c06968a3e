"""An injector between a recording safety and a server, and connections that feel what it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Variant
from chaosbandit.core.scenario import Proxy, Scenario, Traffic
from chaosbandit.core.slo import ErrorBudget
from chaosbandit.core.topology import TOPOLOGIES
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.toxiproxy.injector import ToxiproxyInjector
from tests.fake_api import Answer, fake_api, raw
from tests.servers import Kind, real_server_path
from tests.toxiproxy.doors import PROXY, Door, door
from tests.toxiproxy.recorded_safety import RecordedSafety
from tests.waiting import wait_for

RUN = "run00001"
DOSE_S = 0.3


def latency(dose_s: float = DOSE_S, jitter_s: float = 0.0, **more: Any) -> Toxic:
    attributes = {"latency": round(dose_s * 1000), "jitter": round(jitter_s * 1000)}
    return Toxic("latency", attributes, **more)


def variant(*toxics: Toxic, ladder: str = "slow", proxy: str = PROXY) -> Variant:
    return Variant(ladder, proxy, 0, DOSE_S, toxics or (latency(),))


def scenario_of(topology: str, *proxies: Proxy) -> Scenario:
    return Scenario(
        name="test",
        toxiproxy="",
        topology=TOPOLOGIES[topology],
        proxies=proxies,
        traffic=Traffic("http://127.0.0.1/", "http://127.0.0.1/", 10.0, 1.0),
        slos=(),
        budget=ErrorBudget(86400.0, 1000, 0.1),
        ladders=tuple(
            Ladder(f"slow-{p.name}", p.name, "latency", 0.001, 1.0, 0.1) for p in proxies
        ),
    )


def edge_of(upstream: str) -> Scenario:
    return scenario_of("edge", Proxy(PROXY, upstream))


@dataclass(slots=True)
class Canary:
    """The operator's proxy, and an injector whose scenario names it."""

    door: Door
    scenario: Scenario
    safety: RecordedSafety
    injector: ToxiproxyInjector

    def plan(self, *toxics: Toxic) -> Fault:
        return self.injector.plan(variant(*toxics))

    def inject(self, *toxics: Toxic) -> contextlib.AbstractAsyncContextManager[Any]:
        return self.injector.inject(self.plan(*toxics))

    async def expose(self, *toxics: Toxic) -> Fault:
        """One exposure, its dose felt by a new connection."""
        fault = self.plan(*toxics)
        dose_s = sum(toxic.attributes.get("latency", 0) / 1000 for toxic in fault.toxics)
        async with self.injector.inject(fault) as injected:
            assert await trip_s(self.door.listen) >= dose_s
            assert await injected.read_back() == []
        return fault

    def toxics(self) -> dict[str, Any]:
        """Name -> attributes of what is on the operator's proxy."""
        return {toxic["name"]: toxic["attributes"] for toxic in self.door.show()["toxics"]}

    def assert_clean(self) -> None:
        assert self.door.is_normal(), self.door.show()
        assert self.safety.armed == {}
        assert self.safety.faults_found == []


@asynccontextmanager
async def canary(
    url: str, *, api: str | None = None, clean: bool = True, **options: Any
) -> AsyncIterator[Canary]:
    """Have one that has passed its preflight; it goes to the server at `url` by way of `api`.

    At the end everything is as if it had never been there, unless it may not be `clean`.
    """
    with door(url) as found:
        scenario = scenario_of("canary", Proxy(PROXY, found.echo.address, found.listen))
        safety = options.pop("safety", None) or RecordedSafety()
        injector = ToxiproxyInjector(scenario, RUN, api or url, safety, **options)
        await injector.preflight()
        ready = Canary(found, scenario, safety, injector)
        yield ready
        if clean:
            ready.assert_clean()


# --- connections ----------------------------------------------------------------------------------


class Line:
    """One connection through a proxy."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.trips, self.wrong = 0, 0
        self._tripped = asyncio.Event()

    async def __aenter__(self) -> Line:
        self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)

    async def trip_s(self, data: bytes = b"hello") -> float | None:
        """Seconds until the data is back; None where the connection was dropped."""
        started_s = time.monotonic()
        try:
            self._writer.write(data)
            async with asyncio.timeout(10):
                back = await self._reader.readexactly(len(data))
        except (OSError, asyncio.IncompleteReadError):
            return None
        self.trips += 1
        self.wrong += back != data
        self._tripped.set()
        return time.monotonic() - started_s

    async def next_trip(self) -> None:
        """Wait for the end of a round trip."""
        self._tripped.clear()
        await self._tripped.wait()

    async def go_on(self, stop: asyncio.Event, pause_s: float) -> None:
        """Make round trips until told to stop."""
        while not stop.is_set():
            assert await self.trip_s(os.urandom(3000)) is not None, "the connection was dropped"
            await asyncio.sleep(pause_s)


async def trip_s(address: str) -> float:
    """A round trip on a new connection."""
    async with Line(address) as line:
        took_s = await line.trip_s()
    assert took_s is not None
    return took_s


async def is_dropped(address: str) -> bool:
    """Whether a new connection gets no answer."""
    async with Line(address) as line:
        return await line.trip_s() is None


# --- ways to a server -----------------------------------------------------------------------------

PASS = b"pass it on"


def passing_on(url: str) -> Answer:
    """Pass every call on to the server at `url`."""

    async def answer(method: str, path: str, body: bytes) -> bytes | None:
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as http:
            reply = await http.request(method, url + path, content=body)
        return raw(f"{reply.status_code} Passed On", reply.text)

    return answer


@dataclass(slots=True)
class Way:
    """A way to a server on which calls can be answered by the test instead."""

    url: str
    instead: Answer | None = None  # is asked first; PASS: let it through
    shown_to: RecordedSafety | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)

    async def answer(self, method: str, path: str, body: bytes) -> bytes | None:
        self.seen.append((method, path))
        if self.shown_to is not None:
            self.shown_to.see(method, path, body.decode())
        said = PASS if self.instead is None else await self.instead(method, path, body)
        if said is PASS:
            said = await passing_on(self.url)(method, path, body)
        if self.shown_to is not None and method != "GET":
            self.shown_to.see(method, path, body.decode())
            self.shown_to.log.pop()
        return said


@asynccontextmanager
async def way(url: str) -> AsyncIterator[tuple[Way, str]]:
    """Have a way to the server at `url`, and its own URL."""
    found = Way(url)
    async with fake_api(found.answer) as own:
        yield found, own


def silent_where(method: str, part: str, times: int = 10**9) -> Answer:
    """No answer to calls of this method whose path and body contain `part`."""
    left = times

    async def answer(given: str, path: str, body: bytes) -> bytes | None:
        nonlocal left
        if given == method and part in f"{path} {body.decode()}" and left:
            left -= 1
            return None
        return PASS

    return answer


# --- servers of a test's own ----------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def server_at(kind: Kind, port: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server on this port, killed at the end."""
    command = (
        [sys.executable, "-m", "chaosbandit.toxiproxy.server", "--port", str(port)]
        if kind == "embedded"
        else [str(real_server_path()), "-host", "127.0.0.1", "-port", str(port), *arguments]
    )
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _is_open(port) or process.poll() is not None)
            assert process.poll() is None
            yield process
        finally:
            process.kill()
            process.wait()


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
