from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

import pytest

from chaosbandit.core.campaign import Campaign, Event, Observed, apply
from chaosbandit.core.model import Health, Phase, Route, Sample
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import HarnessError, SteadyStateError
from chaosbandit.ports import Feed, Signal
from chaosbandit.probing import Probing
from chaosbandit.sim import World
from tests.simulated import generator, scenario, world


class Notes:
    """A run's memory without an engine."""

    def __init__(self, asked: Scenario) -> None:
        self.campaign: Campaign = opening(asked)
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        self.campaign = apply(self.campaign, event)
        self.events.append(event)


def probing(asked: Scenario, target: World) -> tuple[Probing, Notes]:
    notes = Notes(asked)
    return Probing(asked, target, target, lambda: notes.campaign, notes.record), notes


def sent(notes: Notes, phase: Phase, route: Route) -> list[Sample]:
    seen = [e for e in notes.events if isinstance(e, Observed) and e.phase is phase]
    return [sample for event in seen for sample in event.samples if sample.route is route]


def test_steady_state_asks_both_routes_alike() -> None:
    probe, notes = probing(scenario(), world(lambda severity: 0.0))
    asyncio.run(probe.steady_state())
    canary = len(sent(notes, Phase.STEADY, Route.CANARY))
    assert canary >= 20
    assert abs(canary - len(sent(notes, Phase.STEADY, Route.CONTROL))) <= 1
    assert notes.campaign.steady is not None
    assert notes.campaign.steady.met


def test_a_sick_target_is_said_before_anything_is_injected() -> None:
    probe, notes = probing(scenario(), world(lambda severity: 0.5))
    with pytest.raises(SteadyStateError, match="nothing was injected: availability is not met"):
        asyncio.run(probe.steady_state())
    assert notes.campaign.steady is not None
    assert not notes.campaign.steady.met


class Overloaded(World):
    """A machine that cannot send what it is asked to."""

    def health(self) -> Health:
        return Health(overloads=7)


def test_a_prober_that_cannot_send_is_not_the_targets_fault() -> None:
    target = Overloaded(lambda severity: 0.0, generator(0))
    probe, _ = probing(scenario(), target)
    with pytest.raises(HarnessError, match="could not send 7 requests") as raised:
        asyncio.run(probe.steady_state())
    assert not isinstance(raised.value, SteadyStateError)


def test_nor_is_it_when_the_target_is_looked_at_once_more() -> None:
    probe, _ = probing(scenario(), Overloaded(lambda severity: 1.0, generator(0)))
    with pytest.raises(HarnessError, match="could not send 7 requests"):
        asyncio.run(probe.still_steady())


@pytest.mark.parametrize(("ratio", "back"), [(0.0, True), (1.0, False)])
def test_a_wash_out_ends_when_the_path_is_well(ratio: float, back: bool) -> None:
    target = world(lambda severity: 0.0)
    probe, notes = probing(scenario(), target)
    asyncio.run(probe.steady_state())
    target.response = lambda severity: ratio
    began_s = target.now_s()
    found, why = asyncio.run(probe.wash_out(3, 4.0))
    assert back == found, why
    assert (3 if back else 0) == notes.campaign.washed_out
    assert (target.now_s() - began_s < 1.0) == back
    assert not notes.campaign.control_sick
    assert len(sent(notes, Phase.WASHOUT, Route.CHECK)) >= (0 if back else 5)
    # The canary itself is sick, the dependency answers through its proxy as ever.
    assert notes.campaign.check_well or back


class Addressed(World):
    """Notes where each stream was told to connect."""

    def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample]:
        self.calls.append(str(dict(via)))
        return World.stream(self, feed, rate_per_s, via)


def test_severity_0_goes_through_the_clean_path_and_a_dose_through_its_own() -> None:
    target = Addressed(lambda severity: 0.0, generator(0))
    probe, _ = probing(scenario(), target)
    probe.clean_via = {Route.CANARY: "clean:1", Route.CONTROL: "clean:1"}

    async def both() -> None:
        await probe.stream(lambda seq: Signal.END, lambda sample: None, {})
        dosed = {Route.CANARY: "dosed:2"}
        await probe.stream(lambda seq: Signal.END, lambda sample: None, dosed)

    asyncio.run(both())
    clean = {Route.CANARY: "clean:1", Route.CONTROL: "clean:1"}
    assert target.calls == [str(clean), str(clean | {Route.CANARY: "dosed:2"})]


class Looking(World):
    """Notes whose dependency each stream asks, and answers as slowly as that one does."""

    def _sample(self, seq: int, route: Route) -> Sample:
        found = super()._sample(seq, route)
        if route is Route.CHECK:
            took_s = {"inventory": 0.005, "prices": 0.03}[self.looked_at]
            return replace(found, latency_s=took_s)
        return found


def test_each_ladders_dependency_is_measured_before_any_fault() -> None:
    asked = scenario()
    prices = replace(asked.proxies[0], name="prices")
    other = replace(asked.ladders[0], name="prices", proxy="prices")
    asked = replace(
        asked, proxies=(*asked.proxies, prices), ladders=(*asked.ladders, other, asked.ladders[0])
    )
    probe, notes = probing(asked, Looking(lambda severity: 0.0, generator(0)))
    asyncio.run(probe.steady_state())
    assert notes.campaign.steady is not None
    assert notes.campaign.steady.check_medians_s == {"inventory": 0.005, "prices": 0.03}
