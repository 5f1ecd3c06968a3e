from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Health, Outcome, Route, Sample
from chaosbandit.errors import Exit, HarnessError
from chaosbandit.ports import Signal
from chaosbandit.sim import World, simulate_campaign
from chaosbandit.sim.targets import (
    Answer,
    Asked,
    Pile,
    Service,
    Symptom,
    independent,
    lognormal,
    watched,
)
from tests.simulated import cliff, header, scenario, world

LADDER = scenario().ladder
HANGS = float("inf")


def stream(simulated: World, slots: list[Route | Signal], rate_per_s: float = 50.0) -> list[Sample]:
    """What comes back for these slots, in order of completion."""
    answers = iter(slots)

    async def all_of_it() -> list[Sample]:
        samples = simulated.stream(lambda seq: next(answers, Signal.END), rate_per_s, {})
        return [sample async for sample in samples]

    return asyncio.run(all_of_it())


def test_slots_are_evenly_spaced_and_skipped_ones_stay_empty() -> None:
    found = stream(world(cliff(1.0)), [Route.CANARY, Signal.SKIP, Route.CANARY, Route.CONTROL])
    assert [sample.intended_s for sample in found] == pytest.approx([0.0, 0.04, 0.06])
    assert [sample.seq for sample in found] == [1, 3, 4]
    assert all(sample.lag_s == 0.0 for sample in found)


def test_slot_numbers_grow_over_the_whole_run() -> None:
    simulated = world(cliff(1.0))
    first, second = (stream(simulated, [Route.CANARY] * 2) for _ in range(2))
    assert [sample.seq for sample in first] < [sample.seq for sample in second]
    assert max(s.intended_s for s in first) < min(s.intended_s for s in second)


def test_bad_requests_are_overtaken_by_good_ones_and_time_moves_with_completions() -> None:
    simulated = world(lambda severity: 0.3, bad_latency_s=0.5)
    now: list[float] = []

    async def all_of_it() -> list[Sample]:
        slots = iter([Route.CANARY] * 60)
        found = []
        async for sample in simulated.stream(lambda seq: next(slots, Signal.END), 50.0, {}):
            now.append(simulated.now_s())
            found.append(sample)
        return found

    found = asyncio.run(all_of_it())
    assert len(found) == 60
    assert now == sorted(now)
    assert now == pytest.approx([sample.intended_s + sample.latency_s for sample in found])
    assert [sample.seq for sample in found] != sorted(sample.seq for sample in found)
    assert {(s.status, s.latency_s) for s in found} == {(200, 0.02), (503, 0.5)}


def test_the_response_is_what_was_asked_for() -> None:
    simulated = world(cliff(0.1, below=0.02, above=0.5))
    for severity, ratio in ((0.0, 0.02), (0.05, 0.02), (0.2, 0.5)):
        simulated.severity = severity
        found = Counter(sample.status for sample in stream(simulated, [Route.CANARY] * 4000))
        assert found[503] / 4000 == pytest.approx(ratio, abs=0.04)


def test_each_route_shows_its_own_latency() -> None:
    simulated = world(cliff(1.0, below=0.0), delivered=lambda s: 0.9 * s, felt=lambda s: 0.5 * s)
    simulated.severity = 0.1
    found = {s.route: s for s in stream(simulated, [Route.CANARY, Route.CONTROL, Route.CHECK])}
    assert found[Route.CANARY].latency_s == pytest.approx(0.07)
    assert found[Route.CONTROL].latency_s == pytest.approx(0.02)
    assert found[Route.CHECK].latency_s == pytest.approx(0.095)
    assert all(sample.outcome is Outcome.RESPONSE for sample in found.values())


def test_control_and_status_can_be_chosen() -> None:
    simulated = world(cliff(0.0), control_bad_ratio=lambda now_s: 1.0, status=lambda severity: 429)
    simulated.severity = 0.1
    assert {s.status for s in stream(simulated, [Route.CONTROL] * 3)} == {429}


def test_the_canary_is_sick_while_a_fault_is_in_effect_and_an_escalation_is_an_update() -> None:
    simulated = world(cliff(1.0))

    async def exposed() -> list[float]:
        found = []
        async with simulated.paths() as paths:
            assert paths == {}
            for arm in (40, 44):
                async with simulated.inject(simulated.plan(LADDER.variant(arm))):
                    found.append(simulated.severity)
                found.append(simulated.severity)
        return found

    severities = LADDER.severities
    assert asyncio.run(exposed()) == [severities[40], 0.0, severities[44], 0.0]
    name = "cb.simulated.1700000120.1"
    verbs = ("inject", "soften", "update", "soften", "remove")
    assert simulated.calls == [f"{verb} {name}" for verb in verbs]


@pytest.mark.parametrize("error", [HarnessError("a hiccup"), ValueError("a bug")])
def test_no_error_leaves_a_fault(error: Exception) -> None:
    simulated = world(cliff(1.0))

    async def exposed() -> None:
        async with simulated.paths(), simulated.inject(simulated.plan(LADDER.variant(40))):
            raise error

    with pytest.raises(type(error)):
        asyncio.run(exposed())
    assert simulated.severity == 0.0
    assert simulated.calls[-1].startswith("remove")


def test_clock_health_and_preflight() -> None:
    simulated = world(cliff(1.0))
    asyncio.run(simulated.sleep(2.5))
    assert simulated.now_s() == 2.5
    assert simulated.epoch_s() == 1_700_000_002.5
    assert simulated.health() == Health()
    assert asyncio.run(simulated.preflight()) == "simulated"


def decisions(campaign: Campaign) -> list[object]:
    return list(campaign.decisions.values())


def test_the_same_seeds_give_the_same_run() -> None:
    first, again, other = (
        simulate_campaign(scenario(), world(cliff(0.2), seed), seed=5) for seed in (1, 1, 3)
    )
    assert decisions(first) == decisions(again)
    assert first.stopped == again.stopped
    assert decisions(first) != decisions(other)
    assert first.header is not None
    assert (first.header.seed, first.header.run) == (5, header().run)


def hangs(ratio: float) -> Service:
    """Answers in 20 ms, of which some never come."""
    return Service((Symptom(independent(lambda severity: ratio), HANGS),), lognormal(0.02, 0.0))


def hanging(ratio: float, max_in_flight: int | None = None) -> World:
    """A world of such answers."""
    return world(cliff(1.0), target=hangs(ratio), timeout_s=2.0, max_in_flight=max_in_flight)


def test_a_request_that_hangs_ends_at_the_time_out() -> None:
    found = stream(hanging(0.3), [Route.CANARY] * 50)
    ended = {(s.outcome, s.status, s.latency_s) for s in found}
    assert ended == {(Outcome.RESPONSE, 200, 0.02), (Outcome.TIMEOUT, None, 2.0)}


def test_only_the_canary_has_the_target() -> None:
    found = stream(hanging(1.0), [Route.CANARY, Route.CONTROL, Route.CHECK])
    outcomes = {sample.route: sample.outcome for sample in found}
    assert outcomes[Route.CANARY] is Outcome.TIMEOUT
    assert outcomes[Route.CONTROL] is outcomes[Route.CHECK] is Outcome.RESPONSE


def test_the_target_hears_of_dose_time_and_load() -> None:
    heard: list[Asked] = []

    def listening(asked: Asked, rng: Generator) -> Answer:
        heard.append(asked)
        return hangs(1.0)(asked, rng)

    simulated = hanging(1.0)
    simulated.target, simulated.severity = listening, 0.25
    stream(simulated, [Route.CANARY] * 3)
    assert [asked.severity for asked in heard] == [0.25] * 3
    assert [asked.now_s for asked in heard] == pytest.approx([0.0, 0.02, 0.04])
    assert [asked.in_flight for asked in heard] == [0, 1, 2]


def test_a_full_pool_sends_nothing_and_says_so() -> None:
    simulated = hanging(1.0, max_in_flight=3)
    found = stream(simulated, [*[Route.CANARY] * 5, *[Route.CONTROL] * 2])
    outcomes = Counter((sample.route, sample.outcome) for sample in found)
    assert outcomes[Route.CANARY, Outcome.TIMEOUT] == 3
    assert outcomes[Route.CANARY, Outcome.OVERLOAD] == 2
    assert outcomes[Route.CONTROL, Outcome.RESPONSE] == 2  # a pool per route
    assert simulated.health() == Health(overloads=2)
    stream(simulated, [Route.CANARY])
    assert simulated.health() == Health()


def test_lag_grows_with_the_load_and_counts_as_latency() -> None:
    late = world(cliff(1.0), good_latency_s=0.05, lag_s=lambda load: 0.1 if load >= 2 else 0.0)
    found = sorted(stream(late, [Route.CANARY] * 4), key=lambda sample: sample.seq)
    assert [sample.lag_s for sample in found] == pytest.approx([0.0, 0.0, 0.1, 0.1])
    assert [sample.latency_s for sample in found] == pytest.approx([0.05, 0.05, 0.15, 0.15])


def test_somebody_who_has_seen_enough_interrupts_the_run_once() -> None:
    simulated = world(cliff(0.1))
    simulated.witness = lambda sample: simulated.severity > 0.0
    campaign = simulate_campaign(scenario(), simulated)
    assert campaign.stopped is not None
    assert campaign.stopped.exit_code == Exit.SIGINT
    (exposure,) = campaign.exposures
    assert exposure.validity is not None and not exposure.validity.valid
    assert campaign.stopped.clean


def test_a_witness_that_only_looks_changes_nothing() -> None:
    pile = Pile(limit=1, window=5)
    looked = simulate_campaign(scenario(), world(cliff(0.2), witness=watched(pile)), seed=5)
    assert decisions(looked) == decisions(simulate_campaign(scenario(), world(cliff(0.2)), seed=5))
