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

from chaosbandit.core import guardrail, judge
from chaosbandit.core.campaign import (
    Campaign,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    Stopped,
    WashedOut,
    apply,
    begin,
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
    Verdict,
)
from chaosbandit.core.policies import Policy
from chaosbandit.core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a journal amounts to; `difference` names the first event that does not follow."""

    campaign: Campaign
    claims: tuple[Verdict, ...]
    decisions: int  # asked again and found the same
    difference: str | None = None


def opening(scenario: Scenario) -> Campaign:
    """The campaign of a run before its first event."""
    timing, rate_per_s = scenario.timing, scenario.traffic.rate_per_s
    setup_samples = rate_per_s * timing.warmup_s + judge.WASHOUT_WINDOW
    return begin(scenario, setup_samples)


def decide(policy: Policy, campaign: Campaign, unresolved: int, now_s: float) -> Decided:
    """The next decision as the guardrails admit it; the caller records it if it is carried out.

    The policy is asked about each ladder; where several want a sample, it goes where it teaches
    most per cost. A generator per question, of seed, number and ladder: one that is asked and not
    carried out leaves no trace.
    """
    assert campaign.header is not None, "a run starts with its header"
    asked, elapsed_s = replace(campaign, unresolved=unresolved), now_s - campaign.header.now_s
    answers = [_answer(policy, each, elapsed_s) for each in asked.each()]
    return Decided(len(campaign.decisions), _best(asked, answers), unresolved, now_s)


def _answer(policy: Policy, campaign: Campaign, elapsed_s: float) -> Decision:
    """What the policy wants of the ladder faced, as the guardrails admit it."""
    assert campaign.header is not None
    seed = [campaign.header.seed, len(campaign.decisions)]
    rng = np.random.default_rng([*seed, campaign.face] if campaign.face else seed)
    decision = policy.decide(campaign, rng)
    if isinstance(decision, Stop) and decision.answered:
        decision = judge.look_below(campaign) or decision
    if isinstance(decision, Expose):
        decision = _admitted(decision, guardrail.admit(decision, campaign, elapsed_s))
    return decision


def _best(campaign: Campaign, answers: Sequence[Decision]) -> Decision:
    """The exposure that is worth most; without any, the end, with each ladder's reason."""
    exposures = [answer for answer in answers if isinstance(answer, Expose)]
    if exposures:
        return max(exposures, key=lambda expose: expose.worth)  # equals: the first ladder's
    stops = [answer for answer in answers if isinstance(answer, Stop)]
    if len(stops) == 1:
        return stops[0]
    ladders: dict[str, list[str]] = {}  # by reason
    for climb, stop in zip(campaign.climbs, stops, strict=True):
        ladders.setdefault(stop.reason, []).append(climb.ladder.name)
    return Stop(
        "; ".join(f"{', '.join(names)}: {reason}" for reason, names in ladders.items()),
        answered=all(stop.answered for stop in stops),
        by_guardrail=any(stop.by_guardrail for stop in stops),
    )


def _admitted(decision: Expose, answer: guardrail.Admitted | guardrail.Refused) -> Expose | Stop:
    match answer:
        case guardrail.Refused(reason):
            return Stop(reason, by_guardrail=True)
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
            again = decide(policy, campaign, event.unresolved, event.now_s)
            difference = _compared(event, again)
            same += difference is None
        if difference is not None:
            difference = f"event {number}, {type(event).__name__}: {difference}"
            break
        campaign = apply(campaign, event)
    campaign = interrupted(campaign)
    return Replayed(campaign, judge.claims(campaign), same, difference)


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
        case Decided(n=n) if n != len(campaign.decisions):
            return f"found decision {n}, wanted number {len(campaign.decisions)}"
        case ExposureStarted():
            return _start_misplaced(campaign, event)
        case ExposureEnded(n=n, arm=arm):
            return _end_misplaced(campaign, n, arm)
        case WashedOut(n=n):
            begun = len(campaign.exposures) + (campaign.current is not None)
            return None if n == begun else f"found exposure {n}, wanted {begun}"
        case Observed():
            return _samples_misplaced(campaign, event)
        case EvidenceExpired() if campaign.current is not None:
            return f"exposure {campaign.current.n} has not ended"
        case Stopped() if campaign.current is not None:
            return f"exposure {campaign.current.n} has not ended"
        case _:
            return None


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
    if not isinstance(decision, Expose) or decision.variant.arm != campaign.current.arm:
        return f"its samples belong to decision {event.decision}, which exposes another arm or none"
    return None


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
