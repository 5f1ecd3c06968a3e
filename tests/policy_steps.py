"""A campaign by hand, batch by batch, for tests that look at single decisions of a policy."""

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
from chaosbandit.core.scenario import Scenario


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
