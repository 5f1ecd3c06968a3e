"""Target, injector, prober and clock of a simulated run; time moves only when the prober says so.

The response curve is any callable from severity to bad ratio, or a whole `target` is given. Bad
requests are slow and good ones fast, so completions overtake each other just as they do in real
life; the prober has a time-out and a pool, may be late, and somebody may interrupt the run.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from chaosbandit._version import __version__
from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import RunStarted
from chaosbandit.core.model import Health, Outcome, Route, Sample, Variant
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Scenario
from chaosbandit.engine import Engine
from chaosbandit.errors import Trouble
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import Kind, written
from chaosbandit.ports import Aftermath, Feed, Injected, Signal, Sink
from chaosbandit.sim.targets import Asked, Target
from chaosbandit.sim.targets import Response as Response


@dataclass(slots=True)
class World:
    """The state all simulated ports share; it implements every one of them."""

    response: Response
    rng: np.random.Generator
    good_latency_s: float = 0.020
    bad_latency_s: float = 0.400
    severity: float = 0.0
    time_s: float = 0.0
    control_bad_ratio: Callable[[float], float] = lambda now_s: 0.0
    delivered: Callable[[float], float] = lambda severity: severity
    refused: Callable[[float], bool] = lambda severity: False  # whether checks find it closed
    felt: Callable[[float], float] = lambda severity: severity
    status: Callable[[float], int] = lambda severity: 503  # of a bad response
    calls: list[str] = field(default_factory=list)
    looked_at: str = ""
    target: Target | None = None  # answers canary requests instead of all of the above
    timeout_s: float = math.inf  # of one request, from its intended start
    max_in_flight: int | None = None  # requests per route that the prober's pool can carry
    lag_s: Callable[[int], float] = lambda in_flight: 0.0  # how late the prober sends, by its load
    disturbed: Callable[[float], Sequence[str]] = lambda severity: ()  # what a read-back finds
    others: Trouble | None = None  # what somebody else did to the proxy
    cuts: int = 0  # times that a removal was an emergency
    witness: Callable[[Sample], bool] | None = None  # hears all that completes; True: Ctrl-C
    _seq: int = 0
    _in_flight: Counter[Route] = field(default_factory=Counter)
    _overloads: int = 0

    # Clock

    def now_s(self) -> float:
        """Seconds since the start of the simulation."""
        return self.time_s

    def epoch_s(self) -> float:
        """The simulation starts at a fixed date."""
        return 1_700_000_000.0 + self.time_s

    async def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        self.time_s += duration_s

    # Injector

    async def preflight(self) -> str:
        """Always in order."""
        return "simulated"

    @asynccontextmanager
    async def _paths(self) -> AsyncIterator[Mapping[Route, str]]:
        try:
            yield {}
        finally:
            await self.take_off()

    def paths(self) -> AbstractAsyncContextManager[Mapping[Route, str]]:
        """As in `canary`: none of our own."""
        return self._paths()

    def plan(self, variant: Variant) -> Fault:
        """The fault that stands, if any, with other toxics."""
        self._planned = variant.severity
        if self._standing is None:
            self._faults += 1
            expires = int(self.epoch_s() + 120.0)
            name = written(Kind.TOXIC, "simulated", expires, n=self._faults)
            return Fault("simulated", "", name, variant.proxy, "", "", expires, variant.toxics)
        return replace(self._standing, toxics=variant.toxics)

    _planned: float = 0.0
    _faults: int = 0
    _standing: Fault | None = None
    _injected_s: float = 0.0

    @asynccontextmanager
    async def _inject(self, fault: Fault) -> AsyncIterator[Injected]:
        self.calls.append(f"{'inject' if self._standing is None else 'update'} {fault.name}")
        self._standing, self.severity = fault, self._planned
        self._injected_s = self.time_s
        try:
            yield Injected(self._read_back)
        finally:
            self.severity = 0.0
            self.calls.append(f"soften {fault.name}")

    async def _read_back(self) -> Sequence[str]:
        return self.disturbed(self.severity)

    def inject(self, fault: Fault) -> AbstractAsyncContextManager[Injected]:
        """The canary is sick while this is entered."""
        return self._inject(fault)

    async def take_off(self) -> None:
        """Notes the order of calls."""
        if self._standing is not None:
            self.calls.append(f"remove {self._standing.name}")
            self._standing = None

    async def short(self) -> str | None:
        """A simulated server lacks nothing."""
        return None

    def aftermath(self) -> Aftermath:
        """What a test arranged."""
        return Aftermath(cuts=self.cuts, others=self.others)

    # Prober

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample]:
        """Slots 1/rate apart; samples come back in order of completion."""
        flying: list[tuple[float, int, Sample]] = []
        start_s, slot, ended = self.time_s, 0, False
        self._in_flight, self._overloads = Counter(), 0
        while not ended:
            due_s = start_s + slot / rate_per_s
            while flying and flying[0][0] <= due_s:
                yield await self._landed(flying)
            self.time_s = max(self.time_s, due_s)
            self._seq, slot = self._seq + 1, slot + 1
            answer = feed(self._seq)
            if isinstance(answer, Route):
                sample = self._sent(self._seq, answer)
                heapq.heappush(flying, (due_s + sample.latency_s, self._seq, sample))
            ended = answer is Signal.END
        while flying:
            yield await self._landed(flying)

    def look_at(self, proxy: str) -> None:
        """Every dependency is as well as the others."""
        self.looked_at = proxy

    def health(self) -> Health:
        """Of the last stream: what its pool could not carry."""
        return Health(overloads=self._overloads)

    async def _landed(self, flying: list[tuple[float, int, Sample]]) -> Sample:
        """The next sample to complete; somebody who looks may press Ctrl-C at that moment."""
        self.time_s, _, sample = heapq.heappop(flying)
        self._in_flight[sample.route] -= 1
        if self.witness is not None and self.witness(sample):
            self.witness = None  # once is enough
            task = asyncio.current_task()
            assert task is not None, "a stream runs in a task"
            task.cancel()
            await asyncio.sleep(0)
        return sample

    def _sent(self, seq: int, route: Route) -> Sample:
        """One request, unless the pool is full; times out and starts late as real ones do."""
        waiting, due_s = self._in_flight[route], self.time_s
        self._in_flight[route] += 1
        if self.max_in_flight is not None and waiting >= self.max_in_flight:
            self._overloads += 1
            return Sample(seq, route, due_s, due_s, 0.0, Outcome.OVERLOAD)
        sample, lag_s = self._sample(seq, route), self.lag_s(waiting)
        if lag_s or sample.latency_s >= self.timeout_s:
            late = replace(sample, started_s=due_s + lag_s, latency_s=sample.latency_s + lag_s)
            return late if late.latency_s < self.timeout_s else self._timed_out(late)
        return sample

    def _timed_out(self, sample: Sample) -> Sample:
        return replace(sample, latency_s=self.timeout_s, outcome=Outcome.TIMEOUT, status=None)

    def _sample(self, seq: int, route: Route) -> Sample:
        now_s, severity = self.time_s, self.severity
        if route is Route.CANARY and self.target is not None:
            asked = Asked(severity, now_s, self._in_flight[route] - 1, now_s - self._injected_s)
            answer = self.target(asked, self.rng)
            outcome = Outcome.RESPONSE
            return Sample(seq, route, now_s, now_s, answer.latency_s, outcome, answer.status)
        if route is Route.CHECK:
            if self.refused(severity):
                return Sample(seq, route, now_s, now_s, 0.001, Outcome.CONNECT_ERROR)
            latency_s, bad = 0.005 + self.delivered(severity), False
        elif route is Route.CONTROL:
            latency_s, bad = self.good_latency_s, self._draw(self.control_bad_ratio(now_s))
        else:
            latency_s = self.good_latency_s + self.felt(severity)
            bad = self._draw(self.response(severity))
        status = self.status(severity) if bad else 200
        if bad:
            latency_s = self.bad_latency_s
        return Sample(seq, route, now_s, now_s, latency_s, Outcome.RESPONSE, status)

    def _draw(self, ratio: float) -> bool:
        return bool(self.rng.random() < ratio)


def simulate_campaign(
    scenario: Scenario, world: World, *, seed: int = 0, sinks: Iterable[Sink] = ()
) -> Campaign:
    """One whole run of the real engine in a simulated world; `seed` is the policy's."""
    header = RunStarted(
        run="simulated",
        name=scenario.name,
        seed=seed,
        version=__version__,
        epoch_s=world.epoch_s(),
        now_s=world.now_s(),
        source="",
        server="simulated",
        server_version="simulated",
    )
    engine = Engine(
        scenario,
        policy(scenario.search.policy),
        header=header,
        clock=world,
        injector=world,
        prober=world,
        sinks=sinks,
    )

    async def whole_run() -> None:  # no result: asyncio.run would spell out a campaign's repr
        await engine.run()

    asyncio.run(whole_run())
    return engine.campaign
