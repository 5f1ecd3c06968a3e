from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from numpy.random import Generator

from chaosbandit.core.campaign import Arm, Campaign
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import BlockRaised, Decided, ExposureStarted, Observed
from chaosbandit.core.model import Decision, Expose, Outcome, Phase, Purpose, Route, Stop
from chaosbandit.core.scenario import Guardrails, Scenario, Timing
from chaosbandit.engine.recorder import Recorder
from chaosbandit.engine.sample_order import Mix
from chaosbandit.engine.sending import Batch, Sending
from chaosbandit.ports import Signal
from tests.simulated import Heard, header, knowing, ladder, only, sample, scenario, world

CANARY_ONLY = {Route.CANARY: 1.0}
ARMS = ladder(0.1, 0.2)


class Scripted:
    """A policy that says what it is told, and keeps what it was asked."""

    name = "scripted"

    def __init__(self, decisions: list[Decision]) -> None:
        self.decisions = decisions
        self.calls: list[tuple[int, int]] = []

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The next one; it stays where another arm is named."""
        assert climb.standing is not None
        self.calls.append((climb.unresolved, climb.standing))
        decision = self.decisions[0] if self.decisions else Stop("enough")
        if isinstance(decision, Expose) and decision.variant.arm == climb.standing:
            self.decisions.pop(0)
        return decision


class Script:
    """A `Sending` driven by hand: slots are asked for, outcomes are handed in."""

    def __init__(
        self,
        asked: Scenario,
        decisions: list[Decision],
        weights: Mapping[Route, float] | None = None,
        safe: bool = True,
        answered: int = 200,  # by this arm, before
        block: int = 1,
    ) -> None:
        first = decisions.pop(0)
        assert isinstance(first, Expose)
        self.world, self.heard, self.policy = (
            world(lambda severity: 0.0),
            Heard(),
            Scripted(decisions),
        )
        self.seq, self.asked, self.decisions = 0, asked, decisions
        self.recorder = Recorder(asked, self.policy, self.world, [self.heard])
        self.recorder.record(header())
        if block > 1:
            self.recorder.record(BlockRaised(block, 2, 0.0))
        arm = first.variant.arm
        self._believe(arm, safe, answered)
        self.recorder.record(Decided(0, first, 0, 0.0))
        self.recorder.record(ExposureStarted(1, arm, 0.1, "fault", 0.0))
        mix = Mix(weights or CANARY_ONLY)
        self.sending = Sending(self.world, self.recorder, mix, Batch(0, first), 0.0)

    def _believe(self, arm: int, safe: bool, answered: int) -> None:
        climb = only(self.campaign)
        at, good, bad = (len(ARMS.severities) - 1, 400, 0) if safe else (arm, 0, 5)
        beliefs = tuple(belief.observe(at, good, bad) for belief in climb.beliefs)
        arms = [*climb.arms]
        arms[arm] = Arm(answered, (0,), 0)
        self.recorder.campaign = knowing(self.campaign, beliefs=beliefs, arms=tuple(arms))

    @property
    def campaign(self) -> Campaign:
        return self.recorder.campaign

    @property
    def calls(self) -> list[tuple[int, int]]:
        """What the policy was asked: (unresolved, arm that stands)."""
        return self.policy.calls

    def slot(self, after_s: float = 0.02) -> Route | Signal:
        """What the next slot sends."""
        self.world.time_s += after_s
        self.seq += 1
        return self.sending.feed(self.seq)

    def slots(self, n: int) -> list[Route | Signal]:
        return [self.slot() for _ in range(n)]

    def back(self, *seqs: int, bad: Sequence[int] = ()) -> None:
        """Outcomes in this order."""
        for seq in seqs:
            self.sending.receive(sample(seq, bad=seq in bad))

    def learnt(self) -> list[tuple[Phase, int | None, int]]:
        seen: list[Observed] = self.heard.of(Observed)
        return [(each.phase, each.decision, each.samples[0].seq) for each in seen]


def expose(
    samples: int, purpose: Purpose = Purpose.SEARCH, arm: int = 3, ends: int | None = None
) -> Expose:
    q = {Purpose.HELD: (0.001,), Purpose.BROKE: (0.03,), Purpose.SEARCH: (), Purpose.HOLD: ()}[
        purpose
    ]
    return Expose(ARMS.variant(arm), samples, purpose, q, ends)


def asked(limits: Guardrails | None = None, spend: float = 0.05) -> Scenario:
    none = Timing(warmup_s=0.0, warmup_samples=0)
    return scenario(over=ARMS, guardrails=limits, timing=none, spend=spend)


SENT, SKIP, END = Route.CANARY, Signal.SKIP, Signal.END


def test_a_batch_goes_out_and_its_end_is_waited_for() -> None:
    script = Script(asked(), [expose(3)])
    assert script.slots(5) == [SENT, SENT, SENT, SKIP, SKIP]
    script.back(1, 2)
    assert script.slot() is SKIP
    assert script.calls == []  # a search is only asked on when its answers are in
    script.back(3)
    assert script.slot() is END
    assert script.calls == [(0, 3)]


def test_the_arm_that_stands_is_extended_and_samples_know_their_decision() -> None:
    script = Script(asked(), [expose(2), expose(1), expose(5, arm=4)])
    assert script.slots(2) == [SENT, SENT]
    script.back(1, 2)
    assert script.slot() is SENT
    script.back(3)
    assert script.slot() is END  # the next decision names another arm
    assert script.learnt() == [
        (Phase.MEASURE, 0, 1),
        (Phase.MEASURE, 0, 2),
        (Phase.MEASURE, 1, 3),
    ]
    assert len(script.decisions) == 1


@pytest.mark.parametrize("purpose", [Purpose.HELD, Purpose.HOLD])
def test_what_speaks_for_an_arm_that_holds_goes_on_without_the_newest_answers(
    purpose: Purpose,
) -> None:
    script = Script(asked(), [expose(2, purpose), expose(2, Purpose.HELD)])
    assert script.slots(4) == [SENT] * 4
    assert script.calls == [(2, 3)]
    assert script.slot() is SKIP  # the policy says stop; what is out is awaited
    script.back(1, 2, 3, 4)
    assert script.slot() is END


@pytest.mark.parametrize("purpose", [Purpose.SEARCH, Purpose.BROKE])
def test_enough_bad_samples_end_a_batch(purpose: Purpose) -> None:
    script = Script(asked(), [expose(50, purpose, ends=2)])
    assert script.slots(4) == [SENT] * 4
    script.back(1, 2, bad=[2])
    assert script.slot() is SENT
    script.back(3, bad=[3])
    assert script.slot() is SKIP
    script.back(4, 5)
    assert script.slot() is END


def test_bad_samples_do_not_end_a_batch_that_certifies_held() -> None:
    script = Script(asked(), [expose(50, Purpose.HELD)])
    script.slots(6)
    script.back(1, 2, 3, 4, 5, 6, bad=[2, 4, 6])
    assert script.slot() is SENT


def test_a_closed_certificate_ends_a_batch() -> None:
    script = Script(asked(), [expose(50, Purpose.BROKE)])
    assert script.slots(3) == [SENT] * 3
    script.back(1, 2, 3, bad=[1, 2, 3])  # three times log(0.03 / 0.01) is above log 20
    assert script.slot() is END


def test_evidence_leaves_in_order_of_sending() -> None:
    script = Script(asked(), [expose(4)])
    script.slots(4)
    script.back(4, 3, 2)
    assert script.learnt() == []
    script.back(1)
    assert [seq for _, _, seq in script.learnt()] == [1, 2, 3, 4]


def test_a_warm_up_comes_first_and_is_no_evidence() -> None:
    timing = Timing(warmup_s=0.1, warmup_samples=2)
    script = Script(scenario(over=ARMS, timing=timing), [expose(2)])
    # 20 ms slots: the second warm-up request at 50 ms, measuring from 100 ms on
    assert script.slots(7) == [SENT, SKIP, SENT, SKIP, SENT, SENT, SKIP]
    script.back(1, 3, 5, 6)
    assert script.learnt() == [
        (Phase.WARMUP, None, 1),
        (Phase.WARMUP, None, 3),
        (Phase.MEASURE, 0, 5),
        (Phase.MEASURE, 0, 6),
    ]


def test_a_warm_up_that_only_fails_ends_at_its_third_answer_and_its_arm_is_still_measured() -> None:
    timing = Timing(warmup_s=1.0, warmup_samples=20)
    limits = Guardrails(abort_if_bad_in_a_row=2)
    script = Script(scenario(over=ARMS, timing=timing, guardrails=limits), [expose(2)])
    for seq in (1, 2, 3):
        assert script.slot(0.05) is SENT
        script.back(seq, bad=[seq])
    assert script.sending.halted is None
    assert script.slot(0.05) is SENT  # 0.2 s after the start, at the fourth request
    script.back(4, bad=[4])
    assert script.learnt()[-2:] == [(Phase.WARMUP, None, 3), (Phase.MEASURE, 0, 4)]
    assert script.sending.halted is None


def test_one_good_answer_makes_a_warm_up_as_long_as_any() -> None:
    timing = Timing(warmup_s=1.0, warmup_samples=20)
    script = Script(scenario(over=ARMS, timing=timing), [expose(2)])
    for seq in range(1, 21):
        assert script.slot(0.05) is SENT
        script.back(seq, bad=[seq] if seq != 2 else [])
    assert {phase for phase, _, _ in script.learnt()} == {Phase.WARMUP}
    assert script.slot(0.05) is SENT
    script.back(21)
    assert script.learnt()[-1] == (Phase.MEASURE, 0, 21)


@pytest.mark.parametrize(("rate_per_s", "warmed"), [(50.0, 5), (500.0, 5)])
def test_a_warm_up_is_five_requests_at_any_rate(rate_per_s: float, warmed: int) -> None:
    script = Script(scenario(over=ARMS, timing=Timing(), rate_per_s=rate_per_s), [expose(9)])
    for _ in range(round(0.4 * rate_per_s)):
        if script.slot(1.0 / rate_per_s) is SENT:
            script.back(script.seq)
    phases = [phase for phase, _, _ in script.learnt()]
    assert phases == [Phase.WARMUP] * warmed + [Phase.MEASURE] * (len(phases) - warmed)
    measured = [seq for phase, _, seq in script.learnt() if phase is Phase.MEASURE]
    assert measured[0] / rate_per_s == pytest.approx(0.3, abs=2 / rate_per_s)


def test_bad_samples_in_a_row_stop_the_sending() -> None:
    limits = Guardrails(abort_if_bad_in_a_row=3)
    script = Script(asked(limits), [expose(50, Purpose.HELD)])
    script.slots(5)
    halted = []
    for seq in (2, 3, 4):  # completed in a row, though 1 is still out
        script.back(seq, bad=[seq])
        halted.append(script.sending.halted is not None)
    assert halted == [False, False, True]
    assert script.slot() is END


def test_at_a_risky_arm_few_requests_are_unresolved() -> None:
    risky = Script(asked(Guardrails(max_unresolved=3)), [expose(50)], safe=False)
    assert risky.slots(6) == [SENT] * 3 + [SKIP] * 3
    risky.back(2, 3)
    assert risky.slot() is SKIP  # finished, yet not resolved while 1 is out
    risky.back(1)
    assert risky.slots(4) == [SENT] * 3 + [SKIP]


@pytest.mark.parametrize(("answered", "in_flight"), [(0, 3), (6, 3), (8, 4), (40, 20), (41, 20)])
def test_an_arm_believed_to_hold_earns_its_pipeline(answered: int, in_flight: int) -> None:
    script = Script(asked(Guardrails(max_unresolved=3)), [expose(50)], answered=answered)
    assert script.slots(30) == [SENT] * in_flight + [SKIP] * (30 - in_flight)


def test_unresolved_requests_never_exceed_what_is_left_of_the_budget() -> None:
    script = Script(asked(spend=0.0015), [expose(50, Purpose.HELD)])  # 30 bad, 25 for wash-outs
    assert script.slots(8) == [SENT] * 5 + [SKIP] * 3
    script.back(1, 2)
    assert script.slots(4) == [SENT] * 2 + [SKIP] * 2
    script.back(3, 4, bad=[3, 4])
    assert script.slots(2) == [SKIP] * 2
    script.back(5, 9, 10, bad=[5, 9, 10])
    assert script.sending.halted is not None
    assert script.slot() is END
    assert script.campaign.budget_left() == 25


def test_an_exposure_is_over_when_its_time_is() -> None:
    script = Script(asked(Guardrails(max_exposure_s=1.0)), [expose(500, Purpose.HELD)])
    assert script.slot(0.5) is SENT
    assert script.slot(0.49) is SENT
    assert script.slot(0.01) is END


@pytest.mark.parametrize(
    ("purpose", "block", "most"),
    [(Purpose.HELD, 1, 49), (Purpose.HELD, 8, 48), (Purpose.HELD, 80, 49), (Purpose.SEARCH, 8, 49)],
)
def test_a_held_block_begins_only_where_it_can_end(purpose: Purpose, block: int, most: int) -> None:
    """Its rest would count as bad; but the first of an exposure begins."""
    limits = Guardrails(max_exposure_s=0.995)
    script = Script(asked(limits), [expose(500, purpose)], block=block)
    for number in range(1, 60):
        if script.slot() is SENT:
            script.back(number)
    assert script.slot() is END
    assert len(script.learnt()) == most


@pytest.mark.parametrize("route", [Route.CANARY, Route.CONTROL])
def test_an_answer_to_us_as_a_client_stops_the_sending(route: Route) -> None:
    script = Script(asked(), [expose(50)], weights={Route.CANARY: 1.0, Route.CONTROL: 1.0})
    sent = script.slots(4)
    assert sent == [Route.CANARY, Route.CONTROL] * 2
    seq = sent.index(route) + 1
    script.sending.receive(sample(seq, route=route, status=429))
    assert script.sending.refused is not None
    assert f"429 on the {route} route" in script.sending.refused
    assert script.slot() is END


def test_other_routes_go_on_while_the_canary_waits() -> None:
    weights = {Route.CANARY: 1.0, Route.CONTROL: 0.5, Route.CHECK: 0.5}
    script = Script(asked(), [expose(1)], weights=weights)
    sent = script.slots(8)
    assert sent.count(Route.CANARY) == 1
    assert sent.count(Route.CONTROL) == sent.count(Route.CHECK) == 2
    assert sent.count(SKIP) == 3


def test_what_could_not_be_sent_counts_as_bad() -> None:
    script = Script(asked(Guardrails(abort_if_bad_in_a_row=2)), [expose(50)])
    script.slots(2)
    for seq in (1, 2):
        script.sending.receive(sample(seq, outcome=Outcome.OVERLOAD))
    assert script.sending.halted is not None


@pytest.mark.parametrize(("anew", "goes_on"), [(False, SENT), (True, END)])
def test_a_decision_may_ask_for_another_exposure_of_the_arm_that_stands(
    anew: bool, goes_on: Route | Signal
) -> None:
    script = Script(asked(), [expose(1), replace(expose(1), anew=anew)])
    assert script.slot() is SENT
    script.back(1)
    assert script.slot() is goes_on
    assert len(script.campaign.decisions) == 1 + (not anew)  # who exposes again decides again
