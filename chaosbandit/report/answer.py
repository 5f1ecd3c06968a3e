"""The answer to the user's question as one sentence a ladder. Pure: a climb in, a sentence out.

What is certified comes first; where a side is not, the estimate stands in for it, marked as one.
"""

from __future__ import annotations

from chaosbandit.core.certified_claims import withdrawn
from chaosbandit.core.climb import Climb
from chaosbandit.core.confirmation import failing
from chaosbandit.core.model import Bracket, Cause
from chaosbandit.report.numbers_in_words import duration, share
from chaosbandit.report.records import EstimateResult


def sentence(climb: Climb, between: Bracket, guess: EstimateResult | None) -> str:
    """`slow-inventory holds at 190 ms and breaks at 207 ms (95 % confidence).`, or less."""
    name, text = climb.ladder.name, climb.ladder.text
    sure = f"({share(between.confidence)} confidence)"
    held, broke = between.held, between.broke
    if withdrawn(climb) is Cause.NOT_STOOD:
        found = _does_not_stand(climb)
        return f"{found}." if broke is None else f"{found}; it breaks at {text(broke)} {sure}."
    if held is not None and broke is not None:
        found = f"{name} holds at {text(held)} and breaks at {text(broke)} {sure}"
        return f"{found}." if between.closed else f"{found}; the gap was not closed."
    if held is not None:
        if held >= harshest_allowed(climb):
            return f"{name} holds at {text(held)}, the harshest severity allowed {sure}."
        return f"{name} holds at {text(held)} {sure}; {_not_certified('where it breaks', guess)}."
    if broke is not None:
        if broke <= climb.ladder.severities[0]:
            return f"{name} breaks already at {text(broke)}, its mildest severity {sure}."
        missing = _not_certified("what it still holds", guess)
        return f"{name} breaks at {text(broke)} {sure}; {missing}."
    return _nothing_certified(climb, guess)


def harshest_allowed(climb: Climb) -> float:
    """The harshest severity of the ladder that the guardrails allow."""
    cap, severities = climb.cap, climb.ladder.severities
    allowed = [each for each in severities if cap is None or each <= cap]
    return allowed[-1] if allowed else severities[0]


def _does_not_stand(climb: Climb) -> str:
    """What held at first is no answer, and no more than that is known."""
    held, _, _ = climb.claimed
    late = None if held is None else failing(climb, held)
    assert held is not None
    assert late is not None
    return (
        f"{climb.ladder.name} does not stand {climb.ladder.text(climb.ladder.severities[held])}: "
        f"it held at first and fails from {duration(late.from_s)} after the injection on"
    )


def _not_certified(what: str, guess: EstimateResult | None) -> str:
    if guess is None:
        return f"{what} is not known"
    return f"{what} is not certified: the breaking point is {guess.text}"


def _nothing_certified(climb: Climb, guess: EstimateResult | None) -> str:
    name, campaign = climb.ladder.name, climb.campaign
    if campaign.steady is not None and not campaign.steady.met:
        return f"{name} was not tested: the steady state is not met."
    if not campaign.exposures and campaign.current is None:
        return f"{name} was not tested: nothing was injected."
    if climb.highest_exposed is None:
        return f"{name} was not tested: the run ended before its turn came."
    match withdrawn(climb):
        case Cause.NOT_EXERCISED:
            return f"{name} was not exercised: its faults arrived, but no request felt them."
        case Cause.NOT_MONOTONE:
            return f"{name}: nothing is certified, since something milder than what holds breaks."
        case Cause.ASSUMPTIONS:
            return f"{name}: nothing is certified, since no breaking point fits what was seen."
    if guess is None:
        return f"{name}: the breaking point is not known."
    return f"{name}: nothing is certified; the breaking point is {guess.text}."
