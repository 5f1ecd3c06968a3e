"""Rules of the conformance suite that ask a policy directly, about campaigns that no case leads to.

They are made by hand, event by event: void exposures, evidence that contradicts itself, a
ladder of hundreds of arms.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
from numpy.random import Generator

from chaosbandit.core.campaign import Campaign, apply, begin, measured
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import Decided, ExposureEnded, ExposureStarted, SteadyStateMeasured
from chaosbandit.core.model import Decision, Dose, Expose, Health, Purpose, Stop, Validity
from chaosbandit.core.policies import Policy
from chaosbandit.sim.conformance.cases import Case, cases, long_ladder
from chaosbandit.sim.conformance.decision_rules import complaint
from chaosbandit.sim.conformance.recording import place_of, record
from chaosbandit.sim.simulated_campaign import Mask

SLOWEST_S = 0.005  # median of a decision's CPU time


def starts_anew_after_void_exposures(policy: Policy) -> None:
    """What a void exposure saw does not count: it starts with the mildest arm again."""
    case = cases()[0]
    campaign = _opened(case)
    for n in range(1, 4):
        climb = Climb(campaign)
        decision = policy.decide(climb, np.random.default_rng(n))
        what = complaint(climb, decision)
        place = f"{place_of(case)}, {n - 1} exposures void"
        assert what is None, f"{place}: {what}"
        assert isinstance(decision, Expose), f"{place}: found a Stop, wanted another exposure"
        flags = np.zeros((decision.samples, len(campaign.slos)), dtype=np.bool_)
        campaign = _ended(_measured(campaign, decision, flags), decision, Validity(False, "void"))


def gives_up_when_nothing_fits(policy: Policy) -> None:
    """It stops without an answer when the certificates leave no breaking point."""
    case = cases()[0]
    campaign = _opened(case)
    for arm, purpose, bet in ((50, Purpose.HELD, 0.001), (20, Purpose.BROKE, 0.5)):
        batch = Expose(case.scenario.ladder.variant(arm), 900, purpose, (bet,))
        flags = np.full((900, 1), purpose is Purpose.BROKE)
        campaign = _ended(_measured(campaign, batch, flags), batch, Validity(True))
    decision = policy.decide(Climb(campaign), np.random.default_rng(0))
    wanted = "wanted Stop(..., answered=False): a mild arm broke, a harsher one held"
    assert isinstance(decision, Stop) and not decision.answered, f"found {decision}, {wanted}"


def decides_quickly(policy: Policy) -> None:
    """On a ladder of 400 arms a decision takes at most 5 ms of CPU time (median)."""
    timed = _Timed(policy)
    record(timed, long_ladder(), closely=False)
    found = median(timed.seconds) if timed.seconds else 0.0
    wanted = f"wanted at most {SLOWEST_S * 1000:g} ms of CPU time"
    assert found <= SLOWEST_S, f"found {found * 1000:.1f} ms a decision (median), {wanted}"


class _Timed:
    """A policy whose decisions are timed, on the CPU's clock: other processes do not count."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.name = policy, policy.name
        self.seconds: list[float] = []

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        began = time.thread_time()
        decision = self.policy.decide(climb, rng)
        self.seconds.append(time.thread_time() - began)
        return decision


# --- campaigns by hand ----------------------------------------------------------------------------


def _opened(case: Case) -> Campaign:
    """After steady state, before the first decision."""
    steady = SteadyStateMeasured(True, "", case.control_bad_ratios, 1, 0.0, 0.0, {}, 0.0)
    return apply(begin(case.scenario), steady)


def _measured(campaign: Campaign, batch: Expose, bad: Mask) -> Campaign:
    """In an exposure of its own, which stays open."""
    number, variant = len(campaign.decisions), batch.variant
    campaign = apply(campaign, Decided(number, batch, 0, 0.0))
    n = len(campaign.exposures) + 1
    started = ExposureStarted(n, variant.arm, variant.severity, "", 0.0, variant.ladder)
    return measured(apply(campaign, started), number, bad)


def _ended(campaign: Campaign, batch: Expose, validity: Validity) -> Campaign:
    arm, dose = batch.variant.arm, Dose(batch.variant.severity)
    n = len(campaign.exposures) + 1
    return apply(campaign, ExposureEnded(n, arm, validity, dose, Health(), 0, None, 0.0))
