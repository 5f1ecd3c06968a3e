"""The ramp of a load test: climbs from the mildest arm in steps of one resolution until one breaks.

Every arm on the way is tested until it is called, with the sequential test of `bisect_sequential`.
It knows where it is and nothing else: the price of an answer grows with the length of the ladder.
"""

from __future__ import annotations

from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Decision
from chaosbandit.core.policies import ended, highest_arm, register, top_arm
from chaosbandit.core.policies._one_arm import call, called


@register
class Ramp:
    """A geometric ramp; the first arm that breaks closes the bracket with the last that held."""

    name = "ramp"

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """The next batch at the arm in question, or the end."""
        return ended(campaign) or call(campaign, _next_arm(campaign))


def _next_arm(campaign: Campaign) -> int:
    """One resolution above the highest arm that held, below any that broke."""
    severities, search = campaign.ladder.severities, campaign.scenario.search
    held, broke = called(campaign)
    if held is None:
        return 0
    step = min(1.0 + search.resolution, search.escalation)
    arm = max(highest_arm(severities, severities[held] * step), held + 1)
    return min(arm, top_arm(campaign) if broke is None else broke - 1)
