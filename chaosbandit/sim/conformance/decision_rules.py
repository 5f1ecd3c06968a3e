"""What every single decision of a policy must obey: what no run carries out otherwise, and more.

The first rules are those of `core.forbidden_decisions`, which every run enforces. The others keep a
policy from wasting what it was given. Nothing here asks a policy or runs a campaign.
"""

from __future__ import annotations

import math

from chaosbandit.core.climb import Climb
from chaosbandit.core.forbidden_decisions import ALLOWED, Check
from chaosbandit.core.model import Decision, Stop
from chaosbandit.core.policies import ended


def sends_whole_blocks(climb: Climb, decision: Decision) -> str | None:
    """With clumped failures `samples` is a multiple of `climb.certificate.block`.

    Only what is left of `search.max_samples` may be less.
    """
    if isinstance(decision, Stop):
        return None
    block, left = climb.certificate.block, samples_left(climb)
    if decision.samples % block == 0 or decision.samples == left:
        return None
    return f"found samples={decision.samples}, wanted a multiple of {block}"


def keeps_to_max_samples(climb: Climb, decision: Decision) -> str | None:
    """What is spent, in flight and asked for is together at most `search.max_samples`."""
    left = samples_left(climb)
    if isinstance(decision, Stop) or decision.samples <= left:
        return None
    flying = f", {climb.unresolved} in flight" if climb.unresolved else ""
    limit = climb.search.max_samples
    wanted = f"at most {left:g}" if left > 0 else "a Stop"
    found = f"found samples={decision.samples}"
    return f"{found}, wanted {wanted} ({climb.spent_samples} of {limit} spent{flying})"


def ends_when_there_is_an_answer(climb: Climb, decision: Decision) -> str | None:
    """Where `chaosbandit.core.policies.ended` says that nothing is left to ask, it stops."""
    truth = ended(climb)
    if truth is None or isinstance(decision, Stop):
        return None
    return f"found {decision.samples} more samples, wanted a Stop: {truth.reason}"


def samples_left(climb: Climb) -> float:
    """What may still be asked for."""
    limit = climb.search.max_samples
    return math.inf if limit is None else limit - climb.spent_samples - climb.unresolved


DECISION_RULES: tuple[Check, ...] = (
    *ALLOWED,
    sends_whole_blocks,
    keeps_to_max_samples,
    ends_when_there_is_an_answer,
)


def complaint(climb: Climb, decision: Decision) -> str | None:
    """The first that a decision gives rise to, or None."""
    return next((found for rule in DECISION_RULES if (found := rule(climb, decision))), None)
