"""The ramp of a load test: climbs from the mildest arm in steps of one resolution until one breaks.

Every arm on the way is tested until it is called, with the sequential test of `bisect_sequential`.
It knows where it is and nothing else: the price of an answer grows with the length of the ladder.
"""

from __future__ import annotations

from numpy.random import Generator

from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Decision
from chaosbandit.core.policies import ended, register, top_arm, within_reach
from chaosbandit.core.policies._one_arm_test import call


@register
class Ramp:
    """A geometric ramp; the first arm that breaks closes the bracket with the last that held."""

    name = "ramp"

    def decide(self, climb: Climb, rng: Generator) -> Decision:
        """The next batch at the arm in question, or the end."""
        return ended(climb) or call(climb, _next_arm(climb))


def _next_arm(climb: Climb) -> int:
    """One resolution above the highest arm that held, below any that broke."""
    severities, search = climb.ladder.severities, climb.search
    held, broke, _ = climb.claimed
    if held is None:
        return 0
    step = min(1.0 + search.resolution, search.escalation)
    arm = within_reach(severities, held, step)
    return min(arm, top_arm(climb) if broke is None else broke - 1)
