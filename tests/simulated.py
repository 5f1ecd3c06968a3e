"""Scenarios, samples and whole runs on the simulator, for the tests of `core` and the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import Decided, Event, RunStarted
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Expose, Outcome, Route, Sample
from chaosbandit.core.policies import Policy, policy
from chaosbandit.core.scenario import Guardrails, Proxy, Scenario, Search, Timing, Traffic
from chaosbandit.core.slo import SLI, SLO, ErrorBudget, scored
from chaosbandit.core.topology import TOPOLOGIES
from chaosbandit.engine import Engine
from chaosbandit.ports import Feed, KillSwitch, Sink
from chaosbandit.sim import World

AVAILABILITY = SLO("availability", SLI("status in 2xx-3xx", ((200, 399),)), 0.99)
LATENCY = SLO("latency", SLI("latency <= 300ms", (), 0.3), 0.99)
SLOPPY = SLO("availability", SLI("status in 2xx-3xx", ((200, 399),)), 0.95)
QUICK = Timing(warmup_s=0.04, warmup_samples=2, washout_s=5.0, steady_samples=20)


def ladder(mild: float = 0.001, harsh: float = 1.0, resolution: float = 0.10) -> Ladder:
    """A latency ladder on the one proxy of `scenario`."""
    return Ladder("slow", "inventory", "latency", mild, harsh, resolution)


def errors_ladder(mild: float = 0.001, harsh: float = 1.0) -> Ladder:
    """A ladder of shares of broken connections."""
    return Ladder("errors", "inventory", "errors", mild, harsh, 0.10)


def scenario(
    *slos: SLO,
    over: Ladder | None = None,
    spend: float = 0.05,
    rate_per_s: float = 50.0,
    check: bool = True,
    search: Search | None = None,
    guardrails: Guardrails | None = None,
    timing: Timing | None = None,
    require: Mapping[str, float] | None = None,
    topology: str = "canary",
) -> Scenario:
    """A scenario of one latency ladder; a budget of 1000 bad requests at 99 %."""
    url = "http://127.0.0.1:1/"
    return Scenario(
        name="simulated",
        toxiproxy=url,
        topology=TOPOLOGIES[topology],
        proxies=(Proxy("inventory", "127.0.0.1:1", "127.0.0.1:2", url if check else None),),
        traffic=Traffic(url, url, rate_per_s, 2.0),
        slos=slos or (AVAILABILITY,),
        budget=ErrorBudget(30 * 86400.0, 2_000_000, spend),
        ladders=(over or ladder(),),
        search=search or Search(),
        guardrails=guardrails or Guardrails(),
        timing=timing or QUICK,
        require=require or {},
    )


def sample(
    seq: int,
    *,
    bad: bool = False,
    route: Route = Route.CANARY,
    latency_s: float = 0.020,
    outcome: Outcome = Outcome.RESPONSE,
    status: int | None = None,
    lag_s: float = 0.0,
    slos: Sequence[SLO] = (AVAILABILITY,),
) -> Sample:
    """One request sent at slot `seq` of 50/s, scored for these SLOs as on its arrival."""
    sent_s = seq * 0.020
    if status is None and outcome is Outcome.RESPONSE:
        status = 503 if bad else 200
    made = Sample(seq, route, sent_s, sent_s + lag_s, latency_s, outcome, status)
    return scored(tuple(slos), made)


def only(campaign: Campaign) -> Climb:
    """The climb of a campaign that has one, or of its first ladder."""
    return Climb(campaign)


def knowing(campaign: Campaign, number: int = 0, **changes: Any) -> Campaign:
    """The campaign once something else is known of one of its ladders."""
    ladders = list(campaign.ladders)
    ladders[number] = replace(ladders[number], **changes)
    return replace(campaign, ladders=tuple(ladders))


def header(seed: int = 0, now_s: float = 0.0) -> RunStarted:
    """The first event of a run."""
    return RunStarted("simulated", "simulated", seed, "0", 1.7e9, now_s, "", "simulated", "0")


def cliff(at: float, below: float = 0.001, above: float = 0.95) -> Callable[[float], float]:
    """A response that jumps at a severity."""
    return lambda severity: below if severity < at else above


def world(response: Callable[[float], float], seed: int = 0, **changes: Any) -> World:
    """A simulated world whose service passes on up to 100 ms of the injected latency."""
    changes.setdefault("felt", lambda severity: min(severity, 0.1))
    return World(response, np.random.default_rng([seed, 1]), **changes)


class Polite(World):
    """A world that gives way to the event loop wherever a real one would."""

    __slots__ = ()

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample]:
        """As the world's, with a chance to be cancelled before and after each sample."""
        await asyncio.sleep(0)
        samples = super().stream(feed, rate_per_s, via)
        try:
            async for each in samples:
                yield each
                await asyncio.sleep(0)
        finally:
            await samples.aclose()


class Jittery(World):
    """A world whose latencies vary, so that completions overtake each other."""

    __slots__ = ()

    def _sample(self, seq: int, route: Route) -> Sample:
        drawn = super()._sample(seq, route)
        if route is Route.CHECK:
            return drawn
        return replace(drawn, latency_s=drawn.latency_s * (0.5 + 3 * self.rng.random() ** 3))


class Heard:
    """A sink that keeps every event and can act on one."""

    def __init__(self, act: Callable[[int, Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self._act = act

    def accept(self, event: Event, campaign: Campaign) -> None:
        """Keep it, then act."""
        self.events.append(event)
        if self._act is not None:
            self._act(len(self.events), event)

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


def engine(
    asked: Scenario,
    simulated: World,
    *,
    seed: int = 0,
    sinks: Iterable[Sink] = (),
    by: Policy | None = None,
    kill_switch: KillSwitch | None = None,
) -> Engine:
    """The real engine on a simulated world."""
    return Engine(
        asked,
        by or policy(asked.search.policy),
        header=header(seed, simulated.now_s()),
        clock=simulated,
        injector=simulated,
        prober=simulated,
        sinks=sinks,
        kill_switch=kill_switch,
    )


def run(
    asked: Scenario,
    simulated: World,
    *,
    seed: int = 0,
    sinks: Iterable[Sink] = (),
    by: Policy | None = None,
    kill_switch: KillSwitch | None = None,
) -> Campaign:
    """One whole run."""
    running = engine(asked, simulated, seed=seed, sinks=sinks, by=by, kill_switch=kill_switch)

    async def whole_run() -> None:
        await running.run()

    asyncio.run(whole_run())
    return running.campaign


def words(events: Iterable[Event]) -> str:
    """The decisions of a run, a line each."""
    lines = []
    for event in events:
        if isinstance(event, Decided):
            decision = event.decision
            said = (
                f"{decision.samples} x {decision.variant.severity:g} for {decision.purpose}: "
                f"{decision.why}"
                if isinstance(decision, Expose)
                else f"stop: {decision.reason}"
            )
            lines.append(f"{event.n:4} at {event.now_s:8.2f} s  {said}")
    return "\n".join(lines)


def generator(seed: int) -> Generator:
    """A seeded generator."""
    return np.random.default_rng(seed)
