from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from numpy.random import Generator

from chaosbandit.core.campaign import Campaign, apply, measured
from chaosbandit.core.certified_claims import bracket, verdicts
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    Stopped,
    WashedOut,
)
from chaosbandit.core.model import (
    Cause,
    Expose,
    Outcome,
    Phase,
    Purpose,
    Route,
    Stop,
    Validity,
    Verdict,
    VerdictKind,
)
from chaosbandit.core.policies import policy
from chaosbandit.core.replay import Replayed, decide, interrupted, opening, replay
from chaosbandit.core.scenario import GATE, Guardrails, Scenario, Search
from chaosbandit.core.slo import scored
from chaosbandit.sim import World, simulate_campaign
from chaosbandit.sim.targets import Answer, Asked
from tests.simulated import (
    AVAILABILITY,
    LATENCY,
    SLOPPY,
    Heard,
    Jittery,
    cliff,
    generator,
    header,
    ladder,
    run,
    scenario,
    words,
    world,
)

CERTIFY = policy("certify")
COARSE = scenario(over=ladder(0.001, 1.0, 0.5))
KINDS: tuple[tuple[Scenario, float], ...] = (
    (COARSE, 0.95),
    (scenario(AVAILABILITY, LATENCY, over=ladder(0.01, 1.0, 0.5)), 1.0),
    (scenario(SLOPPY, over=ladder(0.01, 1.0, 0.5)), 0.3),
    (scenario(over=ladder(0.01, 1.0, 0.5), spend=0.002), 1.0),
    (
        scenario(
            over=ladder(0.01, 1.0, 0.5),
            guardrails=Guardrails(max_exposure_s=0.9),
            search=Search(hold_s=0.5),
        ),
        0.95,
    ),
    (scenario(over=ladder(0.01, 1.0, 0.5), search=Search(policy="bisect_sequential")), 0.95),
)


def simulated(seed: int, asked: Scenario, above: float) -> tuple[list[Event], Campaign]:
    crossing = float(0.02 * 25 ** generator(seed).random())
    simulated_world = world(cliff(crossing, above=above), seed)
    if seed % 2:
        simulated_world = Jittery(simulated_world.response, simulated_world.rng)
        simulated_world.felt = lambda severity: min(severity, 0.05)
    heard = Heard()
    return heard.events, run(asked, simulated_world, seed=seed, sinks=[heard])


def told(campaign: Campaign) -> tuple[Verdict, ...]:
    """The claims of all its ladders."""
    return tuple(each for climb in climbs(campaign) for each in verdicts(climb))


@lru_cache
def one() -> tuple[tuple[Event, ...], Campaign]:
    events, campaign = simulated(4, COARSE, 0.95)
    return tuple(events), campaign


def replayed(events: list[Event] | tuple[Event, ...]) -> Replayed:
    return replay(events, COARSE, CERTIFY)


@pytest.mark.parametrize("chunk", range(8))
def test_journals_replay_to_the_same_decisions_and_claims(chunk: int) -> None:
    for seed in range(chunk * 20, chunk * 20 + 20):
        asked, above = KINDS[seed % len(KINDS)]
        events, campaign = simulated(seed, asked, above)
        found = replay(events, asked, policy(asked.search.policy))
        assert found.difference is None, f"seed {seed}: {found.difference}\n{words(events)}"
        assert found.decisions == len(campaign.decisions)
        assert found.claims == told(campaign)
        assert found.campaign.stopped == campaign.stopped
        assert found.campaign.tallies == campaign.tallies


def test_a_journal_of_another_seed_differs_only_where_chance_decides() -> None:
    events, _ = one()
    assert isinstance(events[0], RunStarted)
    other = [replace(events[0], seed=99), *events[1:]]
    assert replayed(other).difference is None  # certify needs no chance; ramp neither


# --- a journal that was changed -------------------------------------------------------------------


def changed(
    kind: type[Event],
    change: Callable[[Event], Event | None],
    nth: int = 0,
) -> list[Event]:
    """The journal with the nth event of a kind changed, or left out."""
    events = list(one()[0])
    at = [n for n, event in enumerate(events) if isinstance(event, kind)][nth]
    new = change(events[at])
    events[at : at + 1] = [] if new is None else [new]
    return events


def of_decision(**changes: object) -> Callable[[Event], Event]:
    def change(event: Event) -> Event:
        assert isinstance(event, Decided)
        assert isinstance(event.decision, Expose)
        return replace(event, decision=replace(event.decision, **changes))  # type: ignore[arg-type]

    return change


def gone(event: Event) -> None:
    return None


def other_bet(event: Event) -> Event:
    assert isinstance(event, Decided)
    assert isinstance(event.decision, Expose)
    bets = tuple(q * 0.9 for q in event.decision.bets) or (0.001,)
    return replace(event, decision=replace(event.decision, bets=bets))


def other_variant(event: Event) -> Event:
    assert isinstance(event, Decided)
    assert isinstance(event.decision, Expose)
    arm = event.decision.variant.arm + 1
    return replace(event, decision=replace(event.decision, variant=COARSE.ladder.variant(arm)))


def stopped(event: Event) -> Event:
    assert isinstance(event, Decided)
    return replace(event, decision=Stop("enough"))


@pytest.mark.parametrize(
    ("kind", "change", "nth", "said"),
    [
        (Decided, of_decision(samples=6), 0, "samples: found 6, the policy now says 5"),
        (Decided, gone, -2, "exposes another arm or none"),
        (Decided, lambda e: replace(e, n=9), 1, "found decision 9, wanted number 1"),
        (Decided, of_decision(why="because"), 2, "decision 2: why: found 'because'"),
        (Decided, other_bet, -2, "bets: found ("),
        (Decided, other_variant, 1, "variant: found"),
        (Decided, stopped, 1, "found stop (enough), the policy now says expose arm"),
        (Decided, gone, 0, "no decision to expose came before it"),
        (RunStarted, gone, 0, "event 1, Observed: before the header of the run"),
        (ExposureStarted, lambda e: replace(e, arm=5), 0, "wanted (1, 0, 0.001) as decided"),
        (ExposureStarted, lambda e: replace(e, n=7), 0, "found (exposure, arm, severity) (7,"),
        (ExposureStarted, gone, 1, "outside of an exposure"),
        (ExposureEnded, gone, 0, "exposure 1 has not ended"),
        (ExposureEnded, lambda e: replace(e, arm=3), 0, "found (exposure, arm) (1, 3)"),
        (WashedOut, lambda e: replace(e, n=5), 0, "found exposure 5, wanted 1"),
    ],
)
def test_a_changed_journal_is_told_by_its_first_difference(
    kind: type[Event],
    change: Callable[[Event], Event | None],
    nth: int,
    said: str,
) -> None:
    found = replayed(changed(kind, change, nth))
    assert found.difference is not None
    assert said in found.difference


def turned_good(event: Event) -> Event:
    assert isinstance(event, Observed)
    sample = replace(event.samples[0], status=200, outcome=Outcome.RESPONSE, latency_s=0.02)
    return replace(event, samples=(scored(COARSE.slos, sample),))


def test_a_bad_sample_turned_good_changes_a_later_decision() -> None:
    events = list(one()[0])
    bad = [
        n
        for n, event in enumerate(events)
        if isinstance(event, Observed)
        and event.phase is Phase.MEASURE
        and event.samples[0].route is Route.CANARY
        and event.samples[0].status == 503
    ]
    assert bad
    for at in bad:
        found = replayed([*events[:at], turned_good(events[at]), *events[at + 1 :]])
        assert found.difference is not None
        assert "Decided" in found.difference


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (lambda events: events[0], "a second header"),
        (lambda events: Stopped("again", True, 0, True, "", 99.0), "after the run had stopped"),
    ],
)
def test_what_cannot_follow(extra: Callable[[tuple[Event, ...]], Event], said: str) -> None:
    events = one()[0]
    found = replayed([*events, extra(events)])
    assert found.difference is not None
    assert said in found.difference


def test_measured_samples_belong_to_the_decision_that_sent_them() -> None:
    measured = [e for e in one()[0] if isinstance(e, Observed) and e.decision is not None]
    assert measured
    for wanted, said in ((999, "decision 999"), (None, "measured samples of no decision")):
        at = one()[0].index(measured[0])
        events = [*one()[0][:at], replace(measured[0], decision=wanted), *one()[0][at + 1 :]]
        if measured[0].samples[0].route is Route.CANARY:
            found = replayed(events).difference
            assert found is not None
            assert said in found
    outside = replayed([one()[0][0], measured[0]]).difference
    assert outside is not None
    assert "outside of an exposure" in outside


# --- hold, longer blocks, a gate ------------------------------------------------------------------


class OneClump:
    """A cliff, and once, in the middle of what holds, twelve failures in a row."""

    def __init__(self, at: float) -> None:
        self.at, self.dosed = at, 0

    def __call__(self, asked: Asked, rng: Generator) -> Answer:
        self.dosed += asked.severity > 0.0
        sick = asked.severity >= self.at or (asked.severity > 0.0 and 230 <= self.dosed < 242)
        return Answer(0.020 + min(asked.severity, 0.1), 503 if sick else 200)


GATED = scenario(
    SLOPPY,
    over=ladder(0.01, 1.0, 0.5),
    search=Search(stop=GATE, hold_s=20.0),
    require={"slow": 0.1},
)


@lru_cache
def gated() -> tuple[tuple[Event, ...], Campaign]:
    heard = Heard()
    clumsy = World(lambda severity: 0.0, generator(3), target=OneClump(0.5))
    campaign = simulate_campaign(GATED, clumsy, seed=3, sinks=[heard])
    return tuple(heard.events), campaign


def test_a_run_with_hold_longer_blocks_and_a_gate_replays() -> None:
    events, campaign = gated()
    decided = [event.decision for event in events if isinstance(event, Decided)]
    assert Purpose.HOLD in {each.purpose for each in decided if isinstance(each, Expose)}
    assert any(isinstance(event, BlockRaised) for event in events)
    assert campaign.stopped is not None and campaign.stopped.cause is Cause.GATE_DECIDED
    found = replay(events, GATED, CERTIFY)
    assert (found.difference, found.decisions) == (None, len(decided))
    assert found.claims == told(campaign)
    assert found.campaign.stopped == campaign.stopped


def holds(event: Event) -> bool:
    return (
        isinstance(event, Decided)
        and isinstance(event.decision, Expose)
        and event.decision.purpose is Purpose.HOLD
    )


def raised(event: Event) -> bool:
    return isinstance(event, BlockRaised)


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        (raised, gone, "Decided: failures came 12 in a row, and no BlockRaised came before it"),
        (raised, lambda e: replace(e, clump=11), "found a clump of 11, wanted 12 as the exposures"),
        (raised, lambda e: replace(e, block=12), "found a block of 12, wanted more than 12"),
        (holds, of_decision(purpose=Purpose.SEARCH), "purpose: found <Purpose.SEARCH"),
        (holds, of_decision(bets=(0.01,)), "bets: found (0.01,), the policy now says ()"),
        (holds, of_decision(variant=GATED.ladder.variant(1)), "does not stay in it"),
    ],
)
def test_a_changed_hold_or_block_is_told(
    which: Callable[[Event], bool], change: Callable[[Event], Event | None], said: str
) -> None:
    events = list(gated()[0])
    at = next(n for n, event in enumerate(events) if which(event))
    new = change(events[at])
    events[at : at + 1] = [] if new is None else [new]
    assert said in (replay(events, GATED, CERTIFY).difference or "")


def test_blocks_are_not_raised_in_an_exposure_or_for_nothing() -> None:
    events = list(gated()[0])
    at = next(n for n, event in enumerate(events) if raised(event))
    inside = next(n for n, event in enumerate(events) if isinstance(event, ExposureStarted)) + 1
    for place, said in (
        (inside, "exposure 1 has not ended"),
        (at + 1, "found a clump of 12, wanted 0"),
    ):
        found = replay([*events[:place], events[at], *events[place:]], GATED, CERTIFY).difference
        assert said in (found or "")


# --- a journal that breaks off --------------------------------------------------------------------


def in_an_exposure(events: Sequence[Event]) -> bool:
    """Whether the last exposure that started has not ended."""
    borders = [e for e in events if isinstance(e, ExposureStarted | ExposureEnded)]
    return bool(borders) and isinstance(borders[-1], ExposureStarted)


def charged(events: Sequence[Event]) -> int:
    """Bad canary samples in a journal."""
    return sum(
        sample.status == 503 and sample.route is Route.CANARY
        for event in events
        if isinstance(event, Observed)
        for sample in event.samples
    )


def test_a_journal_cut_anywhere_claims_what_an_interrupted_run_may() -> None:
    events, whole = one()
    campaign = before = opening(COARSE)
    for cut, event in enumerate(events, start=1):
        campaign = apply(campaign, event)
        found = interrupted(campaign)
        assert found.current is None
        if not in_an_exposure(events[:cut]):
            before = campaign
            assert found is campaign
            continue
        assert found.exposures[-1].validity == Validity(False, "interrupted")
        now, then = Climb(found), Climb(before)
        assert (now.certificate.held <= then.certificate.held + 1e-12).all()
        assert (now.certificate.broke <= then.certificate.broke + 1e-12).all()
        assert (now.certificate.ruled_out == then.certificate.ruled_out).all()
        assert now.arms == then.arms
        assert found.spent_bad(0) == charged(events[:cut]) + 50 * 2 + 1  # rate x time-out
    assert before.tallies == whole.tallies


@pytest.mark.parametrize("kind", [Decided, ExposureStarted, Observed, WashedOut, ExposureEnded])
def test_the_replay_of_a_cut_journal_is_that_of_an_interrupted_run(kind: type[Event]) -> None:
    events = one()[0]
    cuts = [n for n, event in enumerate(events, start=1) if isinstance(event, kind)]
    campaign, at = opening(COARSE), 0
    for cut in cuts[:: max(1, len(cuts) // 6)]:
        for event in events[at:cut]:
            campaign = apply(campaign, event)
        at, found = cut, replayed(events[:cut])
        assert found.difference is None
        assert found.claims == told(interrupted(campaign))
        assert found.campaign.tallies == campaign.tallies
        assert found.decisions == sum(isinstance(event, Decided) for event in events[:cut])


def test_a_run_killed_before_its_evidence_was_complete_claims_less() -> None:
    events, whole = one()
    assert {v.kind for v in told(whole)} >= {VerdictKind.HELD, VerdictKind.BROKE}
    last_end = max(n for n, event in enumerate(events) if isinstance(event, ExposureEnded))
    assert not bracket(Climb(replayed(events[:last_end]).campaign)).closed
    assert bracket(Climb(replayed(events[: last_end + 1]).campaign)).closed


def test_what_may_be_in_flight_is_never_more_than_the_budget() -> None:
    asked = scenario(over=ladder(0.01, 1.0, 0.5), spend=0.002)  # 40 bad requests
    events, _ = simulated(3, asked, 1.0)
    starts = [n for n, event in enumerate(events) if isinstance(event, ExposureStarted)]
    found = replay(events[: starts[-1] + 1], asked, CERTIFY)
    assert found.campaign.budget_left() == 0


class Worth:
    """Wants one sample of each ladder in turn, worth as told; stops a ladder that is worth none."""

    name = "worth"

    def __init__(self, *worth: float) -> None:
        self.worth = worth

    def decide(self, climb: Climb, rng: Generator) -> Expose | Stop:
        worth = self.worth[climb.number]
        if worth < 0:
            return Stop(f"enough of {climb.ladder.name}")
        return Expose(climb.ladder.variant(0), 1, Purpose.SEARCH, worth=worth)


def three_ladders(limits: Guardrails | None = None) -> Campaign:
    """The mildest severities are 1, 2 and 3 ms."""
    ladders = tuple(
        replace(ladder(mild), name=name)
        for mild, name in ((0.001, "a"), (0.002, "b"), (0.003, "c"))
    )
    asked = replace(scenario(guardrails=limits), ladders=ladders)
    return apply(opening(asked), header())


@pytest.mark.parametrize(
    ("worth", "chosen"),
    [((1, 2, 3), "c"), ((1, 3, 2), "b"), ((2, 2, 2), "a"), ((0, 0, 0), "a"), ((-1, 0, -1), "b")],
)
def test_the_next_sample_goes_where_it_is_worth_most(worth: tuple[float, ...], chosen: str) -> None:
    decision = decide(Worth(*worth), three_ladders(), 0, 1.0).decision
    assert isinstance(decision, Expose)
    assert decision.variant.ladder == chosen


def test_a_run_ends_when_every_ladder_has_and_says_why_of_each() -> None:
    decision = decide(Worth(-1, -1, -1), three_ladders(), 0, 1.0).decision
    assert decision == Stop("a: enough of a; b: enough of b; c: enough of c", answered=False)


class Onwards:
    """Climbs on from what stands; the other ladders are worth more."""

    name = "onwards"

    def decide(self, climb: Climb, rng: Generator) -> Expose:
        arm = 0 if climb.number else 1
        return Expose(climb.ladder.variant(arm), 1, Purpose.SEARCH, worth=float(climb.number))


def test_what_is_held_stands_on_before_another_ladder_s_turn() -> None:
    """Coming back for it would cost another exposure."""
    campaign = three_ladders()
    bet = Expose(campaign.ladders[0].ladder.variant(0), 900, Purpose.HELD, (0.001,))
    started = ExposureStarted(1, 0, bet.variant.severity, "", 1.0, "a")
    campaign = apply(apply(campaign, Decided(0, bet, 0, 1.0)), started)
    for good, chosen, purpose in ((10, "c", Purpose.SEARCH), (890, "a", Purpose.HOLD)):
        campaign = measured(campaign, 0, np.zeros((good, 1), dtype=np.bool_))
        decision = decide(Onwards(), campaign, 0, 2.0).decision
        assert isinstance(decision, Expose)
        assert (decision.variant.ladder, decision.purpose) == (chosen, purpose)


def test_a_ladder_above_the_cap_leaves_the_others_alone() -> None:
    campaign = three_ladders(Guardrails(max_severity=0.0015))
    decision = decide(CERTIFY, campaign, 0, 1.0).decision
    assert isinstance(decision, Expose) and decision.variant.ladder == "a"
    refused = CERTIFY.decide(Climb(campaign, 1), np.random.default_rng(0))
    assert isinstance(refused, Stop) and refused.cause is Cause.CAPPED
