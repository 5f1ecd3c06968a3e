"""The open-loop prober: releases requests at times fixed beforehand and yields their outcomes.

Latency counts from the intended time, so neither a slow target nor a late prober can hide a wait.
It knows nothing of why a request is sent; the feed decides that at each slot.

    pacer --slot due--> feed --route--> flight (one task a request) --sample--> queue --> consumer
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from chaosbandit.core.model import Health, Outcome, Route, Sample
from chaosbandit.core.scenario import Traffic
from chaosbandit.ports import Signal
from chaosbandit.traffic.http import Pool, Target
from chaosbandit.traffic.vitals import Vitals

if TYPE_CHECKING:
    from chaosbandit.ports import Clock, Feed

MAX_IN_FLIGHT = 1000  # per route; above rate x time-out it can never be reached

_Samples = asyncio.Queue[Sample | None]  # None: the stream has ended


class OpenLoopProber:
    """`ports.Prober` over HTTP/1.1, in this process; one stream at a time."""

    def __init__(
        self,
        traffic: Traffic,
        checks: Mapping[str, str],  # proxy -> URL of its dependency
        clock: Clock,
        check_timeout_s: float | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self._targets = _targets(traffic)
        timeout_s = check_timeout_s or traffic.timeout_s
        # A plain GET: the dependency must not be sent the secrets meant for the service.
        self._checks = {proxy: Target(url, timeout_s) for proxy, url in checks.items()}
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._pools: dict[Route, Pool] = {}
        self._vitals = Vitals()
        self._seq = itertools.count()
        self._in_flight: Counter[Route] = Counter()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        try:
            for proxy in self._checks:  # wrong URLs are refused here
                self.look_at(proxy)
                await self._aim({})
            await self._aim({})  # files of libraries are read here
        except BaseException:
            await self._close_pools()
            raise
        gc.collect()
        gc.freeze()  # a full collection in mid-stream would look like a slow target
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._abandon()
        finally:
            gc.unfreeze()
            await self._close_pools()

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample, None]:
        """As `ports.Prober.stream`; closing it early cancels what is in flight and awaits that."""
        await self._abandon()
        await self._aim(via)
        samples: _Samples = asyncio.Queue()
        running = asyncio.create_task(self._run(feed, rate_per_s, samples))
        self._running = running
        try:
            while (sample := await samples.get()) is not None:
                yield sample
            await running
        finally:
            await _cancelled(running)

    def look_at(self, proxy: str) -> None:
        """As `ports.Prober.look_at`; a proxy without a check leaves the route as it was."""
        if proxy in self._checks:
            self._targets[Route.CHECK] = self._checks[proxy]

    def health(self) -> Health:
        """Of the last stream, or of the running one until now."""
        return self._vitals.health()

    async def _abandon(self) -> None:
        """End a stream whose consumer went away without closing it."""
        if self._running is not None:
            await _cancelled(self._running)

    async def _aim(self, via: Mapping[Route, str]) -> None:
        """A route whose address changed gets new connections: none to the old one is used again."""
        for route, target in self._targets.items():
            pool = self._pools.get(route)
            if pool is not None and (pool.target, pool.via) == (target, via.get(route)):
                continue
            if pool is not None:
                await pool.close()
            self._pools[route] = Pool(target, via.get(route), self._tls)

    async def _close_pools(self) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def _run(self, feed: Feed, rate_per_s: float, samples: _Samples) -> None:
        self._vitals.start()
        try:
            async with asyncio.TaskGroup() as flights:
                await self._pace(feed, rate_per_s, samples, flights)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None  # a bug, or what the feed raised
        finally:
            self._vitals.stop()
            samples.put_nowait(None)

    async def _pace(
        self, feed: Feed, rate_per_s: float, samples: _Samples, flights: asyncio.TaskGroup
    ) -> None:
        """Ask the feed at each slot as it falls due; after a stall all overdue ones at once."""
        start_s = self._clock.now_s()
        for slot in itertools.count():
            intended_s = start_s + slot / rate_per_s
            await asyncio.sleep(0)  # even when late, let answers in before the feed is asked
            while (early_s := intended_s - self._clock.now_s()) > 0:
                await self._clock.sleep(early_s)
            seq = next(self._seq)
            asked = feed(seq)
            if asked is Signal.END:
                return
            if isinstance(asked, Route):
                flights.create_task(self._fly(seq, asked, intended_s, samples))

    async def _fly(self, seq: int, route: Route, intended_s: float, samples: _Samples) -> None:
        """One request from release to outcome."""
        started_s = self._clock.now_s()
        self._vitals.released(started_s - intended_s)
        sample = Sample(seq, route, intended_s, started_s, 0.0, Outcome.OVERLOAD)
        timeout_s = self._targets[route].timeout_s
        within_s = intended_s + timeout_s - started_s
        # Time-outs start at the intended time: a request we release later than that is not sent.
        if within_s > 0 and self._in_flight[route] < self._max_in_flight:
            self._in_flight[route] += 1
            try:
                became = await self._pools[route].request(seq, within_s)
            finally:
                self._in_flight[route] -= 1
            sample = replace(sample, outcome=became.outcome, status=became.status, why=became.why)
        if sample.outcome is Outcome.OVERLOAD:
            self._vitals.overloaded()
        samples.put_nowait(_timed(sample, self._clock.now_s() - intended_s, timeout_s))


def _timed(sample: Sample, latency_s: float, timeout_s: float) -> Sample:
    """Latency from the intended time, censored at the time-out."""
    if sample.outcome is Outcome.OVERLOAD:
        return replace(sample, latency_s=latency_s)
    if sample.outcome is Outcome.TIMEOUT or latency_s >= timeout_s:
        return replace(sample, latency_s=timeout_s, outcome=Outcome.TIMEOUT, status=None)
    return replace(sample, latency_s=latency_s)


def _targets(traffic: Traffic) -> dict[Route, Target]:
    canary = Target(
        traffic.url, traffic.timeout_s, traffic.method, traffic.headers, traffic.fresh_connections
    )
    return {Route.CANARY: canary, Route.CONTROL: replace(canary, url=traffic.control_url)}


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it and everything it started is gone."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # heard by the consumer, or by nobody who is still there
