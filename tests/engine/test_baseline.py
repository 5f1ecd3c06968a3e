from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

import pytest

from chaosbandit.core.events import Observed, WashedOut
from chaosbandit.core.model import Health, Phase, Route, Sample
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Scenario, Timing
from chaosbandit.engine.baseline import Baseline
from chaosbandit.engine.recorder import Recorder
from chaosbandit.errors import HarnessError, SteadyStateError
from chaosbandit.ports import Feed, Signal
from chaosbandit.sim import World
from tests.simulated import Heard, generator, scenario, world


def probing(asked: Scenario, target: World) -> tuple[Baseline, Heard]:
    """Severity 0 of a run that has just begun, and all that is recorded of it."""
    heard = Heard()
    recorder = Recorder(asked, policy(asked.search.policy), target, [heard])
    return Baseline(asked, target, target, recorder), heard


def sent(heard: Heard, phase: Phase, route: Route) -> list[Sample]:
    seen = [event for event in heard.of(Observed) if event.phase is phase]
    return [sample for event in seen for sample in event.samples if sample.route is route]


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_steady_state_asks_the_routes_by_their_shares(share: float) -> None:
    asked = scenario(timing=Timing(steady_samples=100))
    asked = replace(asked, traffic=replace(asked.traffic, control_share=share))
    probe, heard = probing(asked, world(lambda severity: 0.0))
    asyncio.run(probe.steady_state())
    canary = len(sent(heard, Phase.STEADY, Route.CANARY))
    assert 100 <= canary <= 102
    assert abs(share * canary - len(sent(heard, Phase.STEADY, Route.CONTROL))) <= 2
    assert probe.recorder.campaign.steady is not None
    assert probe.recorder.campaign.steady.met


def test_a_sick_target_is_said_before_anything_is_injected() -> None:
    probe, _ = probing(scenario(), world(lambda severity: 0.5))
    with pytest.raises(SteadyStateError, match="nothing was injected: availability is not met"):
        asyncio.run(probe.steady_state())
    assert probe.recorder.campaign.steady is not None
    assert not probe.recorder.campaign.steady.met


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
    probe, heard = probing(scenario(), target)
    asyncio.run(probe.steady_state())
    target.response = lambda severity: ratio
    began_s = target.now_s()
    look = asyncio.run(probe.wash_out(3, 4.0))
    assert back == look.back, look.why
    assert look.enough
    (recorded,) = heard.of(WashedOut)
    assert (recorded.back, recorded.why, recorded.enough) == (look.back, look.why, look.enough)
    assert (3 if back else 0) == probe.recorder.campaign.washed_out
    assert (target.now_s() - began_s < 1.0) == back
    assert not probe.recorder.campaign.control_sick
    assert len(sent(heard, Phase.WASHOUT, Route.CHECK)) >= (0 if back else 5)
    # The canary itself is sick, the dependency answers through its proxy as ever.
    assert probe.recorder.campaign.check_well or back


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
    probe, _ = probing(asked, Looking(lambda severity: 0.0, generator(0)))
    asyncio.run(probe.steady_state())
    assert probe.recorder.campaign.steady is not None
    assert probe.recorder.campaign.steady.check_medians_s == {"inventory": 0.005, "prices": 0.03}


class Opening(World):
    """A canary whose first requests are slow and fail: pools fill, caches are cold."""

    cold = 4

    def _sample(self, seq: int, route: Route) -> Sample:
        found = super()._sample(seq, route)
        if route is Route.CANARY and self.cold:
            self.cold -= 1
            return replace(found, status=503, latency_s=1.0)
        return found


@pytest.mark.parametrize(("warmup", "met"), [(5, True), (0, False)])
def test_steady_state_has_a_warm_up_of_its_own(warmup: int, met: bool) -> None:
    timing = Timing(warmup_samples=warmup, steady_samples=20)
    probe, heard = probing(scenario(timing=timing), Opening(lambda severity: 0.0, generator(0)))
    if met:
        asyncio.run(probe.steady_state())
    else:
        with pytest.raises(SteadyStateError):
            asyncio.run(probe.steady_state())
    assert len(sent(heard, Phase.WARMUP, Route.CANARY)) == warmup
    if met:
        campaign = probe.recorder.campaign
        assert campaign.steady is not None
        assert campaign.steady.canary_p95_s < 0.1
        assert campaign.tallies[Route.CANARY].any_bad == 4  # charged like any other


@pytest.mark.parametrize("rate_per_s", [0.5, 1.0, 50.0])
def test_a_wash_out_has_the_time_that_the_rate_needs(rate_per_s: float) -> None:
    probe, _ = probing(scenario(rate_per_s=rate_per_s), world(lambda severity: 0.0))
    asyncio.run(probe.steady_state())
    look = asyncio.run(probe.wash_out(1, 0.5))
    assert (look.back, look.enough) == (True, True), look.why


def test_steady_state_never_overspends_the_budget() -> None:
    asked = scenario(spend=0.00015, timing=Timing())  # 3 bad requests, a warm-up of 5
    probe, _ = probing(asked, world(lambda severity: 1.0, bad_latency_s=1.9))
    with pytest.raises(SteadyStateError):
        asyncio.run(probe.steady_state())
    assert probe.recorder.campaign.budget_left() >= 0
