"""Campaigns folded by hand: a steady state, and exposures with the samples one wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chaosbandit.core import steady_state as steadiness
from chaosbandit.core.campaign import Campaign, apply
from chaosbandit.core.events import Decided, ExposureEnded, ExposureStarted, Observed
from chaosbandit.core.model import (
    Dose,
    Expose,
    Health,
    Phase,
    Purpose,
    Route,
    Sample,
    Validity,
)
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.slo import SLO, scored
from tests.simulated import ladder, sample, scenario

ARMS = ladder(0.1, 0.2)  # 100, 102, 105, 107, 110, 113, ...
Q_HELD, Q_BROKE = 0.001, 0.9


def row(n: int, bad: int = 0, route: Route = Route.CANARY, latency_s: float = 0.02) -> list[Sample]:
    """n samples, the last ones bad."""
    return [sample(seq, bad=seq >= n - bad, route=route, latency_s=latency_s) for seq in range(n)]


def rescored(slos: Sequence[SLO], samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The samples as they would have been scored for these SLOs."""
    return tuple(scored(tuple(slos), each) for each in samples)


def steady(asked: Scenario, canary: Sequence[Sample], control: Sequence[Sample]) -> Campaign:
    """A campaign that saw these samples before any fault."""
    controls = [replace(each, route=Route.CONTROL) for each in control]
    campaign = opening(asked)
    for samples in (canary, controls):
        event = Observed(Phase.STEADY, None, rescored(asked.slos, samples))
        campaign = apply(campaign, event)
    return campaign


def checked(campaign: Campaign, *checks: Sample) -> Campaign:
    """And these answers of the dependency."""
    scored_checks = rescored(campaign.slos, checks)
    return apply(campaign, Observed(Phase.STEADY, None, scored_checks, "inventory"))


def measured(asked: Scenario, check_s: float | None = 0.005) -> Campaign:
    """A campaign whose steady state was met."""
    campaign = steady(asked, row(100), row(100))
    if check_s is not None:
        campaign = checked(campaign, *row(5, route=Route.CHECK, latency_s=check_s))
    return apply(campaign, steadiness.steady_measured(campaign, True, "", 5.0))


def standing(
    campaign: Campaign, arm: int, purpose: Purpose, flags: Sequence[bool], apart_s: float = 0.020
) -> Campaign:
    """An open exposure that measured these canary requests, with bets that pay."""
    n, number = len(campaign.exposures) + 1, len(campaign.decisions)
    variant = campaign.newest.variant(arm)
    q = {Purpose.HELD: Q_HELD, Purpose.BROKE: Q_BROKE}.get(purpose)
    bets = () if q is None else (q,) * len(campaign.slos)
    decision = Expose(variant, max(1, len(flags)), purpose, bets)
    samples = [
        replace(sample(seq, bad=bad), intended_s=seq * apart_s, started_s=seq * apart_s)
        for seq, bad in enumerate(flags)
    ]
    for event in (
        Decided(number, decision, 0, 0.0),
        ExposureStarted(n, arm, variant.severity, "fault", 0.0),
        Observed(Phase.MEASURE, number, rescored(campaign.slos, samples)),
    ):
        campaign = apply(campaign, event)
    return campaign


def closed(
    campaign: Campaign, dose: Dose | None = None, validity: Validity | None = None
) -> Campaign:
    """With the open exposure ended, by default as a valid one."""
    current = campaign.current
    assert current is not None
    given, kept = dose or Dose(current.severity), validity or Validity(True)
    end = ExposureEnded(current.n, current.arm, kept, given, Health(), 0, None, 1.0)
    return apply(campaign, end)


def exposed(
    campaign: Campaign,
    arm: int,
    purpose: Purpose,
    good: int,
    bad: int,
    dose: Dose | None = None,
    apart_s: float = 0.020,
) -> Campaign:
    """One valid exposure; the bad ones come last."""
    flags = [False] * good + [True] * bad
    return closed(standing(campaign, arm, purpose, flags, apart_s), dose)


def bracketed(asked: Scenario | None = None) -> Campaign:
    """Certified: 105 ms holds (for 8.4 s), 113 ms broke (in one exposure)."""
    campaign = measured(asked or scenario(over=ARMS))
    campaign = exposed(campaign, 2, Purpose.HELD, 420, 0)
    campaign = exposed(campaign, 4, Purpose.SEARCH, 5, 0)
    return exposed(campaign, 5, Purpose.BROKE, 0, 2)
