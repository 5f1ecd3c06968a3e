"""What policies with a model share: how far beliefs let them climb, and what these would bet.

Beliefs steer here and nowhere else; no claim rests on them.
"""

from __future__ import annotations

import math

import numpy as np

from chaosbandit.core.climb import Climb
from chaosbandit.core.guardrail import BELIEVED
from chaosbandit.core.policies import top_arm, within_reach


def highest_reach(climb: Climb) -> int:
    """The escalation rule: as far above the highest sampled arm that seems to hold as allowed.

    Overdose control (Babb, Rogatko & Zacks 1998); never above what the guardrails allow. That
    nothing may ever break is believed no more than any breaking point: hope must not embolden.
    """
    severities, arms = climb.ladder.severities, climb.arms
    p_broke = np.max([belief.cumulative_careful for belief in climb.beliefs], axis=0)
    sampled = (arm for arm in range(len(arms) - 1, -1, -1) if arms[arm].samples)
    held = next((arm for arm in sampled if p_broke[arm] < BELIEVED), None)
    if held is None:
        return 0
    return min(within_reach(severities, held, climb.search.escalation), top_arm(climb))


def held_bets(climb: Climb, arm: int) -> tuple[float, ...]:
    """The posterior mean of the bad ratio per SLO, given that the arm holds."""
    return tuple(
        min(max(belief.mean_given(arm, arm + 1), 1e-9), 0.98 * slo.bad_ratio)
        for belief, slo in zip(climb.beliefs, climb.slos, strict=True)
    )


def broke_bets(climb: Climb, arm: int, missing: float) -> tuple[float, ...]:
    """The same given that it breaks, no more than one bad sample needs to close what is missing."""
    enough = math.exp(min(missing, 700.0))
    taus = (slo.bad_ratio for slo in climb.slos)
    return tuple(
        min(max(min(belief.mean_given(arm, 0, arm + 1), tau * enough), 1.02 * tau), (1 + tau) / 2)
        for belief, tau in zip(climb.beliefs, taus, strict=True)
    )
