"""Sends single requests over the routes of a run and says what became of each.

Latency counts from the intended time, so neither a slow target nor a late sender can hide a wait.
It knows nothing of when requests are due and why they are sent.
"""

from __future__ import annotations

import gc
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.core.scenario import Traffic
from chaosbandit.traffic.http import Pool, Target

if TYPE_CHECKING:
    from chaosbandit.ports import Clock

MAX_IN_FLIGHT = 1000  # per route; above rate x time-out it can never be reached


class Sender:
    """The connections of all routes, in this process.

    Raises:
        TargetError: (on entering) a URL that cannot be requested.
    """

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
        self._in_flight: Counter[Route] = Counter()

    async def __aenter__(self) -> Self:
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        try:
            for proxy in self._checks:  # wrong URLs are refused here
                self.look_at(proxy)
                await self.aim({})
            await self.aim({})  # files of libraries are read here
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
        gc.unfreeze()
        await self._close_pools()

    def look_at(self, proxy: str) -> None:
        """As `ports.Prober.look_at`; a proxy without a check leaves the route as it was."""
        if proxy in self._checks:
            self._targets[Route.CHECK] = self._checks[proxy]

    async def aim(self, via: Mapping[Route, str]) -> None:
        """A route whose address changed gets new connections: none to the old one is used again."""
        for route, target in self._targets.items():
            pool = self._pools.get(route)
            if pool is not None and (pool.target, pool.via) == (target, via.get(route)):
                continue
            if pool is not None:
                await pool.close()
            self._pools[route] = Pool(target, via.get(route), self._tls)

    async def send(self, seq: int, route: Route, intended_s: float) -> Sample:
        """One request from release to outcome."""
        started_s = self._clock.now_s()
        timeout_s = self._targets[route].timeout_s
        within_s = intended_s + timeout_s - started_s
        # Time-outs start at the intended time: a request we release later than that is not sent.
        if within_s <= 0 or self._in_flight[route] >= self._max_in_flight:
            latency_s = self._clock.now_s() - intended_s
            return Sample(seq, route, intended_s, started_s, latency_s, Outcome.OVERLOAD)
        self._in_flight[route] += 1
        try:
            outcome, status, why = await self._pools[route].request(seq, within_s)
        finally:
            self._in_flight[route] -= 1
        latency_s = self._clock.now_s() - intended_s
        late = latency_s >= timeout_s and outcome is not Outcome.OVERLOAD
        if late or outcome is Outcome.TIMEOUT:  # censored there
            outcome, latency_s, status = Outcome.TIMEOUT, timeout_s, None
        return Sample(seq, route, intended_s, started_s, latency_s, outcome, status, why=why)

    async def _close_pools(self) -> None:
        for pool in self._pools.values():
            await pool.close()


def _targets(traffic: Traffic) -> dict[Route, Target]:
    canary = Target(
        traffic.url,
        traffic.timeout_s,
        traffic.method,
        traffic.headers,
        traffic.fresh_connections,
        traffic.body,
    )
    return {Route.CANARY: canary, Route.CONTROL: replace(canary, url=traffic.control_url)}
