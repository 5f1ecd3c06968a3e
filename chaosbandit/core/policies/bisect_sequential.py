"""The fair rival: doubles the severity until it breaks, then bisects, one sequential test an arm.

Its claims rest on the joint certificate, as everybody's: it need not share its error out over the
arms it tests. It knows counts, never a model.
"""

from __future__ import annotations

from numpy.random import Generator

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Decision
from chaosbandit.core.policies import ended, register
from chaosbandit.core.policies._one_arm import call, called, doubled, middle


@register
class BisectSequential:
    """Doubles, then bisects between the last arm that held and the first that broke."""

    name = "bisect_sequential"

    def decide(self, campaign: Campaign, rng: Generator) -> Decision:
        """The next batch at the arm in question, or the end."""
        return ended(campaign) or call(campaign, _next_arm(campaign))


def _next_arm(campaign: Campaign) -> int:
    """The arm to call next."""
    held, broke = called(campaign)
    if held is None:
        return 0
    if broke is None:
        return doubled(campaign, held)
    return middle(campaign.ladder.severities, held, broke)
