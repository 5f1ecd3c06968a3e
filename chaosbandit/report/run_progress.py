"""What is going on right now, as a fold over the events: phase, severity, purpose, counts.

A Sink hears what happened; people want to see what is happening. This module turns one into the
other and knows nothing of how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    SteadyStateMeasured,
    Stopped,
    WashedOut,
)
from chaosbandit.core.model import Expose, Phase, Purpose, Route


class Stage(StrEnum):
    """The phases of a run as they are called on the screen."""

    STARTING = "starting"
    STEADY = "steady state"
    CHOOSING = "choosing"
    INJECTING = "injecting"
    WARMING_UP = "warming up"
    MEASURING = "measuring"
    HOLDING = "holding"
    DRAINING = "draining"
    WASHING_OUT = "washing out"
    CLEANING = "verifying clean"
    ENDED = "ended"


# While these last, the variant is in place.
DOSED = frozenset(
    {Stage.INJECTING, Stage.WARMING_UP, Stage.MEASURING, Stage.HOLDING, Stage.DRAINING}
)

PURPOSES = {
    Purpose.SEARCH: "to find the edge",
    Purpose.HELD: "to show it holds",
    Purpose.BROKE: "to show it breaks",
    Purpose.HOLD: "to show it stands",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of a run."""

    stage: Stage = Stage.STARTING
    exposure: int = 0
    arm: int | None = None
    severity: float | None = None
    purpose: Purpose | None = None
    why: str = ""
    wanted: int = 0  # samples of the decision being carried out
    seen: int = 0
    bad: int = 0  # bad in at least one SLO
    decision: int | None = None
    stood_s: float = 0.0  # in this exposure, so far


_STAGES = {
    Phase.STEADY: Stage.STEADY,
    Phase.WARMUP: Stage.WARMING_UP,
    Phase.MEASURE: Stage.MEASURING,
    Phase.WASHOUT: Stage.WASHING_OUT,
}


def watch(scene: Scene, event: Event, campaign: Campaign) -> Scene:
    """The scene after one more event; `campaign` already includes it."""
    match event:
        case RunStarted():
            steady = campaign.scenario.timing.steady_samples
            return Scene(Stage.STEADY, wanted=steady)
        case SteadyStateMeasured():
            return Scene(Stage.CHOOSING)
        case Decided():
            return _decided(scene, event)
        case ExposureStarted():
            moved = replace(scene, stage=Stage.INJECTING, exposure=event.n, arm=event.arm)
            return replace(moved, severity=event.severity, seen=0, bad=0, stood_s=0.0)
        case Observed():
            return _observed(scene, event, campaign)
        case WashedOut():
            return replace(scene, stage=Stage.WASHING_OUT)
        case BlockRaised() | EvidenceExpired():
            return scene
        case ExposureEnded():
            return Scene(Stage.CHOOSING, exposure=scene.exposure)
        case Stopped():
            return Scene(Stage.ENDED, exposure=scene.exposure)


def _decided(scene: Scene, event: Decided) -> Scene:
    decision = event.decision
    if not isinstance(decision, Expose):
        return replace(scene, stage=Stage.CLEANING, why=decision.reason, wanted=0, seen=0, bad=0)
    return replace(
        scene,
        arm=decision.variant.arm,
        severity=decision.variant.severity,
        purpose=decision.purpose,
        why=decision.why,
        wanted=decision.samples,
        seen=0,
        bad=0,
        decision=event.n,
    )


def _observed(scene: Scene, event: Observed, campaign: Campaign) -> Scene:
    canary = [sample for sample in event.samples if sample.route is Route.CANARY]
    bad = sum(any(sample.bad) for sample in canary)
    stage = _STAGES[event.phase]
    if event.phase is Phase.STEADY:
        return replace(scene, stage=stage, seen=scene.seen + len(canary), bad=scene.bad + bad)
    if event.phase is Phase.WARMUP:
        return replace(scene, stage=stage)
    if event.phase is Phase.WASHOUT:
        return replace(scene, stage=stage, wanted=0, seen=0, bad=0)
    if event.decision != scene.decision:  # a late answer to an earlier batch of this exposure
        return scene
    seen = scene.seen + len(canary)
    stage = Stage.DRAINING if seen >= scene.wanted else Stage.MEASURING
    stage = Stage.HOLDING if scene.purpose is Purpose.HOLD else stage  # batch after batch
    stood_s = campaign.current.age_s if campaign.current else 0.0
    return replace(scene, stage=stage, seen=seen, bad=scene.bad + bad, stood_s=stood_s)
