"""What each single decision of a policy must obey: a campaign and a decision in, a complaint out.

The docstrings are the rules; complaints say what was found and what was wanted. Nothing here asks a
policy or runs a campaign, and nothing looks at which policy it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.guardrail import BELIEVED
from chaosbandit.core.model import Decision, Expose, Purpose, Stop
from chaosbandit.core.policies import ended, highest_arm, top_arm

Manner = Callable[[Campaign, Decision], str | None]


def gives_a_decision(campaign: Campaign, decision: Decision) -> str | None:
    """It answers with an `Expose`, or with a `Stop` that has a reason of its own."""
    if isinstance(decision, Expose) and isinstance(decision.purpose, Purpose):
        return None
    if not isinstance(decision, Stop) or not decision.reason:
        return f"found {decision!r}, wanted an Expose, or a Stop with a reason"
    if decision.by_guardrail:
        return "found a Stop with by_guardrail=True, which only guardrails may say"
    return None


def exposes_the_ladder_faced(campaign: Campaign, decision: Decision) -> str | None:
    """The variant is one of `campaign.ladder`, also where the scenario has other ladders."""
    if isinstance(decision, Stop):
        return None
    variant, ladder = decision.variant, campaign.ladder
    arms = len(ladder.severities)
    if variant.ladder != ladder.name or not 0 <= variant.arm < arms:
        found = f"found arm {variant.arm} of ladder {variant.ladder!r}"
        return f"{found}, wanted an arm from 0 to {arms - 1} of {ladder.name!r}"
    if variant != ladder.variant(variant.arm):
        return f"found {variant}, wanted campaign.ladder.variant({variant.arm})"
    return None


def asks_for_samples(campaign: Campaign, decision: Decision) -> str | None:
    """At least one sample; `stop_after_bad` is None or at least 1: plain integers both."""
    if isinstance(decision, Stop):
        return None
    if not isinstance(decision.samples, int) or decision.samples < 1:
        return f"found samples={decision.samples!r}, wanted an int of at least 1"
    ends = decision.stop_after_bad
    if ends is not None and (not isinstance(ends, int) or ends < 1):
        return f"found stop_after_bad={ends!r}, wanted None or an int of at least 1"
    return None


def bets_on_the_side_it_names(campaign: Campaign, decision: Decision) -> str | None:
    """A bet per SLO, below its bad ratio for HELD and above it for BROKE; none for SEARCH."""
    if isinstance(decision, Stop):
        return None
    purpose, bets = decision.purpose, decision.bets
    if purpose is Purpose.SEARCH:
        return f"found bets {bets} with SEARCH, wanted ()" if bets else None
    taus = [slo.bad_ratio for slo in campaign.slos]
    if not isinstance(bets, tuple) or len(bets) != len(taus):
        return f"found bets {bets!r}, wanted a tuple of {len(taus)}, one per SLO"
    for q, tau in zip(bets, taus, strict=True):
        low, high = (0.0, tau) if purpose is Purpose.HELD else (tau, 1.0)
        if not isinstance(q, float) or not low < q < high:
            wanted = f"a float above {low:g} and below {high:g}"
            return f"found the bet {q!r} with {purpose.name}, wanted {wanted}"
    return None


def starts_with_the_mildest_arm(campaign: Campaign, decision: Decision) -> str | None:
    """The first exposure of a ladder is arm 0."""
    if isinstance(decision, Stop) or campaign.highest_exposed is not None:
        return None
    arm = decision.variant.arm
    return None if arm == 0 else f"found arm {arm} as the first exposure, wanted arm 0"


def stays_under_the_cap(campaign: Campaign, decision: Decision) -> str | None:
    """No arm is above `guardrails.max_severity`."""
    top = top_arm(campaign)
    if isinstance(decision, Stop) or decision.variant.arm <= top:
        return None
    wanted = f"at most arm {top}" if top >= 0 else "a Stop: every arm is above it"
    cap = campaign.scenario.guardrails.max_severity
    return f"found arm {decision.variant.arm}, wanted {wanted} (guardrails.max_severity is {cap})"


def climbs_by_the_escalation_factor(campaign: Campaign, decision: Decision) -> str | None:
    """No arm is further above the highest arm seen to hold than `search.escalation`, or the next.

    Seen to hold: sampled, and certified to hold or believed to (`campaign.believed_broken` below
    0.35). Where no arm is, only arm 0 may be exposed.
    """
    if isinstance(decision, Stop):
        return None
    held = _seen_to_hold(campaign)
    reach = 0
    if held is not None:
        severities = campaign.ladder.severities
        factor = campaign.scenario.search.escalation
        reach = max(highest_arm(severities, severities[held] * factor), held + 1)
    if decision.variant.arm <= reach:
        return None
    seen = "no arm was seen to hold" if held is None else f"the highest seen to hold is arm {held}"
    return f"found arm {decision.variant.arm}, wanted at most arm {reach}: {seen}"


def sends_whole_blocks(campaign: Campaign, decision: Decision) -> str | None:
    """With clumped failures `samples` is a multiple of `campaign.certificate.block`.

    Only what is left of `search.max_samples` may be less.
    """
    if isinstance(decision, Stop):
        return None
    block, left = campaign.certificate.block, samples_left(campaign)
    if decision.samples % block == 0 or decision.samples == left:
        return None
    return f"found samples={decision.samples}, wanted a multiple of {block}"


def keeps_to_max_samples(campaign: Campaign, decision: Decision) -> str | None:
    """What is spent, in flight and asked for is together at most `search.max_samples`."""
    left = samples_left(campaign)
    if isinstance(decision, Stop) or decision.samples <= left:
        return None
    flying = f", {campaign.unresolved} in flight" if campaign.unresolved else ""
    limit = campaign.scenario.search.max_samples
    wanted = f"at most {left:g}" if left > 0 else "a Stop"
    found = f"found samples={decision.samples}"
    return f"{found}, wanted {wanted} ({campaign.spent_samples} of {limit} spent{flying})"


def answers_only_what_is_certified(campaign: Campaign, decision: Decision) -> str | None:
    """`Stop(answered=True)` needs the certificates, at the confidence and resolution asked for."""
    if not isinstance(decision, Stop) or not decision.answered:
        return None
    truth = ended(campaign)
    if truth is not None and truth.answered:
        return None
    return f"found an answer ({decision.reason!r}), wanted none: certificates do not carry it"


def ends_when_there_is_an_answer(campaign: Campaign, decision: Decision) -> str | None:
    """Where `chaosbandit.core.policies.ended` says that nothing is left to ask, it stops."""
    truth = ended(campaign)
    if truth is None or isinstance(decision, Stop):
        return None
    return f"found {decision.samples} more samples, wanted a Stop: {truth.reason}"


def samples_left(campaign: Campaign) -> float:
    """What may still be asked for."""
    limit = campaign.scenario.search.max_samples
    return math.inf if limit is None else limit - campaign.spent_samples - campaign.unresolved


def _seen_to_hold(campaign: Campaign) -> int | None:
    """The highest sampled arm that is certified or believed to hold."""
    for arm in reversed(range(len(campaign.arms))):
        if campaign.arms[arm].samples and (
            arm == campaign.certificate.held_arm or campaign.believed_broken(arm) < BELIEVED
        ):
            return arm
    return None


FATAL: tuple[Manner, ...] = (
    gives_a_decision,
    exposes_the_ladder_faced,
    asks_for_samples,
    bets_on_the_side_it_names,
)
"""Without these a decision cannot be carried out."""

MANNERS: tuple[Manner, ...] = (
    *FATAL,
    starts_with_the_mildest_arm,
    stays_under_the_cap,
    climbs_by_the_escalation_factor,
    sends_whole_blocks,
    keeps_to_max_samples,
    answers_only_what_is_certified,
    ends_when_there_is_an_answer,
)


def complaint(campaign: Campaign, decision: Decision) -> str | None:
    """The first that a decision gives rise to, or None."""
    return next((found for manner in MANNERS if (found := manner(campaign, decision))), None)
