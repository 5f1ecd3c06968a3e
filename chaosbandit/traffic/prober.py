"""The open-loop prober: releases requests at times fixed beforehand and yields their outcomes.

It knows nothing of why a request is sent; the feed decides that at each slot.

    pacer --slot due--> feed --route--> flight (one task a request) --sample--> queue --> consumer
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from chaosbandit.core.model import Health, Outcome, Route, Sample
from chaosbandit.core.scenario import Traffic
from chaosbandit.ports import Signal
from chaosbandit.traffic.prober_health import ProberHealth
from chaosbandit.traffic.request_sender import MAX_IN_FLIGHT, Sender

if TYPE_CHECKING:
    from chaosbandit.ports import Clock, Feed

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
        self._sender = Sender(traffic, checks, clock, check_timeout_s, max_in_flight)
        self._clock = clock
        self._health = ProberHealth()
        self._seq = itertools.count()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._sender.__aenter__()
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
            await self._sender.__aexit__(kind, error, trace)

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample, None]:
        """As `ports.Prober.stream`; closing it early cancels what is in flight and awaits that."""
        await self._abandon()
        await self._sender.aim(via)
        samples: _Samples = asyncio.Queue()
        running = asyncio.create_task(self._run(feed, rate_per_s, samples))
        self._running = running
        try:
            while (sample := await samples.get()) is not None:
                yield sample
            await running
        finally:
            await cancelled(running)

    def look_at(self, proxy: str) -> None:
        """As `ports.Prober.look_at`; a proxy without a check leaves the route as it was."""
        self._sender.look_at(proxy)

    def health(self) -> Health:
        """Of the last stream, or of the running one until now."""
        return self._health.health()

    async def _abandon(self) -> None:
        """End a stream whose consumer went away without closing it."""
        if self._running is not None:
            await cancelled(self._running)

    async def _run(self, feed: Feed, rate_per_s: float, samples: _Samples) -> None:
        self._health.start()
        try:
            async with asyncio.TaskGroup() as flights:
                await self._pace(feed, rate_per_s, samples, flights)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None  # a bug, or what the feed raised
        finally:
            self._health.stop()
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
        sample = await self._sender.send(seq, route, intended_s)
        self._health.released(sample.lag_s)
        if sample.outcome is Outcome.OVERLOAD:
            self._health.overloaded()
        samples.put_nowait(sample)


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it and everything it started is gone."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # heard by the consumer, or by nobody who is still there
