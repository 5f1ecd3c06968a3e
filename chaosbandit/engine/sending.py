"""What goes out at each slot of one exposure, and what comes back.

    slot -> Mix -> control / check: sent
                -> canary: halted? END · too much unresolved? SKIP · warm-up · batch · next decision

`Sending` decides nothing about arms: when a batch is out it asks for the next decision, and stays
as long as that names the arm that stands. Samples come back in any order and leave in order of
sending.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from chaosbandit.core import guardrail
from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Expose, Phase, Purpose, Route, Sample
from chaosbandit.core.scenario import Scenario
from chaosbandit.engine.recorder import Recorder
from chaosbandit.engine.sample_order import Mix, SendOrder
from chaosbandit.ports import Clock, Signal

Note = tuple[Phase, int | None]  # what a sample was sent for, and under which decision


@dataclass(slots=True)
class Batch:
    """The decision that samples are being sent for."""

    number: int
    decision: Expose
    sent: int = 0
    bad: int = 0
    over: bool = False

    @property
    def out(self) -> bool:
        """Whether nothing more is to be sent for it."""
        return self.over or self.sent >= self.decision.samples


@dataclass(slots=True)
class Sending:
    """The state of one exposure's stream; `feed` and `receive` are called from one event loop."""

    clock: Clock
    recorder: Recorder
    mix: Mix
    batch: Batch
    started_s: float
    order: SendOrder[Note] = field(default_factory=SendOrder)
    halted: str | None = None  # a guardrail's reason
    refused: str | None = None  # the target refuses us as a client
    _cautious: bool | None = None  # the arm is risky, as far as the newest bad answer tells
    _warmed: int = 0  # warm-up requests sent
    _warm: list[Sample] = field(default_factory=list)  # and their answers
    _measured_from: float = math.inf  # seq of the first measured canary request
    _measured: list[Sample] = field(default_factory=list)
    _number: int = field(init=False)  # of the ladder
    _kept_back: int = field(init=False)  # bad requests for the look at the path afterwards

    def __post_init__(self) -> None:
        campaign, variant = self.recorder.campaign, self.batch.decision.variant
        self._number = campaign.number_of(variant.ladder)
        self._kept_back = guardrail.reserve(campaign.scenario)

    @property
    def climb(self) -> Climb:
        """The ladder that is exposed, as it is now."""
        return Climb(self.recorder.campaign, self._number)

    @property
    def _left_s(self) -> float:
        """What is left of `guardrails.max_exposure`."""
        limits = self.recorder.campaign.scenario.guardrails
        return limits.max_exposure_s - (self.clock.now_s() - self.started_s)

    def feed(self, seq: int) -> Route | Signal:
        """What slot `seq` sends."""
        if self._left_s <= 0.0 or self.halted is not None or self.refused is not None:
            return Signal.END
        route = self.mix.next()
        if route is not Route.CANARY:
            warm = self._measured_from < math.inf
            number = self.batch.number if warm else None
            self.order.sent(seq, route, (Phase.MEASURE if warm else Phase.WARMUP, number))
            return route
        return self._canary(seq)

    def receive(self, sample: Sample) -> None:
        """Take one outcome: guardrails look at once, evidence in order of sending."""
        campaign = self.recorder.campaign
        self.refused = self.refused or guardrail.refused_as_client(campaign, sample)
        released = self.order.done(sample)
        canary = sample.route is Route.CANARY
        if canary:
            measured = sample.seq >= self._measured_from
            (self._measured if measured else self._warm).append(sample)
        for note, earlier in released:
            self._observe(note, earlier)
        if canary and self.halted is None:
            unresolved = self.order.unresolved(Route.CANARY)
            self.halted = guardrail.check(self.climb, self._measured, unresolved)

    def _canary(self, seq: int) -> Route | Signal:
        campaign, waiting = self.recorder.campaign, self.order.unresolved(Route.CANARY)
        limits = campaign.scenario.guardrails
        if self._cautious is None:  # asking the model is dear: only bad answers raise the risk
            self._cautious = guardrail.risky(self.climb, self.batch.decision.variant.arm)
        crowded = self._cautious and waiting >= limits.max_unresolved
        if crowded or campaign.budget_left() - self._kept_back <= waiting:
            return Signal.SKIP
        if self._measured_from == math.inf:
            elapsed_s = self.clock.now_s() - self.started_s
            warming = self._warm_up(seq, elapsed_s, campaign.scenario)
            if warming is not None:
                return warming
        if waiting >= limits.max_unresolved:
            arm = self.batch.decision.variant.arm
            if waiting >= guardrail.unresolved_allowed(self.climb, arm, self._cautious):
                return Signal.SKIP
        return self._measure(seq, waiting)

    def _warm_up(self, seq: int, elapsed_s: float, scenario: Scenario) -> Route | Signal | None:
        """The next warm-up request; None once it is over, which hopeless answers end at once."""
        if guardrail.hopeless(self._warm):
            return None
        wanted, warmup_s = guardrail.warmup_samples(scenario), scenario.timing.warmup_s
        if self._warmed < wanted and elapsed_s >= self._warmed * warmup_s / wanted:
            self._warmed += 1
            self.order.sent(seq, Route.CANARY, (Phase.WARMUP, None))
            return Route.CANARY
        return Signal.SKIP if self._warmed < wanted or elapsed_s < warmup_s else None

    def _measure(self, seq: int, waiting: int) -> Route | Signal:
        if self.batch.out:
            # Only what speaks for an arm that holds can go on without the newest answers.
            if self.batch.decision.purpose not in guardrail.GO_ON and waiting:
                return Signal.SKIP
            decided, standing = self.recorder.decide(waiting), self.batch.decision.variant
            decision = decided.decision
            stays = isinstance(decision, Expose) and decision.variant.same_as(standing)
            if not isinstance(decision, Expose) or not stays or decision.anew:
                return Signal.SKIP if waiting else Signal.END
            self.recorder.record(decided)  # only a decision to stay is carried out here
            self.batch, self._cautious = Batch(decided.n, decision), None
        if not self._time_for_a_block():
            return Signal.SKIP if waiting else Signal.END
        self._measured_from = min(self._measured_from, seq)
        self.batch.sent += 1
        self.order.sent(seq, Route.CANARY, (Phase.MEASURE, self.batch.number))
        return Route.CANARY

    def _time_for_a_block(self) -> bool:
        """Whether a held block that begins now can end before the exposure does.

        One that is cut is charged what was not sent of it. The first of an exposure begins anyway.
        """
        batch, block = self.batch, self.climb.certificate.block
        begins = batch.sent % block == 0 and self._measured_from < math.inf
        if block == 1 or not begins or batch.decision.purpose is not Purpose.HELD:
            return True
        return self._left_s * self.recorder.campaign.scenario.traffic.rate_per_s >= block

    def _observe(self, note: Note, sample: Sample) -> None:
        phase, number = note
        before = self.climb.certificate
        self.recorder.observe(phase, sample, number)
        if sample.route is not Route.CANARY:
            return
        spoilt = any(sample.bad)
        if spoilt:
            self._cautious = None
        if number != self.batch.number:
            return
        if sample.lag_s > self.recorder.campaign.scenario.lag_bound_s:
            self.batch.sent -= 1  # left out as too late by our fault: another one takes its place
            return
        self.batch.bad += spoilt
        limit = self.batch.decision.stop_after_bad
        enough = limit is not None and self.batch.bad >= limit
        after = self.climb.certificate
        closed = before is not after and (
            before.held_arm != after.held_arm or before.broke_arm != after.broke_arm
        )
        self.batch.over = self.batch.over or enough or closed
