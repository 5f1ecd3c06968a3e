"""The open-loop prober in processes of its own: neither engine nor live view makes requests late.

The feed is asked a moment ahead, in this process; what it says goes to the processes in turns,
route by route, with the times fixed beforehand, so that arrivals are as evenly spaced as with one.
A slot that passes while the engine is busy stays empty: sent later it would be late, and a burst.

    feed --slots, LEAD_S ahead--> process 1..n --samples, each 10 ms--> consumer
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chaosbandit.core.model import Health, Outcome, Route, Sample
from chaosbandit.core.scenario import Traffic
from chaosbandit.errors import HarnessError
from chaosbandit.ports import Signal
from chaosbandit.traffic.prober import cancelled
from chaosbandit.traffic.prober_health import ProberHealth
from chaosbandit.traffic.sending_process_link import SendingProcessLink, Slot

if TYPE_CHECKING:
    from chaosbandit.ports import Clock, Feed

# How far ahead the feed is asked, and how much later a guardrail acts at most. The engine may think
# for so long at a stretch before requests are late (with 0.02: by p99 7 to 11 ms at 1000/s).
LEAD_S = 0.05
TICK_S = 0.005
_PATIENCE_S = 5.0  # over the longest time-out: then a process that says nothing is stuck

_Heard = asyncio.Queue[list[Sample] | HarnessError | None]  # None: the feed has ended


class MultiprocessProber:
    """`ports.Prober` over HTTP/1.1, in `processes` processes; one stream at a time."""

    def __init__(
        self,
        traffic: Traffic,
        checks: Mapping[str, str],  # proxy -> URL of its dependency
        clock: Clock,  # on `time.monotonic`, as the processes are
        check_timeout_s: float | None = None,
        processes: int = 1,
    ) -> None:
        self._traffic, self._checks, self._clock = traffic, checks, clock
        self._check_timeout_s = check_timeout_s
        self._patience_s = max(traffic.timeout_s, check_timeout_s or 0.0) + _PATIENCE_S
        self._processes = [SendingProcessLink(self._hear) for _ in range(processes)]
        self._health = ProberHealth()
        self._next_seq = 0
        self._streams = 0
        self._proxy: str | None = None
        self._heard: _Heard = asyncio.Queue()
        self._out = 0  # handed over, and no outcome yet
        self._feeding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.TaskGroup() as starting:
                for process in self._processes:
                    start = process.start(self._traffic, self._checks, self._check_timeout_s)
                    starting.create_task(start)
        except BaseExceptionGroup as failures:
            await self._close()
            raise failures.exceptions[0] from None
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._feeding is not None:
                await cancelled(self._feeding)
        finally:
            await self._close()

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample, None]:
        """As `ports.Prober.stream`; closing it early gives up what is in flight.

        Raises:
            HarnessError: a process ended or is stuck.
        """
        if self._feeding is not None:  # of a consumer that went away without closing it
            await cancelled(self._feeding)
        self._streams, self._heard, self._out = self._streams + 1, asyncio.Queue(), 0
        await asyncio.gather(*(p.aim(self._streams, self._proxy, via) for p in self._processes))
        self._health.start()
        feeding = self._feeding = asyncio.create_task(self._feed(feed, rate_per_s))
        try:
            while not feeding.done() or self._out:
                for sample in await self._next():
                    yield sample
                await asyncio.sleep(0)  # however many have come, the feed has its turn
            await feeding
        finally:
            await cancelled(feeding)
            if self._out:
                await asyncio.gather(*(process.abandon() for process in self._processes))
            self._health.stop()

    def look_at(self, proxy: str) -> None:
        """As `ports.Prober.look_at`; a proxy without a check leaves the route as it was."""
        self._proxy = proxy

    def health(self) -> Health:
        """Of the last stream, or of the running one until now."""
        return self._health.health()

    async def _close(self) -> None:
        await asyncio.gather(*(process.close() for process in self._processes))

    async def _next(self) -> list[Sample]:
        """What has come, or nothing when the feed has ended.

        Raises:
            HarnessError: a process ended, or nothing came where something had to.
        """
        while True:
            try:
                async with asyncio.timeout(self._patience_s):
                    heard = await self._heard.get()
                    break
            except TimeoutError:
                if self._out:
                    raise HarnessError(
                        f"found no outcome of {self._out} requests within {self._patience_s:g} s, "
                        "wanted each within its time-out: the prober's own processes are stuck; "
                        "see what holds them, then run again"
                    ) from None
        if isinstance(heard, HarnessError):
            raise heard
        if heard is None:
            return []
        self._out -= len(heard)
        for sample in heard:
            self._health.released(sample.lag_s)
            if sample.outcome is Outcome.OVERLOAD:
                self._health.overloaded()
        return heard

    async def _feed(self, feed: Feed, rate_per_s: float) -> None:
        """Ask the feed for what is due within `LEAD_S`, again and again."""
        start_s, base, slot = self._clock.now_s() + LEAD_S, self._next_seq, 0
        turns, going = Counter[Route](), True
        try:
            while going:
                now_s = self._clock.now_s()
                passed = max(0, math.ceil((now_s - start_s) * rate_per_s) - slot)
                self._health.missed(passed)
                slot += passed
                due: list[list[Slot]] = [[] for _ in self._processes]
                while going and (intended_s := start_s + slot / rate_per_s) <= now_s + LEAD_S:
                    seq, slot = base + slot, slot + 1
                    asked = feed(seq)
                    going = asked is not Signal.END
                    if isinstance(asked, Route):
                        due[turns[asked] % len(due)].append((seq, asked, intended_s))
                        turns[asked] += 1
                self._next_seq = base + slot
                self._health.asked(slot)
                self._hand_over(due)
                await self._clock.sleep(TICK_S if going else 0.0)
        finally:
            self._heard.put_nowait(None)

    def _hand_over(self, due: Sequence[Sequence[Slot]]) -> None:
        for process, slots in zip(self._processes, due, strict=True):
            if slots:
                self._out += len(slots)
                process.send(slots)

    def _hear(self, heard: Mapping[str, Any] | HarnessError) -> None:
        if isinstance(heard, HarnessError):
            self._heard.put_nowait(heard)
        elif heard["stream"] == self._streams:
            self._health.processor(heard["cpu"])
            self._heard.put_nowait([_sample(*each) for each in heard["samples"]])


def _sample(
    seq: int,
    route: str,
    intended_s: float,
    started_s: float,
    latency_s: float,
    outcome: str,
    status: int | None,
    why: str,
) -> Sample:
    """What `sample_to_json` made of it."""
    times_s = intended_s, started_s, latency_s
    return Sample(seq, Route(route), *times_s, Outcome(outcome), status, why=why)
