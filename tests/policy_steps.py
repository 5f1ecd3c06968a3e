"""Campaigns for the tests of policies: by hand, batch by batch, or whole ones on a few curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosbandit.core.campaign import Exposure, apply, begin, measured
from chaosbandit.core.climb import Climb
from chaosbandit.core.events import Decided, ExposureEnded, ExposureStarted, SteadyStateMeasured
from chaosbandit.core.model import Dose, Expose, Health, Purpose, Validity
from chaosbandit.core.policies import policy
from chaosbandit.core.scenario import Guardrails, Scenario
from chaosbandit.sim.response_curves import Curve
from chaosbandit.sim.simulated_campaign import SimulatedRun, scenario_of, trial


def begun(scenario: Scenario, control_ratios: tuple[float, ...], setup_samples: float) -> Climb:
    """The only ladder of a campaign before its first sample."""
    block = scenario.search.block or 1
    steady = SteadyStateMeasured(True, "", control_ratios, block, 0.0, 0.0, {}, 0.0)
    return Climb(apply(begin(scenario, setup_samples), steady))


def changed(climb: Climb, **changes: Any) -> Climb:
    """The same ladder, where something else is true of its campaign."""
    return replace(climb, campaign=replace(climb.campaign, **changes))


def fold(climb: Climb, batch: Expose, bad: NDArray[np.bool_]) -> Climb:
    """The ladder after a batch, all of it resolved."""
    campaign, arm = climb.campaign, batch.variant.arm
    number = len(campaign.decisions)
    campaign = apply(campaign, Decided(number, batch, 0, 0.0))
    if climb.standing != arm:
        if campaign.current is not None:
            campaign = apply(campaign, _ended(campaign.current))
        n = len(campaign.exposures) + 1
        campaign = apply(campaign, ExposureStarted(n, arm, batch.variant.severity, "", 0.0))
    return Climb(measured(campaign, number, bad))


def _ended(exposure: Exposure) -> ExposureEnded:
    dose = Dose(exposure.severity)
    return ExposureEnded(exposure.n, exposure.arm, Validity(True), dose, Health(), 0, None, 0.0)


def opened(block: int | None = None, cap: float | None = None, **asked: Any) -> Climb:
    """Before the first sample: 98 arms from 1 to 10, tau 5 %."""
    scenario = scenario_of(1.0, 10.0, 0.95, **asked)
    search = replace(scenario.search, block=block)
    limits = replace(scenario.guardrails, max_severity=cap) if cap else Guardrails()
    return begun(replace(scenario, search=search, guardrails=limits), (0.005,), 0.0)


def batch(climb: Climb, arm: int = 0, **changes: Any) -> Expose:
    """Eight samples at an arm, or what is said otherwise."""
    return replace(Expose(climb.ladder.variant(arm), 8, Purpose.SEARCH), **changes)


def seen(climb: Climb, arm: int, good: int, bad: int = 0) -> Climb:
    """The ladder after so many good and bad samples at an arm."""
    flags = np.array([[i < bad] for i in range(good + bad)])
    return fold(climb, batch(climb, arm, samples=good + bad), flags)


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
