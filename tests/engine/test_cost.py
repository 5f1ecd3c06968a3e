"""What one sample costs the run that takes it in: the same, however many came before it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from chaosbandit.core.campaign import apply
from chaosbandit.core.events import Decided, ExposureStarted
from chaosbandit.core.model import Expose, Purpose, Route, Sample
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Guardrails, Scenario, Search, Timing
from chaosbandit.core.slo import SLI, SLO
from chaosbandit.engine.recorder import Recorder
from chaosbandit.engine.sample_order import Mix
from chaosbandit.engine.sending import Batch, Sending
from chaosbandit.ports import Signal
from tests.simulated import (
    AVAILABILITY,
    LATENCY,
    cliff,
    header,
    ladder,
    run,
    sample,
    scenario,
    world,
)

FEW, MANY, TIMED = 1_000, 100_000, 1_000
LIMIT = 1.5  # times what a sample costs after a few


def asked(*slos: SLO, block: int | None) -> Scenario:
    return scenario(
        *slos,
        search=Search(block=block, hold_s=0.0),
        over=ladder(0.01, 1.0),
        spend=0.5,
        guardrails=Guardrails(max_exposure_s=1e9, max_unresolved=500),
        timing=Timing(warmup_s=0.0, warmup_samples=0),
    )


class Endless:
    """One exposure that goes on: requests are sent and answered one by one."""

    def __init__(self, *slos: SLO, purpose: Purpose, block: int | None = None) -> None:
        # Held evidence must not close, or the exposure would be over: just not met.
        self.slos, self.bad_every = slos, 95 if purpose is Purpose.HELD else 331
        given = asked(*slos, block=block)
        self.world, self.seq = world(lambda severity: 0.0), 0
        self.recorder = Recorder(given, policy("certify"), self.world, [])
        bets = {Purpose.HELD: 0.005, Purpose.BROKE: 0.02}
        q = (bets[purpose],) * len(slos) if purpose in bets else ()
        self.batch = Expose(given.ladder.variant(3), 10**9, purpose, q)
        campaign = self.recorder.campaign
        started = ExposureStarted(1, 3, self.batch.variant.severity, "fault", 0.0)
        for event in (header(), Decided(0, self.batch, 0, 0.0), started):
            campaign = apply(campaign, event)
        self.recorder.campaign = campaign
        mix = Mix({Route.CANARY: 1.0})
        self.sending = Sending(self.world, self.recorder, mix, Batch(0, self.batch), 0.0)

    def run(self, samples: int) -> None:
        for _ in range(samples):
            self.seq += 1
            self.world.time_s += 0.02
            sent = self.sending.feed(self.seq)
            assert sent is Route.CANARY, (self.seq, sent is Signal.SKIP, self.sending.halted)
            bad = self.seq % self.bad_every == 0
            self.sending.receive(sample(self.seq, bad=bad, slos=self.slos))


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize(
    ("slos", "purpose", "block"),
    [
        ((AVAILABILITY,), Purpose.SEARCH, None),
        ((AVAILABILITY,), Purpose.HELD, None),
        ((AVAILABILITY,), Purpose.BROKE, None),
        ((AVAILABILITY,), Purpose.HOLD, 16),
        ((AVAILABILITY, LATENCY), Purpose.BROKE, 16),
    ],
    ids=["search", "held", "broke", "hold in blocks", "two SLOs in blocks"],
)
def test_a_sample_costs_no_more_after_a_hundred_thousand_than_after_a_thousand(
    slos: tuple[SLO, ...], purpose: Purpose, block: int | None
) -> None:
    endless = Endless(*slos, purpose=purpose, block=block)
    endless.run(FEW)
    early_s = min(seconds(lambda: endless.run(TIMED)) for _ in range(5))
    endless.run(MANY - endless.seq)
    late_s = min(seconds(lambda: endless.run(TIMED)) for _ in range(5))
    assert endless.recorder.campaign.current is not None
    assert endless.recorder.campaign.current.samples > MANY
    assert late_s <= LIMIT * early_s


def test_a_sample_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the stream that takes it in: neither the fold nor a judgement asks an SLI again."""
    asked_of: list[int] = []
    real = SLI.good

    def good(self: SLI, seen: Sample) -> bool:
        asked_of.append(seen.seq)
        return real(self, seen)

    monkeypatch.setattr(SLI, "good", good)
    run(scenario(), world(cliff(0.2)))
    assert len(asked_of) == len(set(asked_of)) > 500
