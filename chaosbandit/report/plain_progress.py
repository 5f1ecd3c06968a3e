"""Progress as plain lines, for logs and dumb terminals: one per exposure and phase."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    RunStarted,
    SteadyStateMeasured,
    Stopped,
    WashedOut,
)
from chaosbandit.core.model import Expose, Purpose
from chaosbandit.report.exposure_line import exposure_line
from chaosbandit.report.ladder_result import unit_of
from chaosbandit.report.numbers_in_words import clock, writable
from chaosbandit.report.result import exposure_result


def line_of(event: Event, campaign: Campaign) -> str | None:
    """What an event is worth saying in a log, or None."""
    match event:
        case RunStarted():
            server = f"Toxiproxy {event.server_version} at {event.server}"
            return f"{event.name}: run {event.run}, seed {event.seed}, {server}"
        case SteadyStateMeasured():
            return f"steady state {'met' if event.met else 'NOT met'}: {event.why}"
        case WashedOut(back=False):
            return f"exposure {event.n}: NOT washed out: {event.why}"
        case BlockRaised():
            return (
                f"{event.clump} bad requests in a row are no chance: from here on, and for all "
                f"before, evidence is weighed in blocks of {event.block}, which takes about "
                f"{event.block} times the requests"
            )
        case EvidenceExpired():
            return event.why
        case Decided():
            return _begins_to_hold(event, campaign)
        case ExposureEnded():
            exposure = campaign.exposures[-1]
            unit = unit_of(campaign.ladders[exposure.climb].ladder)
            ended = exposure_result(campaign, exposure)
            halted = f", halted: {event.halted}" if event.halted else ""
            return exposure_line(ended, unit, named=len(campaign.ladders) > 1) + halted
        case Stopped():
            return f"stopped: {event.reason}"
        case _:
            return None


def _begins_to_hold(event: Decided, campaign: Campaign) -> str | None:
    """`holding 190 ms: 8 of 15 s`, once: a hold is decided batch by batch."""
    decision, before = event.decision, campaign.decisions.get(event.n - 1)
    if not isinstance(decision, Expose) or decision.purpose is not Purpose.HOLD:
        return None
    if isinstance(before, Expose) and before.purpose is Purpose.HOLD:
        return None
    variant, current = decision.variant, campaign.current
    ladder = campaign.ladders[campaign.number_of(variant.ladder)].ladder
    stands = current is not None and current.arm == variant.arm
    stood_s = current.age_s if current is not None and stands else 0.0
    hold_s = campaign.scenario.search.hold_s
    return f"holding {ladder.text(variant.severity)}: {stood_s:.0f} of {hold_s:g} s"


def moment_s(event: Event) -> float | None:
    """When an event happened, on the run's monotonic clock, where it says so."""
    moment = getattr(event, "now_s", None)
    return moment if isinstance(moment, float) else None


class PlainLines:
    """Sink that prints a line for each exposure and phase, with the time since the start."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to put back: lines stay where they are."""

    def accept(self, event: Event, campaign: Campaign) -> None:
        """Print what the event is worth; a stream that cannot be written is ignored."""
        text = line_of(event, campaign)
        if text is None:
            return
        now_s, header = moment_s(event), campaign.header
        elapsed_s = now_s - header.now_s if now_s is not None and header is not None else 0.0
        with suppress(OSError, ValueError):  # closed or full: the run matters more
            line = writable(f"{clock(elapsed_s):>7}  {text}\n", self._stream.encoding)
            self._stream.write(line)
            self._stream.flush()
