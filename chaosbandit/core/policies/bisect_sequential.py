"""The fair rival: doubles the severity until it breaks, then bisects, one sequential test an arm.

Its claims rest on the joint certificate, as everybody's: it need not share its error out over the
arms it tests. It knows counts, never a model.
"""

from __future__ import annotations

from numpy.random import Generator

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Decision
from chaosbandit.core.policies import ended, register
from chaosbandit.core.policies._one_arm_test import call, doubled, middle


@register
class BisectSequential:
    """Doubles, then bisects between the last arm that held and the first that broke."""

    name = "bisect_sequential"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The next batch at the arm in question, or the end."""
        return ended(climb) or call(climb, _next_arm(climb))


def _next_arm(climb: Climb) -> int:
    """The arm to call next."""
    held, broke, _ = climb.claimed
    if held is None:
        return 0
    if broke is None:
        return doubled(climb, held)
    return middle(climb.ladder.severities, held, broke)
