"""Campaigns for the tests of policies: by hand, batch by batch, or whole ones on a few curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chaosbandit.core.campaign import (
    Campaign,
    Decided,
    ExposureStarted,
    SteadyStateMeasured,
    apply,
    begin,
    measured,
)
from chaosbandit.core.model import Expose
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Guardrails, Scenario
from chaosbandit.sim.courses import Curve
from chaosbandit.sim.trial import SimulatedRun, trial


def begun(scenario: Scenario, control_ratios: tuple[float, ...], setup_samples: float) -> Campaign:
    """A campaign before its first sample."""
    block = scenario.search.block or 1
    steady = SteadyStateMeasured(True, "", control_ratios, block, 0.0, {}, 0.0)
    return apply(begin(scenario, setup_samples), steady)


def fold(campaign: Campaign, batch: Expose, bad: NDArray[np.bool_]) -> Campaign:
    """The campaign after a batch, all of it resolved."""
    number, arm = len(campaign.decisions), batch.variant.arm
    campaign = apply(campaign, Decided(number, batch, 0, 0.0))
    if campaign.standing != arm:
        n = len(campaign.exposures) + 1
        started = ExposureStarted(n, arm, batch.variant.severity, "", 0.0)
        campaign = replace(apply(campaign, started), current=None, before=None)
    return measured(campaign, number, bad)


def tried(scenario: Scenario, *curves: Curve, seed: int = 1) -> SimulatedRun:
    """A whole campaign of the scenario's policy, with a curve for each of its SLOs."""
    return trial(
        scenario,
        lambda variant, n, rng: (
            rng.random(n)[:, None] < np.array([curve(variant.severity) for curve in curves])
        ),
        policy=policy(scenario.search.policy),
        seed=seed,
        control_bad_ratios=[0.1 * slo.bad_ratio for slo in scenario.slos],
    )


def batches(run: SimulatedRun) -> list[Expose]:
    """The decisions to expose."""
    return [each for each in run.campaign.decisions.values() if isinstance(each, Expose)]


def guarded(scenario: Scenario, cap: float) -> Scenario:
    """The same with a severity that must not be exceeded."""
    return replace(scenario, guardrails=Guardrails(max_severity=cap, max_unresolved=0))


def holds_the_truth(run: SimulatedRun, at: float) -> bool:
    """Whether the breaking point is inside the bracket."""
    return run.held is not None and run.broke is not None and run.held < at <= run.broke
