"""What goes out at each slot of one exposure, and what comes back: the engine's hands.

    slot -> Mix -> control / check: sent
                -> canary: halted? END · too much unresolved? SKIP · warm-up · batch · next decision

`Sending` decides nothing about arms: it asks `extend` when a batch is out, and stays as long as the
answer names the arm that stands. Samples come back in any order and leave in order of sending.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from chaosbandit.core import guardrail
from chaosbandit.core.campaign import Campaign, Observed
from chaosbandit.core.dispatch import Mix, SendOrder
from chaosbandit.core.model import Decision, Expose, Phase, Purpose, Route, Sample, Variant
from chaosbandit.core.slo import bad_flags
from chaosbandit.ports import Signal

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

    now_s: Callable[[], float]
    campaign: Callable[[], Campaign]
    record: Callable[[Observed], None]
    extend: Callable[[int, Variant], tuple[int, Decision]]  # (unresolved, standing) -> the next
    mix: Mix
    batch: Batch
    started_s: float
    warmup_samples: int
    order: SendOrder[Note] = field(default_factory=SendOrder)
    halted: str | None = None  # a guardrail's reason
    refused: str | None = None  # the target refuses us as a client
    _warmed: int = 0
    _measured_from: float = math.inf  # seq of the first measured canary request
    _measured: list[Sample] = field(default_factory=list)

    def feed(self, seq: int) -> Route | Signal:
        """What slot `seq` sends."""
        limits = self.campaign().scenario.guardrails
        over = self.now_s() - self.started_s >= limits.max_exposure_s
        if over or self.halted is not None or self.refused is not None:
            return Signal.END
        route = self.mix.next()
        if route is not Route.CANARY:
            self.order.sent(seq, route, self._note_now())
            return route
        return self._canary(seq)

    def receive(self, sample: Sample) -> None:
        """Take one outcome: guardrails look at once, evidence in order of sending."""
        self.refused = self.refused or guardrail.refused_as_client(self.campaign(), sample)
        released = self.order.done(sample)
        if sample.route is Route.CANARY and sample.seq >= self._measured_from:
            self._measured.append(sample)
        for note, earlier in released:
            self._observe(note, earlier)
        if sample.route is Route.CANARY:
            unresolved = self.order.unresolved(Route.CANARY)
            self.halted = self.halted or guardrail.check(
                self.campaign(), self._measured, unresolved
            )

    def _note_now(self) -> Note:
        measuring = self._warmed >= self.warmup_samples
        return (Phase.MEASURE, self.batch.number) if measuring else (Phase.WARMUP, None)

    def _canary(self, seq: int) -> Route | Signal:
        campaign, waiting = self.campaign(), self.order.unresolved(Route.CANARY)
        limits, timing = campaign.scenario.guardrails, campaign.scenario.timing
        arm = self.batch.decision.variant.arm
        crowded = guardrail.risky(campaign, arm) and waiting >= limits.max_unresolved
        room = campaign.budget_left() - guardrail.reserve(campaign)
        if crowded or room <= waiting:
            return Signal.SKIP
        elapsed_s = self.now_s() - self.started_s
        if self._warmed < self.warmup_samples:
            if elapsed_s < self._warmed * timing.warmup_s / self.warmup_samples:
                return Signal.SKIP
            self._warmed += 1
            self.order.sent(seq, Route.CANARY, (Phase.WARMUP, None))
            return Route.CANARY
        crowded = waiting >= guardrail.unresolved_allowed(campaign, arm)
        if crowded or elapsed_s < timing.warmup_s:
            return Signal.SKIP
        return self._measure(seq, waiting)

    def _measure(self, seq: int, waiting: int) -> Route | Signal:
        if self.batch.out:
            # Only certifying that an arm holds can go on without the newest answers.
            if self.batch.decision.purpose is not Purpose.HELD and waiting:
                return Signal.SKIP
            standing = self.batch.decision.variant
            number, decision = self.extend(waiting, standing)
            if not isinstance(decision, Expose) or not decision.variant.same_as(standing):
                return Signal.SKIP if waiting else Signal.END
            self.batch = Batch(number, decision)
        self._measured_from = min(self._measured_from, seq)
        self.batch.sent += 1
        self.order.sent(seq, Route.CANARY, (Phase.MEASURE, self.batch.number))
        return Route.CANARY

    def _observe(self, note: Note, sample: Sample) -> None:
        phase, number = note
        before = self.campaign().certificate
        self.record(Observed(phase, number, (sample,)))
        if sample.route is not Route.CANARY or number != self.batch.number:
            return
        if sample.lag_s > self.campaign().scenario.lag_bound_s:
            self.batch.sent -= 1  # left out as too late by our fault: another one takes its place
            return
        if any(bad_flags(self.campaign().slos, sample)):
            self.batch.bad += 1
        limit = self.batch.decision.stop_after_bad
        enough = limit is not None and self.batch.bad >= limit
        closed = before.held_arm != self.campaign().certificate.held_arm or (
            before.broke_arm != self.campaign().certificate.broke_arm
        )
        self.batch.over = self.batch.over or enough or closed
