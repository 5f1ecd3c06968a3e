"""What policies with a model share: how far beliefs let them climb, and what these would bet.

Beliefs steer here and nowhere else; no claim rests on them.
"""

from __future__ import annotations

import math

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.guardrail import BELIEVED
from chaosbandit.core.policies import highest_arm, top_arm


def highest_reach(campaign: Campaign) -> int:
    """The escalation rule: as far above the highest sampled arm that seems to hold as allowed.

    Overdose control (Babb, Rogatko & Zacks 1998); never above what the guardrails allow.
    """
    severities = campaign.ladder.severities
    seen = (j for j in range(len(severities) - 1, -1, -1) if campaign.arms[j].samples)
    held = next((j for j in seen if campaign.believed_broken(j) < BELIEVED), None)
    if held is None:
        return 0
    reach = highest_arm(severities, severities[held] * campaign.scenario.search.escalation)
    return min(max(reach, held + 1), top_arm(campaign))


def held_bets(campaign: Campaign, arm: int) -> tuple[float, ...]:
    """The posterior mean of the bad ratio per SLO, given that the arm holds."""
    return tuple(
        min(max(belief.mean_given(arm, arm + 1), 1e-9), 0.98 * slo.bad_ratio)
        for belief, slo in zip(campaign.beliefs, campaign.slos, strict=True)
    )


def broke_bets(campaign: Campaign, arm: int, missing: float) -> tuple[float, ...]:
    """The same given that it breaks, no more than one bad sample needs to close what is missing."""
    enough = math.exp(min(missing, 700.0))
    taus = (slo.bad_ratio for slo in campaign.slos)
    return tuple(
        min(max(min(belief.mean_given(arm, 0, arm + 1), tau * enough), 1.02 * tau), (1 + tau) / 2)
        for belief, tau in zip(campaign.beliefs, taus, strict=True)
    )
