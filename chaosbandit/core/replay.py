"""One pure way to decide, and the fold of a journal that asks it again at every decision.

The engine decides with `decide`; `replay` walks through recorded events with the same function and
says in words where they first differ. It knows no files, clocks or sinks: the journal's values are
all it needs, so the same versions give the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.random import Generator

from chaosbandit.core import confirmation, guardrail, judge
from chaosbandit.core.allowed import refused
from chaosbandit.core.campaign import Campaign, Exposure, apply, begin
from chaosbandit.core.claims import look_below, verdicts
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.ending import worst
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    Stopped,
    WashedOut,
)
from chaosbandit.core.model import (
    Decision,
    Dose,
    Expose,
    Health,
    Phase,
    Route,
    Stop,
    Validity,
    Variant,
    Verdict,
)
from chaosbandit.core.policies import Policy
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
    """The exposure that is worth most; without any, the end, with each ladder's reason."""
    exposures = [answer for answer in answers if isinstance(answer, Expose)]
    if exposures:
        return max(exposures, key=lambda expose: expose.worth)  # equals: the first ladder's
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
        difference = _misplaced(campaign, event)
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


# --- what does not follow, in words ---------------------------------------------------------------


def _misplaced(campaign: Campaign, event: Event) -> str | None:
    """Why this event cannot come now, whatever the policy says; None when it can."""
    if isinstance(event, RunStarted):
        return "a second header" if campaign.header is not None else None
    if campaign.header is None:
        return "before the header of the run"
    if campaign.stopped is not None:
        return "after the run had stopped"
    match event:
        case Decided():
            return _decision_misplaced(campaign, event)
        case ExposureStarted():
            return _start_misplaced(campaign, event)
        case ExposureEnded(n=n, arm=arm):
            return _end_misplaced(campaign, n, arm)
        case WashedOut(n=n):
            begun = len(campaign.exposures) + (campaign.current is not None)
            return None if n == begun else f"found exposure {n}, wanted {begun}"
        case Observed():
            return _samples_misplaced(campaign, event)
        case EvidenceExpired() | BlockRaised() | Stopped() if campaign.current is not None:
            return f"exposure {campaign.current.n} has not ended"
        case BlockRaised():
            return _block_misplaced(campaign, event)
        case _:
            return None


def _decision_misplaced(campaign: Campaign, event: Decided) -> str | None:
    """Between exposures anything may be decided, in one only to stay: to go on, or to hold."""
    if event.n != len(campaign.decisions):
        return f"found decision {event.n}, wanted number {len(campaign.decisions)}"
    current = campaign.current
    if current is None:
        clump = judge.clumped(campaign)
        missing = f"failures came {clump} in a row, and no BlockRaised came before it"
        return missing if clump else None
    if isinstance(event.decision, Expose) and _is_of(campaign, current, event.decision.variant):
        return None
    return f"exposure {current.n} has not ended, and {_said(event.decision)} does not stay in it"


def _block_misplaced(campaign: Campaign, event: BlockRaised) -> str | None:
    clump, block = judge.clumped(campaign), campaign.ladders[0].certificate.block
    if event.clump != clump:
        return f"found a clump of {event.clump}, wanted {clump} as the exposures say"
    if event.block <= max(block, clump):
        return f"found a block of {event.block}, wanted more than {max(block, clump)}"
    return None


def _is_of(campaign: Campaign, exposure: Exposure, variant: Variant) -> bool:
    """Whether a variant is what is exposed."""
    ladder = campaign.ladders[exposure.climb].ladder.name
    return (variant.ladder, variant.arm) == (ladder, exposure.arm)


def _start_misplaced(campaign: Campaign, event: ExposureStarted) -> str | None:
    if campaign.current is not None:
        return f"exposure {campaign.current.n} has not ended"
    last = campaign.decisions.get(len(campaign.decisions) - 1)
    if not isinstance(last, Expose):
        return "no decision to expose came before it"
    wanted = (len(campaign.exposures) + 1, last.variant.arm, last.variant.severity)
    found = (event.n, event.arm, event.severity)
    if found != wanted:
        return f"found (exposure, arm, severity) {found}, wanted {wanted} as decided"
    if event.ladder not in (last.variant.ladder, *[""] * (len(campaign.ladders) == 1)):
        return f"found the ladder {event.ladder!r}, wanted {last.variant.ladder!r} as decided"
    return None


def _end_misplaced(campaign: Campaign, n: int, arm: int) -> str | None:
    if campaign.current is None:
        return "no exposure is open"
    wanted = (campaign.current.n, campaign.current.arm)
    return None if (n, arm) == wanted else f"found (exposure, arm) {(n, arm)}, wanted {wanted}"


def _samples_misplaced(campaign: Campaign, event: Observed) -> str | None:
    if event.phase is not Phase.MEASURE:
        return None
    if campaign.current is None:
        return "measured samples outside of an exposure"
    if event.decision is None:
        of_canary = any(sample.route is Route.CANARY for sample in event.samples)
        return "measured samples of no decision" if of_canary else None
    decision = campaign.decisions.get(event.decision)
    of_it = isinstance(decision, Expose) and _is_of(campaign, campaign.current, decision.variant)
    if not of_it:
        return f"its samples belong to decision {event.decision}, which exposes another arm or none"
    return None


def _decided_otherwise(policy: Policy, campaign: Campaign, event: Decided) -> str | None:
    """Where the policy, asked again, says something else, or what no policy may say; or None."""
    try:
        return _compared(event, decide(policy, campaign, event.unresolved, event.now_s))
    except PolicyError as error:
        return str(error)


def _compared(recorded: Decided, again: Decided) -> str | None:
    """Where two decisions differ, or None."""
    found, wanted = recorded.decision, again.decision
    if found == wanted:
        return None
    number = f"decision {recorded.n}"
    if type(found) is not type(wanted):
        return f"{number}: found {_said(found)}, the policy now says {_said(wanted)}"
    odd = [f.name for f in fields(found) if getattr(found, f.name) != getattr(wanted, f.name)]
    parts = (
        f"{name}: found {getattr(found, name)!r}, the policy now says {getattr(wanted, name)!r}"
        for name in odd
    )
    return f"{number}: {'; '.join(parts)}"


def _said(decision: Decision) -> str:
    """A decision as one would tell it."""
    if isinstance(decision, Stop):
        return f"stop ({decision.reason})"
    return (
        f"expose arm {decision.variant.arm} to {decision.samples} samples ({decision.purpose}: "
        f"{decision.why})"
    )
