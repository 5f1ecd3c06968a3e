from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from numpy.random import Generator
from scipy.stats import binom

from chaosbandit.core import judge
from chaosbandit.core.campaign import Campaign, apply
from chaosbandit.core.certified_claims import bracket, verdicts
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    SteadyStateMeasured,
    Stopped,
    WashedOut,
)
from chaosbandit.core.model import (
    Bracket,
    Cause,
    Decision,
    Expose,
    Health,
    Outcome,
    Phase,
    Purpose,
    Route,
    Sample,
    Stop,
    Variant,
    VerdictKind,
)
from chaosbandit.core.policies import policy
from chaosbandit.core.replay import opening, replay
from chaosbandit.core.scenario import Guardrails, Scenario, Search, Timing
from chaosbandit.core.slo import SLI, SLO, ErrorBudget, scored
from chaosbandit.core.topology import topology
from chaosbandit.engine.sample_order import SendOrder
from chaosbandit.errors import CleanupError, Exit, HarnessError, ToxiproxyError, Trouble
from chaosbandit.faults.fault import Fault
from chaosbandit.ports import Feed, Injected, Signal
from chaosbandit.sim import Response, World
from tests.simulated import (
    AVAILABILITY,
    LATENCY,
    Heard,
    Jittery,
    Polite,
    cliff,
    engine,
    generator,
    ladder,
    only,
    run,
    scenario,
    words,
    world,
)

NEVER = cliff(math.inf, below=0.0)
SHORT = scenario(
    over=ladder(0.01, 1.0, 0.5),
    search=Search(max_samples=10),
    timing=Timing(warmup_s=0.04, warmup_samples=2, washout_s=5.0, steady_samples=10),
)
"""Two exposures and some seventy events."""


def stopped(campaign: Campaign) -> Stopped:
    assert campaign.stopped is not None
    return campaign.stopped


def bracketing(campaign: Campaign) -> Bracket:
    return bracket(only(campaign))


def exit_of(campaign: Campaign) -> int:
    return stopped(campaign).exit_code


def nothing_left(simulated: World) -> bool:
    """Whether everything injected was removed and struck out."""
    injected = [call for call in simulated.calls if call.startswith("inject")]
    removed = [call for call in simulated.calls if call.startswith("remove")]
    return simulated.severity == 0.0 and len(injected) == len(removed)


# --- an orderly run -------------------------------------------------------------------------------


def test_a_run_ends_with_a_bracket_round_the_breaking_point() -> None:
    heard = Heard()
    campaign = run(scenario(), world(cliff(0.2)), sinks=[heard])
    found = bracketing(campaign)
    assert found.closed
    assert found.held is not None
    assert found.broke is not None
    assert found.held < 0.2 <= found.broke <= found.held * 1.1
    assert stopped(campaign).answered
    assert exit_of(campaign) == Exit.ANSWERED
    assert stopped(campaign).clean
    assert isinstance(heard.events[0], RunStarted)
    assert isinstance(heard.events[-1], Stopped)


def test_everything_is_recorded_before_it_is_done_and_an_escalation_is_an_update() -> None:
    simulated = world(cliff(0.2))

    def note(_: int, event: Event) -> None:
        if isinstance(event, Decided | ExposureStarted | ExposureEnded | WashedOut):
            simulated.calls.append(type(event).__name__)

    campaign = run(scenario(), simulated, sinks=[Heard(note)])
    calls = [call.split()[0] for call in simulated.calls]
    at = 0
    for _ in campaign.exposures:
        start = calls.index("ExposureStarted", at)
        end = calls.index("ExposureEnded", start)
        assert calls[start - 1] == "Decided"
        kept = [call for call in calls[start : end + 1] if call != "Decided"]
        assert kept == [
            "ExposureStarted", "update" if at else "inject", "soften", "WashedOut", "ExposureEnded",
        ]  # fmt: skip
        at = end
    assert calls.count("inject") == calls.count("remove") == 1
    assert len(campaign.exposures) > 3


def test_one_exposure_serves_many_decisions() -> None:
    heard = Heard()
    campaign = run(scenario(), world(cliff(0.2)), sinks=[heard])
    assert len(heard.of(ExposureStarted)) == len(campaign.exposures) < len(campaign.decisions) / 2
    arms = [
        event.decision.variant.arm
        for event in heard.of(Decided)
        if isinstance(event.decision, Expose)
    ]
    changes = sum(arm != before for arm, before in zip(arms[1:], arms, strict=False))
    assert len(campaign.exposures) <= changes + 2


def test_no_exposure_outlasts_the_limit() -> None:
    asked = scenario(guardrails=Guardrails(max_exposure_s=1.0), search=Search(hold_s=0.0))
    heard = Heard()
    run(asked, world(cliff(0.2)), sinks=[heard])
    exposures = heard.of(ExposureStarted)
    assert len(exposures) > 15
    for started, washed in zip(exposures, heard.of(WashedOut), strict=True):
        sent = [
            sample.intended_s
            for event in heard.of(Observed)
            if event.phase in (Phase.WARMUP, Phase.MEASURE)
            for sample in event.samples
            if started.now_s <= sample.intended_s < washed.now_s
        ]
        assert max(sent) - started.now_s <= 1.0


def test_measured_samples_come_after_the_warm_up() -> None:
    asked = scenario(timing=Timing(warmup_s=0.5, warmup_samples=7, steady_samples=20))
    heard = Heard()
    campaign = run(asked, world(cliff(0.2)), sinks=[heard])
    assert all(exposure.warmup >= 7 for exposure in campaign.exposures[:-1])
    for exposure in campaign.exposures:
        first = min(sample.intended_s for sample in exposure.canary)
        assert first - exposure.started_s >= 0.5 - 1e-9


def test_every_decision_looks_at_all_samples_in_order_of_sending() -> None:
    heard = Heard()
    asked = scenario(AVAILABILITY, LATENCY)
    simulated = Jittery(cliff(0.2), generator(3), felt=lambda severity: min(severity, 0.05))
    run(asked, simulated, seed=3, sinks=[heard])
    for route in Route:
        seqs = [
            sample.seq
            for event in heard.of(Observed)
            if event.phase in (Phase.WARMUP, Phase.MEASURE)
            for sample in event.samples
            if sample.route is route
        ]
        assert seqs == sorted(seqs)


# --- answers without a bracket --------------------------------------------------------------------


def test_where_nothing_ever_breaks_the_cap_is_certified_and_no_more() -> None:
    campaign = run(scenario(over=ladder(0.01, 0.3)), world(NEVER))
    assert exit_of(campaign) == Exit.ANSWERED
    assert "held at the cap of 300 ms" in stopped(campaign).reason
    found = bracketing(campaign)
    assert (found.held, found.broke, found.closed) == (0.3, None, False)


def test_where_the_mildest_breaks_that_is_the_answer() -> None:
    campaign = run(scenario(over=ladder(0.01, 0.3)), world(cliff(0.005)))
    assert exit_of(campaign) == Exit.ANSWERED
    assert "broke at 10 ms, the mildest severity" in stopped(campaign).reason
    found = bracketing(campaign)
    assert (found.held, found.broke) == (None, 0.01)


@pytest.mark.parametrize(
    ("response", "bound_s", "code"),
    [(NEVER, 0.1, Exit.ANSWERED), (cliff(0.005), 0.1, Exit.GATE_FAILED)],
)
def test_an_answer_of_one_side_decides_a_gate(
    response: Response, bound_s: float, code: Exit
) -> None:
    campaign = run(scenario(over=ladder(0.01, 0.3), require={"slow": bound_s}), world(response))
    assert exit_of(campaign) == code


def test_a_dose_that_is_never_felt_proves_nothing() -> None:
    campaign = run(scenario(over=ladder(0.01, 0.3)), world(NEVER, felt=lambda severity: 0.0))
    assert exit_of(campaign) == Exit.INCONCLUSIVE
    assert stopped(campaign).reason.startswith("path not exercised")
    assert {claim.kind for claim in verdicts(only(campaign))} == {VerdictKind.UNKNOWN}


@pytest.mark.parametrize(("bound_s", "code"), [(0.1, Exit.ANSWERED), (0.25, Exit.GATE_FAILED)])
def test_a_gate_decides_the_exit_code(bound_s: float, code: Exit) -> None:
    campaign = run(scenario(require={"slow": bound_s}), world(cliff(0.2)))
    assert exit_of(campaign) == code
    assert stopped(campaign).answered


def test_time_over_is_a_guardrails_stop() -> None:
    campaign = run(scenario(search=Search(max_duration_s=5.0)), world(cliff(0.2)))
    assert exit_of(campaign) == Exit.GUARDRAIL
    assert "max_duration of 5 s is over" in stopped(campaign).reason
    assert not stopped(campaign).answered


def test_evidence_that_is_too_old_only_guides() -> None:
    """A deploy in mid-run: what was proven before it is proven anew, the belief stays."""
    heard = Heard()
    moved = World(lambda severity: 0.0, generator(3))

    def response(severity: float) -> float:
        if moved.now_s() < 25.0:
            return 0.02 * (severity >= 0.2)
        return float(severity >= 0.05)

    moved.response = response
    asked = scenario(search=Search(evidence_ttl_s=40.0, max_duration_s=150.0, hold_s=0.0))
    campaign = run(asked, moved, sinks=[heard])
    expired = [event for event in heard.events if isinstance(event, EvidenceExpired)]
    assert expired and "search.evidence_ttl (40 s)" in expired[0].why
    assert exit_of(campaign) == Exit.ANSWERED
    bracket = bracketing(campaign)
    assert bracket.held is not None and bracket.broke is not None
    assert bracket.held < 0.05 <= bracket.broke
    assert campaign.spent_samples > sum(arm.samples for arm in only(campaign).arms)
    assert replay(heard.events, asked, policy("certify")).difference is None


def bump(severity: float) -> float:
    """A time-out with a fallback: 20 to 50 ms are worse than more."""
    return 0.9 if 0.02 <= severity < 0.05 or severity >= 0.4 else 0.001


def stepped_over(seed: int, check: bool) -> tuple[Campaign, Heard]:
    heard = Heard()
    asked = scenario(search=Search(monotone_check=check, escalation=4.0))
    return run(asked, world(bump, seed), seed=seed, sinks=[heard]), heard


def test_a_bump_below_the_bracket_is_found_where_it_is_looked_for() -> None:
    for seed in range(40):
        campaign, _ = stepped_over(seed, check=False)
        held = bracketing(campaign).held
        if held is not None and held > 0.05:
            break
    else:
        pytest.fail("the bump was never stepped over")
    campaign, heard = stepped_over(seed, check=True)
    assert exit_of(campaign) == Exit.INCONCLUSIVE
    assert "not monotone: " in stopped(campaign).reason
    assert "though" in stopped(campaign).reason
    assert bracketing(campaign).held is None
    asked = campaign.scenario
    assert replay(heard.events, asked, policy("certify")).difference is None


def test_a_monotone_response_passes_the_check_for_a_few_more_requests() -> None:
    more, seeds = 0, range(6)
    for seed in seeds:
        plain = run(scenario(), world(cliff(0.2), seed), seed=seed)
        looking = scenario(search=Search(monotone_check=True))
        checked = run(looking, world(cliff(0.2), seed), seed=seed)
        assert exit_of(checked) == exit_of(plain) == Exit.ANSWERED
        assert bracketing(checked) == bracketing(plain)
        more += checked.spent_samples - plain.spent_samples
    assert 0 < more / len(seeds) < 1500


# --- steady state ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"response": lambda severity: 0.3}, "canary route"),
        ({"control_bad_ratio": lambda now_s: 0.3}, "control route"),
    ],
)
def test_without_steady_state_nothing_is_injected(changes: dict[str, Any], said: str) -> None:
    simulated = world(changes.pop("response", NEVER), **changes)
    heard = Heard()
    campaign = run(scenario(), simulated, sinks=[heard])
    assert exit_of(campaign) == Exit.HARNESS
    assert "steady state not met, nothing was injected" in stopped(campaign).reason
    assert said in stopped(campaign).reason
    assert "it fails by itself" in stopped(campaign).reason
    assert simulated.calls == []
    assert [event.met for event in heard.of(SteadyStateMeasured)] == [False]
    assert stopped(campaign).clean_why == "nothing was injected"


def test_steady_state_is_judged_on_everything_that_was_sent() -> None:
    """Bad requests take 1.5 s here, so the newest looks are always too good."""
    slo = SLO("availability", AVAILABILITY.sli, 0.95)
    unsettled = 0
    for seed in range(40):
        simulated = world(lambda severity: 0.045, seed, bad_latency_s=1.5)
        asked = scenario(slo, timing=Timing(steady_samples=60), search=Search(max_samples=5))
        heard = Heard()
        campaign = run(asked, simulated, sinks=[heard])
        assert "could not be measured" not in stopped(campaign).reason, f"seed {seed}"
        (measured,) = heard.of(SteadyStateMeasured)
        samples = [campaign.steady_samples[route] for route in (Route.CANARY, Route.CONTROL)]
        bad = [sum(s.status == 503 for s in each) / len(each) for each in samples]
        assert measured.met == (max(bad) <= 0.05), f"seed {seed}"
        unsettled += len(samples[0]) > 70
    assert unsettled > 5  # or the test shows nothing


# --- instruments that fail ------------------------------------------------------------------------


def gains(campaign: Campaign) -> float:
    return float(max(only(campaign).certificate.held.max(), only(campaign).certificate.broke.max()))


def test_a_control_route_that_breaks_meanwhile_voids_exposures_and_ends_the_run() -> None:
    simulated = world(NEVER, control_bad_ratio=lambda now_s: 0.9 if now_s > 2.0 else 0.0)
    asked = scenario(timing=Timing(warmup_s=1.0, warmup_samples=20, steady_samples=20))
    campaign = run(asked, simulated)
    assert exit_of(campaign) == Exit.HARNESS
    assert "3 exposures in a row could not be used" in stopped(campaign).reason
    assert "the control route broke availability meanwhile" in stopped(campaign).reason
    assert [e.validity.valid for e in campaign.exposures[-3:] if e.validity] == [False] * 3
    assert gains(campaign) == 0.0


def test_a_dose_that_does_not_arrive_voids_exposures_and_ends_the_run() -> None:
    asked = scenario(over=ladder(0.01, 1.0), timing=Timing())  # long enough to be checked
    simulated = world(NEVER, delivered=lambda severity: 0.1 * severity)
    campaign = run(asked, simulated)
    assert exit_of(campaign) == Exit.HARNESS
    assert "not delivered: 1 ms of 10 ms arrived" in stopped(campaign).reason
    assert len(campaign.exposures) == 3
    assert gains(campaign) == 0.0
    assert nothing_left(simulated)


class Hurried(World):
    """A world whose prober cannot send everything while a fault stands."""

    __slots__ = ()

    def health(self) -> Health:
        """Of the exposure: poor; of every wash-out: fine."""
        exposing = self.calls and self.calls[-1].startswith("soften")
        return Health(overloads=4) if exposing and not self._looked() else Health()

    def _looked(self) -> bool:
        self.calls.append("health")
        return False


def test_what_the_prober_could_not_send_voids_the_exposure_and_is_recorded_with_it() -> None:
    simulated = Hurried(NEVER, generator(1), felt=lambda severity: min(severity, 0.1))
    heard = Heard()
    campaign = run(scenario(), simulated, sinks=[heard])
    assert exit_of(campaign) == Exit.HARNESS
    assert "could not send 4 requests" in stopped(campaign).reason
    assert [event.health for event in heard.of(ExposureEnded)] == [Health(overloads=4)] * 3


@pytest.mark.parametrize("status", [401, 403, 407, 429])
def test_a_target_that_refuses_us_ends_the_run_without_blaming_the_dose(status: int) -> None:
    simulated = world(cliff(0.02, below=0.0, above=1.0), status=lambda severity: status)
    campaign = run(scenario(over=ladder(0.01, 1.0)), simulated)
    assert exit_of(campaign) == Exit.HARNESS
    assert f"the target answered {status} on the canary route" in stopped(campaign).reason
    last = campaign.exposures[-1].validity
    assert last is not None
    assert not last.valid
    assert bracketing(campaign).broke is None
    assert only(campaign).certificate.broke.max() <= 0.0
    assert nothing_left(simulated)


class Scarred(World):
    """A world that stays sick once a severity above 50 ms was injected."""

    __slots__ = ()
    control_too = False

    def _sample(self, seq: int, route: Route) -> Sample:
        if self.severity > 0.05 and not self.calls[-1].startswith("scar"):
            self.calls.append("scar")
        if "scar" in self.calls and (route is Route.CANARY or self.control_too):
            sick = super()._sample(seq, route)
            return replace(sick, status=503, latency_s=0.01)
        return super()._sample(seq, route)


class ScarredAll(Scarred):
    __slots__ = ()
    control_too = True


def test_a_path_that_stays_sick_is_never_called_clean() -> None:
    simulated = Scarred(NEVER, generator(1), felt=lambda severity: min(severity, 0.1))
    campaign = run(scenario(over=ladder(0.01, 1.0), check=False), simulated)
    assert exit_of(campaign) == Exit.NOT_CLEAN
    assert not stopped(campaign).clean
    assert "yet the path is sick" in stopped(campaign).clean_why
    assert "did not come back to normal" in stopped(campaign).reason
    assert campaign.exposures[-1].validity is not None
    assert "no wash-out" in campaign.exposures[-1].validity.why


def test_a_sick_target_gets_a_second_look_and_no_second_fault() -> None:
    simulated = Scarred(NEVER, generator(1), felt=lambda severity: min(severity, 0.1))
    campaign = run(scenario(over=ladder(0.01, 1.0)), simulated)
    validities = [exposure.validity for exposure in campaign.exposures]
    failed = [validity is not None and "no wash-out" in validity.why for validity in validities]
    assert failed == [False] * (len(failed) - 1) + [True]
    assert campaign.washouts_failed >= 2
    # Over 10 s of looking at 50 requests/s, a canary that only fails is asked a few times a second.
    assert campaign.tallies[Route.CANARY].any_bad < 100


def test_a_dependency_that_answers_through_its_proxy_clears_the_faults_not_the_canary() -> None:
    simulated = Scarred(NEVER, generator(1), felt=lambda severity: min(severity, 0.1))
    campaign = run(scenario(over=ladder(0.01, 1.0)), simulated)
    assert exit_of(campaign) == Exit.HARNESS
    assert not stopped(campaign).clean
    assert "the canary itself is sick" in stopped(campaign).clean_why


def test_where_control_fails_too_the_faults_are_not_to_blame() -> None:
    simulated = ScarredAll(NEVER, generator(1), felt=lambda severity: min(severity, 0.1))
    campaign = run(scenario(over=ladder(0.01, 1.0), check=False), simulated)
    assert exit_of(campaign) == Exit.HARNESS
    assert not stopped(campaign).clean
    assert "the control route fails too" in stopped(campaign).clean_why


# --- the budget -----------------------------------------------------------------------------------


class Counting(Jittery):
    """Counts every bad answer of the canary after steady state, whoever hears of it."""

    __slots__ = ()

    def _sample(self, seq: int, route: Route) -> Sample:
        sample = super()._sample(seq, route)
        bad = sample.status != 200 or sample.latency_s > 0.3
        if route is Route.CANARY and bad:
            self.calls.append("bad")
        return sample


@pytest.mark.parametrize("allowed", [2, 7, 12, 30, 100])
@pytest.mark.parametrize("above", [1.0, 0.3])
@pytest.mark.parametrize("bad_latency_s", [0.005, 0.4, 2.0])
def test_the_budget_is_never_overspent(allowed: int, above: float, bad_latency_s: float) -> None:
    asked = scenario(AVAILABILITY, LATENCY, over=ladder(0.01, 1.0, 0.5))
    asked = replace(asked, budget=ErrorBudget(1.0, 2_000_000, allowed / 20_000))
    simulated = Counting(
        cliff(0.2, below=0.0, above=above),
        generator(7),
        bad_latency_s=bad_latency_s,
        felt=lambda severity: min(severity, 0.01),
    )
    campaign = run(asked, simulated, seed=7)
    assert simulated.calls.count("bad") <= allowed
    assert campaign.budget_left() >= 0
    if exit_of(campaign) != Exit.ANSWERED:
        assert exit_of(campaign) == Exit.GUARDRAIL
        assert "the error budget of this run" in stopped(campaign).reason
    assert allowed > 12 or exit_of(campaign) == Exit.GUARDRAIL


@pytest.mark.parametrize("scarred", [Scarred, ScarredAll])
@pytest.mark.parametrize("allowed", [35, 60])
def test_a_path_that_stays_sick_does_not_overspend_the_budget(
    scarred: type[Scarred], allowed: int
) -> None:
    simulated = scarred(NEVER, generator(1), felt=lambda severity: min(severity, 0.1))
    asked = scenario(over=ladder(0.01, 1.0))
    asked = replace(asked, budget=ErrorBudget(1.0, 2_000_000, allowed / 20_000))
    campaign = run(asked, simulated)
    assert campaign.budget_left() >= 0
    assert campaign.tallies[Route.CANARY].bad[0] > 3


@pytest.mark.parametrize("abort", [1, 2, 5, 20])
@pytest.mark.parametrize("bad_latency_s", [0.005, 0.4, 2.0])
@pytest.mark.parametrize("warmup", [Timing(), Timing(0.04, 2, steady_samples=20)])
def test_an_arm_that_always_fails_is_certified_at_little_cost(
    abort: int, bad_latency_s: float, warmup: Timing
) -> None:
    """Its warm-up alone reaches the guardrail; what is never measured is never learnt."""
    asked = scenario(guardrails=Guardrails(abort_if_bad_in_a_row=abort), timing=warmup)
    simulated = world(cliff(0.2, below=0.0, above=1.0), bad_latency_s=bad_latency_s)
    heard = Heard()
    campaign = run(asked, simulated, sinks=[heard])
    assert exit_of(campaign) == Exit.ANSWERED, words(heard.events)
    assert campaign.spent_bad(0) <= 120
    assert all(exposure.samples for exposure in campaign.exposures)


# --- what can be raised, and when -----------------------------------------------------------------


def all_events() -> int:
    heard = Heard()
    run(SHORT, Polite(NEVER, generator(1), felt=lambda s: min(s, 0.1)), sinks=[heard])
    return len(heard.events)


def raising(at: int) -> Callable[[int, Event], None]:
    def act(n: int, event: Event) -> None:
        if n >= at:
            raise HarnessError("the disk is full")

    return act


def exposures_are_ended(heard: Heard) -> bool:
    starts, ends = heard.of(ExposureStarted), heard.of(ExposureEnded)
    return [event.n for event in starts] == [event.n for event in ends]


def test_a_sink_that_fails_at_any_event_ends_the_run_and_leaves_nothing() -> None:
    for at in range(1, all_events() + 1):
        simulated = Polite(NEVER, generator(1), felt=lambda s: min(s, 0.1))
        failing, heard = Heard(raising(at)), Heard()
        campaign = run(SHORT, simulated, sinks=[failing, heard])
        assert exit_of(campaign) == Exit.HARNESS, f"event {at}"
        assert "the disk is full" in stopped(campaign).reason
        assert nothing_left(simulated)
        assert len(failing.events) == at  # no gap: its record ends there
        assert isinstance(heard.events[-1], Stopped)
        assert exposures_are_ended(heard)
        assert campaign.current is None
        touched = any(call.startswith("inject") for call in simulated.calls)
        if stopped(campaign).clean_why == "nothing was injected":
            assert not touched, f"event {at}"
        if touched and not stopped(campaign).clean:
            assert "the data path was not looked at" in stopped(campaign).clean_why


async def cancelled(
    asked: Scenario, simulated: World, at: tuple[int, ...]
) -> tuple[Heard, Campaign]:
    """A run that is interrupted at these events."""
    task: asyncio.Task[Campaign]
    heard = Heard(lambda n, event: (task.cancel(), None)[1] if n in at else None)
    running = engine(asked, simulated, sinks=[heard])
    task = asyncio.create_task(running.run())
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return heard, running.campaign


@pytest.mark.parametrize("again", [None, 1, 4])
def test_an_interrupt_at_any_event_leaves_nothing_and_says_so(again: int | None) -> None:
    total = all_events()
    for at in range(1, total - 1):
        simulated = Polite(NEVER, generator(1), felt=lambda s: min(s, 0.1))
        both = (at,) if again is None else (at, at + again)
        heard, campaign = asyncio.run(cancelled(SHORT, simulated, both))
        assert nothing_left(simulated), f"event {at}"
        assert exposures_are_ended(heard), f"event {at}"
        assert isinstance(heard.events[-1], Stopped)
        assert len(heard.of(Stopped)) == 1
        if at < total - 3:  # later there is nothing left to wait for
            assert exit_of(campaign) == Exit.SIGINT, f"event {at}"
            assert stopped(campaign).reason == "interrupted by the operator"
        if again is None and campaign.exposures:
            assert stopped(campaign).clean
        for exposure in campaign.exposures:
            assert exposure.validity is not None
        if stopped(campaign).clean_why == "nothing was injected":
            assert not campaign.exposures


def test_what_was_in_flight_when_interrupted_is_charged_once() -> None:
    """Good requests take 90 ms here: at 50/s some are out whenever the run is cut."""
    total, lost = all_events(), set()
    for at in range(25, total - 2, 2):
        simulated = Polite(NEVER, generator(1), good_latency_s=0.09, felt=lambda s: 0.0)
        heard, campaign = asyncio.run(cancelled(SHORT, simulated, (at,)))
        ends = heard.of(ExposureEnded)
        assert all(0 <= event.lost <= 6 for event in ends)
        assert campaign.lost == sum(event.lost for event in ends)
        assert campaign.spent_bad(0) == campaign.lost
        lost.add(campaign.lost)
    assert len(lost) > 2  # or nothing was in flight


class Broken(Polite):
    """A world in which one call fails."""

    __slots__ = ("error", "failing", "n")

    def arrange(self, failing: str, n: int, error: Exception) -> Broken:
        self.failing, self.n, self.error = failing, n, error
        return self

    def _fail(self, call: str) -> None:
        if call == self.failing:
            self.n -= 1
            if self.n == 0:
                raise self.error

    def plan(self, variant: Variant) -> Fault:
        self._fail("plan")
        return super().plan(variant)

    @asynccontextmanager
    async def _entered(self, fault: Fault) -> AsyncIterator[Injected]:
        self._fail("enter")
        async with super().inject(fault) as injected:
            self._fail("inside")
            yield injected
        self._fail("leave")

    def inject(self, fault: Fault) -> AbstractAsyncContextManager[Injected]:
        return self._entered(fault)

    async def take_off(self) -> None:
        await super().take_off()
        self._fail("take off")

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample]:
        samples = super().stream(feed, rate_per_s, via)
        try:
            async for each in samples:
                self._fail("sample")
                yield each
        finally:
            await samples.aclose()


def broken(failing: str, n: int, error: Exception) -> Broken:
    simulated = Broken(NEVER, generator(1), felt=lambda s: min(s, 0.1))
    return simulated.arrange(failing, n, error)


@pytest.mark.parametrize("failing", ["plan", "enter", "inside", "leave"])
@pytest.mark.parametrize("n", [1, 2])
def test_an_instrument_that_fails_at_any_call_ends_the_run_and_leaves_nothing(
    failing: str, n: int
) -> None:
    simulated, heard = broken(failing, n, ToxiproxyError("it hangs")), Heard()
    campaign = run(SHORT, simulated, sinks=[heard])
    assert exit_of(campaign) == Exit.HARNESS
    assert stopped(campaign).reason == "it hangs"
    assert nothing_left(simulated)
    assert exposures_are_ended(heard)
    assert stopped(campaign).clean
    for exposure in campaign.exposures[n - 1 :]:
        assert exposure.validity is not None
        assert not exposure.validity.valid


def test_a_prober_that_fails_at_any_sample_ends_the_run_and_leaves_nothing() -> None:
    for n in range(1, all_events(), 3):
        simulated, heard = broken("sample", n, HarnessError("no sockets left")), Heard()
        campaign = run(SHORT, simulated, sinks=[heard])
        if simulated.n > 0:
            break  # the run was over before
        assert exit_of(campaign) == Exit.HARNESS, f"sample {n}"
        assert stopped(campaign).reason == "no sockets left"
        assert nothing_left(simulated)
        assert exposures_are_ended(heard)
    assert n > 40


@pytest.mark.parametrize("failing", ["leave", "take off"])
@pytest.mark.parametrize("sink", ["works", "fails at the end of the exposure", "fails at last"])
def test_a_clean_up_that_is_not_confirmed_outranks_everything(failing: str, sink: str) -> None:
    def act(n: int, event: Event) -> None:
        kind = {"fails at last": Stopped}.get(sink, ExposureEnded)
        if sink != "works" and isinstance(event, kind):
            raise HarnessError("the disk is full") from OSError("no space")

    error = CleanupError("still there", commands=["curl -X DELETE it"])
    simulated, heard = broken(failing, 1, error), Heard()
    campaign = run(SHORT, simulated, sinks=[Heard(act), heard])
    assert exit_of(campaign) == Exit.NOT_CLEAN
    assert stopped(campaign).reason.endswith("still there:\n  curl -X DELETE it")
    assert not stopped(campaign).clean
    assert exposures_are_ended(heard)


class Stuck(Polite):
    """A world in which removal cannot be confirmed, whatever ended the exposure."""

    __slots__ = ()

    @asynccontextmanager
    async def _stuck(self, fault: Fault) -> AsyncIterator[Injected]:
        async with super().inject(fault) as injected:
            try:
                yield injected
            finally:
                raise CleanupError("still there")

    def inject(self, fault: Fault) -> AbstractAsyncContextManager[Injected]:
        return self._stuck(fault)


def test_an_interrupt_does_not_hide_a_clean_up_that_is_not_confirmed() -> None:
    for at in range(24, 60, 2):
        simulated = Stuck(NEVER, generator(1), felt=lambda s: min(s, 0.1))
        heard, campaign = asyncio.run(cancelled(SHORT, simulated, (at,)))
        if not any(call.startswith("inject") for call in simulated.calls):
            assert exit_of(campaign) == Exit.SIGINT
            continue
        assert exit_of(campaign) == Exit.NOT_CLEAN
        assert stopped(campaign).reason == "still there"
        assert exposures_are_ended(heard)
    assert campaign.exposures


def test_a_bug_is_not_hidden_and_leaves_nothing() -> None:
    simulated, heard = broken("inside", 1, ZeroDivisionError("a bug")), Heard()
    with pytest.raises(ZeroDivisionError):
        run(SHORT, simulated, sinks=[heard])
    assert nothing_left(simulated)
    assert exposures_are_ended(heard)


def test_the_shell_says_what_an_interrupt_means() -> None:
    async def terminated() -> Campaign:
        simulated = Polite(NEVER, generator(1), felt=lambda s: min(s, 0.1))
        running = engine(SHORT, simulated)
        running.interrupted_by = Cause.TERMINATED
        task = asyncio.create_task(running.run())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert exit_of(asyncio.run(terminated())) == Exit.SIGTERM


# --- edge: a clean proxy of ours for the whole run ------------------------------------------------


class Edge(Polite):
    """A world in which all requests go through paths of ours."""

    __slots__ = ("vias",)

    @asynccontextmanager
    async def _edge(self) -> AsyncIterator[Mapping[Route, str]]:
        self.vias: list[dict[Route, str]] = []
        self.calls.append("inject paths")
        try:
            yield {Route.CANARY: "path:1", Route.CONTROL: "path:2"}
        finally:
            await self.take_off()
            self.calls.append("remove paths")

    def paths(self) -> AbstractAsyncContextManager[Mapping[Route, str]]:
        return self._edge()

    async def stream(
        self, feed: Feed, rate_per_s: float, via: Mapping[Route, str]
    ) -> AsyncGenerator[Sample]:
        self.vias.append(dict(via))
        samples = super().stream(feed, rate_per_s, via)
        try:
            async for each in samples:
                yield each
        finally:
            await samples.aclose()


def test_in_edge_every_route_goes_through_its_standing_path() -> None:
    simulated = Edge(NEVER, generator(1), felt=lambda s: min(s, 0.1))
    run(replace(SHORT, topology=topology("edge")), simulated)
    paths = {Route.CANARY: "path:1", Route.CONTROL: "path:2"}
    assert len(simulated.vias) > 4
    assert all(via == paths for via in simulated.vias)
    assert simulated.calls[0] == "inject paths"
    assert simulated.calls[-1] == "remove paths"


# --- whether a removal may be quiet ---------------------------------------------------------------


class Told(Polite):
    """A world that keeps what it is told of each exposure before it ends."""

    __slots__ = ("patient",)

    @asynccontextmanager
    async def _told(self, fault: Fault) -> AsyncIterator[Injected]:
        async with super().inject(fault) as injected:
            yield injected
            self.patient: list[bool] = [*getattr(self, "patient", []), injected.nobody_gave_up]

    def inject(self, fault: Fault) -> AbstractAsyncContextManager[Injected]:
        return self._told(fault)


@pytest.mark.parametrize(
    ("response", "felt", "patient"),
    [
        (NEVER, lambda severity: severity, True),
        (NEVER, lambda severity: 0.0, False),  # a fallback answers well, and fast
        (cliff(0.005), lambda severity: severity, False),
    ],
)
def test_nobody_gave_up_only_where_all_was_good_and_the_dose_was_felt(
    response: Response, felt: Callable[[float], float], patient: bool
) -> None:
    simulated = Told(response, generator(1), felt=felt)
    run(scenario(over=ladder(0.01, 0.02)), simulated)
    assert set(simulated.patient) == {patient}


class Timed(Polite):
    """A world that keeps how long each toxic stood beyond its last request."""

    __slots__ = ("read_s", "stood_s")

    @asynccontextmanager
    async def _timed(self, fault: Fault) -> AsyncIterator[Injected]:
        async with super().inject(fault) as injected:
            last = injected.read_back

            async def read_back() -> Sequence[str]:
                self.read_s = self.now_s()
                return await last()

            yield replace(injected, read_back=read_back)
            self.stood_s: list[float] = [*getattr(self, "stood_s", []), self.now_s() - self.read_s]

    def inject(self, fault: Fault) -> AbstractAsyncContextManager[Injected]:
        return self._timed(fault)


@pytest.mark.parametrize(("response", "wanted_s"), [(NEVER, 0.0), (cliff(0.005), 0.21)])
def test_what_clients_gave_up_is_let_go_before_a_toxic_is_softened(
    response: Response, wanted_s: float
) -> None:
    simulated = Timed(response, generator(1), felt=lambda severity: severity)
    run(scenario(over=ladder(0.01, 0.02)), simulated)
    assert simulated.stood_s[0] == pytest.approx(wanted_s)


# --- others work on the proxy ---------------------------------------------------------------------


def test_a_fault_that_others_disturb_is_never_evidence_and_twice_ends_the_run() -> None:
    simulated, heard = world(cliff(0.005)), Heard()
    simulated.disturbed = lambda severity: ["proxy inventory is gone"]
    campaign = run(scenario(over=ladder(0.01, 0.3)), simulated, sinks=[heard])
    assert exit_of(campaign) == Exit.HARNESS
    assert "disturbed by others: proxy inventory is gone, 2 times in a row" in (
        stopped(campaign).reason
    )
    assert len(campaign.exposures) == 2
    assert gains(campaign) == 0.0
    assert nothing_left(simulated)
    assert stopped(campaign).clean


@pytest.mark.parametrize("disturbed", [[2], [1, 3, 5]])
def test_a_fault_that_others_disturb_now_and_then_costs_these_exposures(
    disturbed: list[int],
) -> None:
    simulated, looks = world(cliff(0.2)), count(1)
    simulated.disturbed = lambda severity: ["no toxic"] if next(looks) in disturbed else []
    campaign = run(scenario(), simulated)
    assert exit_of(campaign) == Exit.ANSWERED
    verdicts_on = [(each.n, each.validity) for each in campaign.exposures]
    void = [(n, why) for n, why in verdicts_on if why is not None and not why.valid]
    assert [n for n, _ in void] == disturbed
    assert all(why.blind for _, why in void)  # found without a look at what the canary answered


def test_after_a_removal_that_had_to_cut_connections_nothing_more_is_injected() -> None:
    simulated = world(cliff(0.2))

    def hangs(severity: float) -> list[str]:
        simulated.cuts += 1  # in the removal that follows
        return []

    simulated.disturbed = hangs
    campaign = run(scenario(), simulated)
    assert exit_of(campaign) == Exit.HARNESS
    assert "nothing more is injected" in stopped(campaign).reason
    assert len(campaign.exposures) == 1
    last = campaign.exposures[-1].validity
    assert last is not None and last.valid  # it was over before
    assert stopped(campaign).clean


def test_a_path_that_others_have_closed_is_theirs_and_not_left_behind() -> None:
    simulated = world(cliff(0.2))
    simulated.disturbed = lambda severity: ["proxy inventory is disabled"]
    simulated.others = Trouble("proxy inventory was disabled by others")
    campaign = run(scenario(), simulated)
    assert exit_of(campaign) == Exit.HARNESS
    assert stopped(campaign).reason == "proxy inventory was disabled by others"
    assert not stopped(campaign).clean
    assert len(campaign.exposures) == 1


def test_in_edge_an_interrupt_while_leaving_does_not_forget_what_was_injected() -> None:
    """Cancelled at each event in turn, also while the clean proxy is taken away."""
    for at in range(1, all_events()):
        simulated = Edge(NEVER, generator(1), felt=lambda s: min(s, 0.1))
        heard, campaign = asyncio.run(cancelled(SHORT, simulated, (at, at + 2)))
        assert nothing_left(simulated)
        assert isinstance(heard.events[-1], Stopped)
        if heard.of(ExposureStarted):
            assert stopped(campaign).clean_why != "nothing was injected"


# --- evidence in order of sending -----------------------------------------------------------------


class Stubborn:
    """Bets that the one arm holds until that is certified or `limit` samples are spent."""

    name = "stubborn"
    limit = 900

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """Always the same bet."""
        if climb.certificate.held_arm is not None:
            return Stop("held")  # the certificate alone is looked at
        if climb.spent_samples >= self.limit:
            return Stop("not certified")
        tau = climb.slos[0].bad_ratio
        return Expose(climb.ladder.variant(0), 50, Purpose.HELD, (0.4 * tau,))


TAU = 0.05
RUNS = 40


def false_held(first_seed: int) -> int:
    """How often an arm that fails exactly as often as allowed is certified to hold."""
    asked = replace(
        scenario(
            SLO("answered", SLI("any status", ((200, 399),)), 1 - TAU),
            over=ladder(0.1, 0.1),
            check=False,
            search=Search(hold_s=0.0),
            guardrails=Guardrails(max_unresolved=500, abort_if_bad_in_a_row=50),
        ),
        budget=ErrorBudget(1.0, 10_000_000, 0.5),
    )
    found = 0
    for seed in range(first_seed, first_seed + RUNS):
        simulated = world(
            lambda severity: TAU if severity else 0.0, seed, bad_latency_s=1.9, felt=lambda s: s
        )
        campaign = run(asked, simulated, seed=seed, by=Stubborn())
        assert stopped(campaign).reason in ("held", "not certified")
        found += only(campaign).certificate.held_arm is not None
    return found


@pytest.mark.statistics
@pytest.mark.parametrize("chunk", range(6))
def test_at_the_objective_itself_held_is_no_more_often_claimed_than_promised(chunk: int) -> None:
    assert false_held(1000 * chunk) <= binom.ppf(0.9995, RUNS, 0.05)


def test_in_order_of_completion_the_same_evidence_would_lie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_once(order: SendOrder[Any], sample: Sample) -> list[tuple[Any, Sample]]:
        order._sent[sample.route].remove(sample.seq)
        return [(order._tickets.pop(sample.seq), sample)]

    monkeypatch.setattr(SendOrder, "done", at_once)
    assert false_held(0) > 2 * binom.ppf(0.9995, RUNS, 0.05)


def test_signals_are_told_from_routes() -> None:
    assert {each.value for each in Signal} == {"skip", "end"}


# --- what must not be blamed on the dose, nor certified -------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_target_that_gets_worse_by_itself_is_no_breaking_point(seed: int) -> None:
    """Ten seconds in, canary and control alike fail 5 % of requests; latency does no harm."""
    simulated = world(NEVER, seed, control_bad_ratio=lambda now_s: 0.05 if now_s > 10.0 else 0.0)
    simulated.response = lambda severity: 0.05 if simulated.time_s > 10.0 else 0.0
    campaign = run(scenario(timing=Timing()), simulated)
    assert exit_of(campaign) != Exit.ANSWERED, stopped(campaign).reason


@pytest.mark.parametrize("lag_s", [0.0, 0.014])
def test_our_own_lag_is_not_the_targets_latency_when_it_breaks(lag_s: float) -> None:
    """Bad only through a late send: evidence for "broke" must not move, for "held" it may."""
    asked = scenario(LATENCY)
    seen = start_of_broke(asked, latency_s=0.295 + lag_s, lag_s=lag_s)
    assert only(seen).certificate.own_broke(0) < 0.0


def start_of_broke(asked: Scenario, latency_s: float, lag_s: float) -> Campaign:
    """One measured sample under a bet that the mildest arm breaks."""
    bet = Expose(asked.ladder.variant(0), 5, Purpose.BROKE, (0.5,))
    sent = Sample(1, Route.CANARY, 1.0, 1.0 + lag_s, latency_s, Outcome.RESPONSE, 200)
    late = scored(asked.slos, sent)
    campaign = opening(asked)
    for event in (
        Decided(0, bet, 0, 0.0),
        ExposureStarted(1, 0, asked.ladder.severities[0], "fault", 0.0),
        Observed(Phase.MEASURE, 0, (late,)),
    ):
        campaign = apply(campaign, event)
    return campaign


class Clumsy(World):
    """The canary fails twelve requests in a row now and then, above severity 0."""

    __slots__ = ("left",)

    def _sample(self, seq: int, route: Route) -> Sample:
        sample = super()._sample(seq, route)
        if route is not Route.CANARY or not self.severity:
            return sample
        self.left = getattr(self, "left", 0)
        if not self.left and self.rng.random() < 0.0005:
            self.left = 12
        if not self.left:
            return sample
        self.left -= 1
        return replace(sample, status=503)


def refolded(asked: Scenario, events: Sequence[Event], block: int) -> Campaign:
    """The same run, had steady state shown clumps that ask for such blocks."""
    campaign = opening(asked)
    for event in events:
        if isinstance(event, SteadyStateMeasured):
            event = replace(event, block=block)
        if not isinstance(event, BlockRaised):
            campaign = apply(campaign, event)
    return campaign


def test_failures_in_clumps_are_weighed_anew_in_longer_blocks_and_the_run_goes_on() -> None:
    raised, asked = 0, scenario(over=ladder(0.01, 0.3), search=Search(max_samples=4000))
    for seed in range(24):
        simulated = Clumsy(NEVER, generator(seed), felt=lambda severity: min(severity, 0.1))
        heard = Heard()
        campaign = run(asked, simulated, sinks=[heard])
        blocks = heard.of(BlockRaised)
        if not blocks:
            continue
        raised += 1
        last = blocks[-1]
        assert last.block == 4 * last.clump > 40
        exposures = [e.now_s for e in heard.of(ExposureStarted)]
        assert last.now_s < max(exposures), "the run went on"
        found = only(campaign).certificate
        assert found.block == last.block
        anew = only(refolded(asked, heard.events, last.block)).certificate
        assert found.log_e == pytest.approx(anew.log_e)
        assert found.peak == pytest.approx(anew.peak)
        # 4000 samples in blocks of 48 show what 83 would: no severity is certified by them.
        assert bracketing(campaign).held is None
        assert replay(heard.events, asked, policy("certify")).difference is None
    assert raised >= 2


def test_an_arm_that_always_fails_is_no_clump() -> None:
    campaign = run(scenario(), world(cliff(0.2, above=1.0)))
    assert max(exposure.bad_in_a_row for exposure in campaign.exposures) >= 2
    assert judge.clumped(campaign) == 0
    assert exit_of(campaign) == Exit.ANSWERED


# --- the kill switch ------------------------------------------------------------------------------


class Switch:
    """A kill switch that is pulled at the n-th look, or while an exposure stands."""

    def __init__(self, at_look: float = math.inf, after_samples: float = math.inf) -> None:
        self.at_look, self.after_samples = at_look, after_samples
        self.looks = 0
        self.heard = Heard()

    async def pulled(self) -> str | None:
        self.looks += 1
        return "kill switch: /freeze says freeze" if self.looks >= self.at_look else None

    async def wait(self) -> str:
        while True:
            await asyncio.sleep(0)
            measured = [
                event
                for event in self.heard.events
                if isinstance(event, Observed) and event.phase in (Phase.WARMUP, Phase.MEASURE)
            ]
            if len(measured) >= self.after_samples:
                return "kill switch: /freeze says freeze"


def test_a_pulled_kill_switch_lets_nothing_begin() -> None:
    switch, simulated = Switch(at_look=1), world(cliff(0.2))
    campaign = run(scenario(), simulated, kill_switch=switch)
    assert simulated.calls == []
    assert not campaign.steady_samples
    assert exit_of(campaign) == Exit.GUARDRAIL
    assert stopped(campaign).reason == "kill switch: /freeze says freeze"
    assert stopped(campaign).clean


def test_the_kill_switch_is_looked_at_before_each_exposure() -> None:
    for look in (2, 3, 4):
        switch, simulated = Switch(at_look=look), world(cliff(0.2))
        campaign = run(scenario(), simulated, kill_switch=switch)
        assert len(campaign.exposures) == look - 2
        assert nothing_left(simulated)
        assert exit_of(campaign) == Exit.GUARDRAIL
        assert stopped(campaign).clean


def test_a_standing_fault_goes_at_once_when_the_kill_switch_is_pulled() -> None:
    switch = Switch(after_samples=30)
    simulated = Polite(cliff(0.2), generator(1))
    campaign = run(scenario(), simulated, sinks=[switch.heard], kill_switch=switch)
    assert nothing_left(simulated)
    *_, ended = (event for event in switch.heard.events if isinstance(event, ExposureEnded))
    assert not ended.validity.valid
    assert ended.validity.why == "kill switch: /freeze says freeze"
    assert exit_of(campaign) == Exit.GUARDRAIL
    assert stopped(campaign).clean  # the path was looked at after the removal
    assert campaign.washed_out == ended.n


def test_a_switch_nobody_pulls_changes_nothing() -> None:
    switch, heard, untouched = Switch(), Heard(), Heard()
    run(SHORT, Polite(cliff(0.2), generator(1)), sinks=[heard], kill_switch=switch)
    run(SHORT, Polite(cliff(0.2), generator(1)), sinks=[untouched])
    assert words(heard.events) == words(untouched.events)
    assert switch.looks == 1 + sum(isinstance(e, ExposureStarted) for e in heard.events)
