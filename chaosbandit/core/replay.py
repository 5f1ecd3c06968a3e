"""One pure way to decide, and the fold of a journal that asks it again at every decision.

The engine decides with `decide`; `replay` walks through recorded events with the same function and
says in words where they first differ. It knows no files, clocks or sinks: the journal's values are
all it needs, so the same versions give the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from chaosbandit.core import confirmation, guardrail
from chaosbandit.core.campaign import Campaign, apply, begin
from chaosbandit.core.certified_claims import look_below, verdicts
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.ending import worst
from chaosbandit.core.events import Decided, Event, ExposureEnded
from chaosbandit.core.forbidden_decisions import refused
from chaosbandit.core.model import (
    Decision,
    Dose,
    Expose,
    Health,
    Purpose,
    Stop,
    Validity,
    Verdict,
)
from chaosbandit.core.policies import Policy
from chaosbandit.core.replay_complaints import compared, misplaced
from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import ChaosbanditError, PolicyError


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a journal amounts to; `difference` names the first event that does not follow."""

    campaign: Campaign
    claims: tuple[Verdict, ...]
    decisions: int  # asked again and found the same
    difference: str | None = None


def opening(scenario: Scenario) -> Campaign:
    """The campaign of a run before its first event."""
    return begin(scenario, guardrail.setup_samples(scenario))


def decide(policy: Policy, campaign: Campaign, unresolved: int, now_s: float) -> Decided:
    """The next decision as the guardrails admit it; the caller records it if it is carried out.

    The policy is asked about each ladder; where several want a sample, it goes where it teaches
    most per cost. A generator per question, of seed, number and ladder: one that is asked and not
    carried out leaves no trace.

    Raises:
        PolicyError: the policy says what no policy may say.
    """
    asked = replace(campaign, unresolved=unresolved, asked_s=now_s)
    answers = [_answer(policy, climb) for climb in climbs(asked)]
    return Decided(len(campaign.decisions), _best(asked, answers), unresolved, now_s)


def _answer(policy: Policy, climb: Climb) -> Decision:
    """What the policy wants of a ladder, what an answer still needs, as the guardrails admit it."""
    header, number = climb.campaign.header, climb.number
    assert header is not None, "a run starts with its header"
    seed = [header.seed, len(climb.campaign.decisions)]
    rng = np.random.default_rng([*seed, number] if number else seed)
    decision = _asked(policy, climb, rng)
    if isinstance(decision, Stop) and decision.answered:
        decision = look_below(climb) or confirmation.next_exposure(climb) or decision
    elif isinstance(decision, Expose):
        decision = confirmation.hold_first(climb, decision) or decision
    if isinstance(decision, Expose):
        decision = _admitted(decision, guardrail.admit(decision, climb))
    return decision


def _asked(policy: Policy, climb: Climb, rng: Generator) -> Decision:
    """What the policy says, if a policy may say it: it may be somebody else's."""
    try:
        decision = policy.decide(climb, rng)
    except ChaosbanditError:
        raise
    except Exception as error:
        raised = f"found {type(error).__name__}: {error}, wanted a decision"
        raise PolicyError(_of(policy, climb, raised)) from error
    complaint = refused(climb, decision)
    if complaint is not None:
        raise PolicyError(_of(policy, climb, complaint))
    return decision


def _of(policy: Policy, climb: Climb, found: str) -> str:
    """A complaint, and whose decision it is about."""
    number = len(climb.campaign.decisions)
    on = f" on {climb.ladder.name}" if climb.several else ""
    return f"policy {getattr(policy, 'name', '?')!r}, decision {number}{on}: {found}"


def _best(campaign: Campaign, answers: Sequence[Decision]) -> Decision:
    """The exposure that is worth most; without any, the end, with each ladder's reason.

    What is held stands on before anything else: coming back for it would cost another exposure.
    """
    exposures = [answer for answer in answers if isinstance(answer, Expose)]
    if exposures:
        current = campaign.current
        standing = current and (campaign.ladders[current.climb].ladder.name, current.arm)

        def first(expose: Expose) -> tuple[bool, float]:
            stands = standing == (expose.variant.ladder, expose.variant.arm)
            return expose.purpose is Purpose.HOLD and stands, expose.worth

        return max(exposures, key=first)  # equals: the first ladder's
    stops = [answer for answer in answers if isinstance(answer, Stop)]
    if len(stops) == 1:
        return stops[0]
    ladders: dict[str, list[str]] = {}  # by reason
    for climb, stop in zip(climbs(campaign), stops, strict=True):
        ladders.setdefault(stop.reason, []).append(climb.ladder.name)
    return Stop(
        "; ".join(f"{', '.join(names)}: {reason}" for reason, names in ladders.items()),
        answered=all(stop.answered for stop in stops),
        cause=worst(stop.cause for stop in stops),
    )


def _admitted(decision: Expose, answer: guardrail.Admitted | guardrail.Refused) -> Expose | Stop:
    match answer:
        case guardrail.Refused(cause, reason):
            return Stop(reason, cause=cause)
        case guardrail.Admitted(samples):
            return replace(decision, samples=samples)


def replay(events: Sequence[Event], scenario: Scenario, policy: Policy) -> Replayed:
    """Fold the events, deciding anew at each `Decided`; ends at the first difference.

    A journal that breaks off in an exposure gives what an interrupted run may claim: the gains of
    that exposure are dropped, and what may have been in flight is charged as bad.
    """
    campaign, same, difference = opening(scenario), 0, None
    for number, event in enumerate(events, start=1):
        difference = misplaced(campaign, event)
        if difference is None and isinstance(event, Decided):
            difference = _decided_otherwise(policy, campaign, event)
            same += difference is None
        if difference is not None:
            difference = f"event {number}, {type(event).__name__}: {difference}"
            break
        campaign = apply(campaign, event)
    campaign = interrupted(campaign)
    return Replayed(
        campaign,
        tuple(each for climb in climbs(campaign) for each in verdicts(climb)),
        same,
        difference,
    )


def interrupted(campaign: Campaign) -> Campaign:
    """The campaign with an exposure that never ended closed as void; unchanged without one."""
    current = campaign.current
    if current is None:
        return campaign
    last_s = max((sample.intended_s for sample in current.canary), default=current.started_s)
    return apply(
        campaign,
        ExposureEnded(
            n=current.n,
            arm=current.arm,
            validity=Validity(False, "interrupted"),
            dose=Dose(current.severity),
            health=Health(),
            lost=_in_flight_at_most(campaign),
            halted=None,
            now_s=last_s,
        ),
    )


def _in_flight_at_most(campaign: Campaign) -> int:
    """Canary requests of the open exposure that may be out with no outcome in the journal.

    A request has an outcome after one time-out at the latest, and none is sent that the budget
    could not carry.
    """
    traffic = campaign.scenario.traffic
    longest = math.ceil(traffic.rate_per_s * traffic.timeout_s) + 1
    return max(0, min(longest, campaign.budget_left()))


def _decided_otherwise(policy: Policy, campaign: Campaign, event: Decided) -> str | None:
    """Where the policy, asked again, says something else, or what no policy may say; or None."""
    try:
        return compared(event, decide(policy, campaign, event.unresolved, event.now_s))
    except PolicyError as error:
        return str(error)
