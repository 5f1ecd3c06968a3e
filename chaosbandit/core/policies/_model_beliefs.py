"""What policies with a model share: how far beliefs let them climb, and what these would bet.

Beliefs steer here and nowhere else; no claim rests on them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from chaosbandit.core.climb import Climb
from chaosbandit.core.guardrail import BELIEVED
from chaosbandit.core.policies import top_arm, within_reach


def highest_reach(climb: Climb) -> int:
    """The escalation rule: as far above the highest sampled arm that seems to hold as allowed.

    Overdose control (Babb, Rogatko & Zacks 1998); never above what the guardrails allow. That
    nothing may ever break is believed no more than any breaking point: hope must not embolden.
    """
    severities, arms, p_broke = climb.ladder.severities, climb.arms, _careful(climb)
    sampled = (arm for arm in range(len(arms) - 1, -1, -1) if arms[arm].samples)
    held = next((arm for arm in sampled if p_broke[arm] < BELIEVED), None)
    if held is None:
        return 0
    return min(within_reach(severities, held, climb.search.escalation), top_arm(climb))


def stepping_stone(climb: Climb, reach: int) -> tuple[int, int] | None:
    """The highest arm that seems to hold, never sampled, and how far one could climb from it.

    None where that is no further than now. On a gentle slope beliefs about neighbours tell enough,
    so nobody looks there; and what may be exposed to show that it breaks stays mild.
    """
    arm = int(np.searchsorted(_careful(climb), BELIEVED)) - 1
    if not 0 <= arm <= reach or climb.arms[arm].samples:
        return None
    severities, factor = climb.ladder.severities, climb.search.escalation
    higher = min(within_reach(severities, arm, factor), top_arm(climb))
    return (arm, higher) if higher > reach else None


def _careful(climb: Climb) -> NDArray[np.float64]:
    """P(arm breaks) by the SLO that breaks first, without hope."""
    careful: NDArray[np.float64] = np.max(
        [belief.cumulative_careful for belief in climb.beliefs], axis=0
    )
    return careful


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
