"""What does not follow in a journal, in words: events out of place, decisions that differ."""

from __future__ import annotations

from dataclasses import fields

from chaosbandit.core import judge
from chaosbandit.core.campaign import Campaign, Exposure
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
from chaosbandit.core.model import Decision, Expose, Phase, Route, Stop, Variant


def misplaced(campaign: Campaign, event: Event) -> str | None:
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


def compared(recorded: Decided, again: Decided) -> str | None:
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
