"""The campaign of a run as it grows: each event is folded, then told to the sinks."""

from __future__ import annotations

from collections.abc import Iterable

from chaosbandit.core.campaign import Campaign, apply
from chaosbandit.core.events import Decided, Event, Observed
from chaosbandit.core.model import Phase, Sample
from chaosbandit.core.policies import Policy
from chaosbandit.core.replay import decide, opening
from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import ChaosbanditError
from chaosbandit.ports import Clock, Sink


class Recorder:
    """Holds `campaign`; nothing else in the engine changes it."""

    def __init__(
        self, scenario: Scenario, policy: Policy, clock: Clock, sinks: Iterable[Sink]
    ) -> None:
        self.campaign: Campaign = opening(scenario)
        self._policy, self._clock, self._sinks = policy, clock, tuple(sinks)

    def decide(self, unresolved: int) -> Decided:
        """What the policy wants next; recorded by whoever carries it out."""
        return decide(self._policy, self.campaign, unresolved, self._clock.now_s())

    def observe(
        self, phase: Phase, sample: Sample, decision: int | None = None, proxy: str = ""
    ) -> None:
        """Record one sample that is scored and whose turn it is."""
        self.record(Observed(phase, decision, (sample,), proxy))

    def record(self, event: Event) -> None:
        """Fold first, tell the sinks after: they see the campaign that includes the event."""
        failure = self.tell(event)
        if failure is not None:
            raise failure

    def fold(self, event: Event) -> None:
        """Only fold: what no sink could hear any more, or has heard."""
        self.campaign = apply(self.campaign, event)

    def tell(self, event: Event) -> ChaosbanditError | None:
        """As `record`, returning the first failure. A sink that failed hears no more: its record
        ends there, like that of a run that was killed, rather than going on after a gap."""
        self.fold(event)
        failure: ChaosbanditError | None = None
        for sink in self._sinks:
            try:
                sink.accept(event, self.campaign)
            except ChaosbanditError as error:
                self._sinks = tuple(other for other in self._sinks if other is not sink)
                failure = failure or error
        return failure
