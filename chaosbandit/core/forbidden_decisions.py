"""What no policy may decide, whoever wrote it: a climb and a decision in, a complaint out.

A policy may waste requests. It may not make a false claim, hurt users more than the scenario
allows, or say what only we can know. The docstrings are the rules; complaints say what was found
and what was wanted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from chaosbandit.core.climb import Climb
from chaosbandit.core.guardrail import BELIEVED
from chaosbandit.core.model import Cause, Decision, Expose, Purpose, Stop, Variant
from chaosbandit.core.policies import ended, highest_arm, within_reach

Check = Callable[[Climb, Decision], str | None]

_ANSWERS = (Cause.BRACKETED, Cause.HELD_AT_CAP, Cause.BROKE_AT_MILDEST, Cause.GATE_DECIDED)
_REASONS = (  # that a policy can know, and may give up for
    Cause.INCONCLUSIVE,
    Cause.ASSUMPTIONS,
    Cause.CAPPED,
    Cause.BUDGET,
    Cause.SAMPLES,
    Cause.TIME,
)
_PURPOSES = (Purpose.SEARCH, Purpose.HELD, Purpose.BROKE)


def gives_a_decision(climb: Climb, decision: Decision) -> str | None:
    """It answers with an `Expose`, or with a `Stop` that has a reason and a cause of its own."""
    if isinstance(decision, Expose):
        found = f"found the purpose {decision.purpose!r}, wanted SEARCH, HELD or BROKE"
        return None if _is_one_of(decision.purpose, _PURPOSES) else found
    if not isinstance(decision, Stop) or not decision.reason:
        return f"found {decision!r}, wanted an Expose, or a Stop with a reason"
    causes = _ANSWERS if decision.answered else _REASONS
    if _is_one_of(decision.cause, causes):
        return None
    wanted = ", ".join(cause.name for cause in causes)
    which = "an answer" if decision.answered else "a Stop without an answer"
    return f"found {which} with the cause {decision.cause!r}, wanted one of {wanted}"


def exposes_its_ladder(climb: Climb, decision: Decision) -> str | None:
    """The variant is `climb.ladder.variant(arm)`, also where the scenario has other ladders."""
    if isinstance(decision, Stop):
        return None
    variant, arms = decision.variant, len(climb.ladder.severities)
    if not isinstance(variant, Variant) or not _is_count(variant.arm):
        return f"found the variant {variant!r}, wanted climb.ladder.variant(arm)"
    if variant.ladder != climb.ladder.name or not 0 <= variant.arm < arms:
        found = f"found arm {variant.arm} of ladder {variant.ladder!r}"
        return f"{found}, wanted an arm from 0 to {arms - 1} of {climb.ladder.name!r}"
    if variant != climb.ladder.variant(variant.arm):
        return f"found {variant}, wanted climb.ladder.variant({variant.arm})"
    return None


def asks_for_samples(climb: Climb, decision: Decision) -> str | None:
    """At least one sample; `stop_after_bad` is None or at least 1; `worth` is a finite number."""
    if isinstance(decision, Stop):
        return None
    if not _is_count(decision.samples) or decision.samples < 1:
        return f"found samples={decision.samples!r}, wanted an int of at least 1"
    ends = decision.stop_after_bad
    if ends is not None and (not _is_count(ends) or ends < 1):
        return f"found stop_after_bad={ends!r}, wanted None or an int of at least 1"
    odd = f"found worth={decision.worth!r}, wanted a finite number"
    return None if _is_finite(decision.worth) else odd


def bets_on_the_side_it_names(climb: Climb, decision: Decision) -> str | None:
    """A bet per SLO, below its bad ratio for HELD and above it for BROKE; none for SEARCH."""
    if isinstance(decision, Stop):
        return None
    purpose, bets = decision.purpose, decision.bets
    if purpose is Purpose.SEARCH:
        return None if bets == () else f"found bets {bets} with SEARCH, wanted ()"
    taus = [slo.bad_ratio for slo in climb.slos]
    if not isinstance(bets, tuple) or len(bets) != len(taus):
        return f"found bets {bets!r}, wanted a tuple of {len(taus)}, one per SLO"
    for q, tau in zip(bets, taus, strict=True):
        low, high = (0.0, tau) if purpose is Purpose.HELD else (tau, 1.0)
        if not isinstance(q, float) or not low < q < high:  # also what is no number
            wanted = f"a float above {low:g} and below {high:g}"
            return f"found the bet {q!r} with {purpose.name}, wanted {wanted}"
    return None


def starts_with_the_mildest_arm(climb: Climb, decision: Decision) -> str | None:
    """The first exposure of a ladder is arm 0."""
    if isinstance(decision, Stop) or climb.highest_exposed is not None:
        return None
    arm = decision.variant.arm
    return None if arm == 0 else f"found arm {arm} as the first exposure, wanted arm 0"


def stays_under_the_cap(climb: Climb, decision: Decision) -> str | None:
    """No arm is above `guardrails.max_severity`."""
    cap = climb.cap
    if isinstance(decision, Stop) or cap is None:
        return None
    top = highest_arm(climb.ladder.severities, cap)
    if decision.variant.arm <= top:
        return None
    wanted = f"at most arm {top}" if top >= 0 else "a Stop: every arm is above it"
    return f"found arm {decision.variant.arm}, wanted {wanted} (guardrails.max_severity is {cap})"


def climbs_by_the_escalation_factor(climb: Climb, decision: Decision) -> str | None:
    """No arm is further above the highest arm seen to hold than `search.escalation`, or the next.

    Seen to hold: sampled, and certified to hold or believed to (`climb.believed_broken` below
    0.35). Where no arm is, only arm 0 may be exposed. Babb, Rogatko & Zacks 1998: overdose control.
    """
    if isinstance(decision, Stop):
        return None
    held, severities, reach = _seen_to_hold(climb), climb.ladder.severities, 0
    if held is not None:
        reach = within_reach(severities, held, climb.search.escalation)
    if decision.variant.arm <= reach:
        return None
    seen = "no arm was seen to hold" if held is None else f"the highest seen to hold is arm {held}"
    return f"found arm {decision.variant.arm}, wanted at most arm {reach}: {seen}"


def answers_only_what_is_certified(climb: Climb, decision: Decision) -> str | None:
    """`Stop(answered=True)` needs the certificates, at the confidence and resolution asked for.

    Its cause is what they say: `chaosbandit.core.policies.ended` has it.
    """
    if not isinstance(decision, Stop) or not decision.answered:
        return None
    truth = ended(climb)
    if truth is None or not truth.answered:
        return f"found an answer ({decision.reason!r}), wanted none: certificates do not carry it"
    if truth.cause is decision.cause:
        return None
    return f"found an answer with the cause {decision.cause.name}, wanted {truth.cause.name}"


ALLOWED: tuple[Check, ...] = (
    gives_a_decision,
    exposes_its_ladder,
    asks_for_samples,
    bets_on_the_side_it_names,
    starts_with_the_mildest_arm,
    stays_under_the_cap,
    climbs_by_the_escalation_factor,
    answers_only_what_is_certified,
)
"""In this order: each takes for granted what those before it have seen to."""


def refused(climb: Climb, decision: Decision) -> str | None:
    """What is wrong with a policy's decision, found and wanted; None when it may be carried out."""
    return next((found for check in ALLOWED if (found := check(climb, decision))), None)


def _seen_to_hold(climb: Climb) -> int | None:
    """The highest sampled arm that is certified or believed to hold."""
    arms, certified = climb.arms, climb.certificate.held_arm
    highest = -1 if climb.highest_exposed is None else climb.highest_exposed
    for arm in range(highest, -1, -1):
        if arms[arm].samples and (arm == certified or climb.believed_broken(arm) < BELIEVED):
            return arm
    return None


def _is_count(number: object) -> bool:
    """An int that a journal can hold."""
    return isinstance(number, int) and not isinstance(number, bool)


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and abs(number) <= sys.float_info.max  # NaN is not


def _is_one_of(member: object, members: tuple[object, ...]) -> bool:
    """Not by equality: these are strings too, and another string may equal them."""
    return any(member is each for each in members)
