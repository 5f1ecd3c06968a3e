from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from chaosbandit.core.campaign import Arm, Decided, ExposureStarted, Observed, apply
from chaosbandit.core.dispatch import Mix
from chaosbandit.core.model import Decision, Expose, Outcome, Phase, Purpose, Route, Stop, Variant
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Guardrails, Scenario, Timing
from chaosbandit.ports import Signal
from chaosbandit.sending import Batch, Sending
from tests.simulated import header, ladder, sample, scenario

CANARY_ONLY = {Route.CANARY: 1.0}
ARMS = ladder(0.1, 0.2)


@dataclass
class Script:
    """A `Sending` driven by hand: slots are asked for, outcomes are handed in."""

    asked: Scenario
    decisions: list[Decision]
    weights: dict[Route, float] = field(default_factory=lambda: dict(CANARY_ONLY))
    warmup: int = 0
    safe: bool = True
    answered: int = 200  # by this arm, before
    time_s: float = 0.0
    seq: int = 0
    calls: list[tuple[int, int]] = field(default_factory=list)
    recorded: list[Observed] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.decisions.pop(0)
        assert isinstance(first, Expose)
        arm = first.variant.arm
        self.campaign = apply(opening(self.asked), header())
        if self.safe:
            top = len(ARMS.severities) - 1
            beliefs = tuple(each.observe(top, 400, 0) for each in self.campaign.beliefs)
        else:
            beliefs = tuple(each.observe(arm, 0, 5) for each in self.campaign.beliefs)
        arms = [*self.campaign.arms]
        arms[arm] = Arm(self.answered, (0,), 0)
        self.campaign = self.campaign.with_climb(beliefs=beliefs, arms=tuple(arms))
        self._decide(first)
        self.campaign = apply(self.campaign, ExposureStarted(1, arm, 0.1, "fault", 0.0))
        self.sending = Sending(
            now_s=lambda: self.time_s,
            campaign=lambda: self.campaign,
            record=self._record,
            extend=self._extend,
            mix=Mix(self.weights),
            batch=Batch(0, first),
            started_s=0.0,
            warmup_samples=self.warmup,
        )

    def _decide(self, decision: Decision) -> int:
        number = len(self.campaign.decisions)
        self.campaign = apply(self.campaign, Decided(number, decision, 0, 0.0))
        return number

    def _record(self, event: Observed) -> None:
        self.recorded.append(event)
        self.campaign = apply(self.campaign, event)

    def _extend(self, unresolved: int, standing: Variant) -> tuple[int, Decision]:
        arm = standing.arm
        self.calls.append((unresolved, arm))
        decision = self.decisions[0] if self.decisions else Stop("enough")
        if isinstance(decision, Expose) and decision.variant.arm == arm:
            return self._decide(self.decisions.pop(0)), decision
        return -1, decision

    def slot(self, after_s: float = 0.02) -> Route | Signal:
        """What the next slot sends."""
        self.time_s += after_s
        self.seq += 1
        return self.sending.feed(self.seq)

    def slots(self, n: int) -> list[Route | Signal]:
        return [self.slot() for _ in range(n)]

    def back(self, *seqs: int, bad: Sequence[int] = ()) -> None:
        """Outcomes in this order."""
        for seq in seqs:
            self.sending.receive(sample(seq, bad=seq in bad))

    def learnt(self) -> list[tuple[Phase, int | None, int]]:
        return [(each.phase, each.decision, each.samples[0].seq) for each in self.recorded]


def expose(
    samples: int, purpose: Purpose = Purpose.SEARCH, arm: int = 3, ends: int | None = None
) -> Expose:
    q = {Purpose.HELD: (0.001,), Purpose.BROKE: (0.03,), Purpose.SEARCH: ()}[purpose]
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


def test_certifying_that_an_arm_holds_goes_on_without_the_newest_answers() -> None:
    script = Script(asked(), [expose(2, Purpose.HELD), expose(2, Purpose.HELD)])
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
    script = Script(scenario(over=ARMS, timing=timing), [expose(2)], warmup=2)
    # 20 ms slots: the second warm-up request at 50 ms, measuring from 100 ms on
    assert script.slots(7) == [SENT, SKIP, SENT, SKIP, SENT, SENT, SKIP]
    script.back(1, 3, 5, 6)
    assert script.learnt() == [
        (Phase.WARMUP, None, 1),
        (Phase.WARMUP, None, 3),
        (Phase.MEASURE, 0, 5),
        (Phase.MEASURE, 0, 6),
    ]


def test_a_warm_up_that_fails_is_as_long_as_any_and_its_arm_is_still_measured() -> None:
    timing = Timing(warmup_s=1.0, warmup_samples=20)
    limits = Guardrails(abort_if_bad_in_a_row=6)
    script = Script(scenario(over=ARMS, timing=timing, guardrails=limits), [expose(2)], warmup=20)
    for seq in range(1, 21):
        assert script.slot(0.05) is SENT
        script.back(seq, bad=[seq])
    script.time_s = 1.0
    assert script.slot(0.0) is SENT
    assert script.sending.halted is None
    script.back(script.seq, bad=[script.seq])
    assert script.learnt()[-1] == (Phase.MEASURE, 0, script.seq)


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
    script = Script(asked(spend=0.0005), [expose(50, Purpose.HELD)])  # 10 bad, 5 for the wash-out
    assert script.slots(8) == [SENT] * 5 + [SKIP] * 3
    script.back(1, 2)
    assert script.slots(4) == [SENT] * 2 + [SKIP] * 2
    script.back(3, 4, bad=[3, 4])
    assert script.slots(2) == [SKIP] * 2
    script.back(5, 9, 10, bad=[5, 9, 10])
    assert script.sending.halted is not None
    assert script.slot() is END
    assert script.campaign.budget_left() == 5


def test_an_exposure_is_over_when_its_time_is() -> None:
    script = Script(asked(Guardrails(max_exposure_s=1.0)), [expose(500, Purpose.HELD)])
    assert script.slot(0.5) is SENT
    assert script.slot(0.49) is SENT
    assert script.slot(0.01) is END


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
