"""One ladder of a campaign: what policies, guardrails and the judge are asked about.

A `Climb` shows what a run knows of the ladder, and what it may still spend on it. It is a view, so
all climbs of a campaign show the same budget, clock and history.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaosbandit.core.campaign import Arm, Campaign, Exposure, Knowledge
from chaosbandit.core.evidence import Certificate, claimed_bracket
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.response import Belief
from chaosbandit.core.scenario import Scenario, Search
from chaosbandit.core.slo import SLO


@dataclass(frozen=True, slots=True)
class Climb:
    """Ladder number `number` of a campaign."""

    campaign: Campaign
    number: int = 0

    @property
    def known(self) -> Knowledge:
        """What is known of it."""
        return self.campaign.ladders[self.number]

    @property
    def ladder(self) -> Ladder:
        """Its severities and toxics."""
        return self.known.ladder

    @property
    def certificate(self) -> Certificate:
        """The crossings that its evidence leaves possible."""
        return self.known.weighing.certificate

    @property
    def claimed(self) -> tuple[int | None, int | None, bool]:
        """(held arm, broke arm, closed) as certified and shown on the arms' own samples."""
        return claimed_bracket(self.certificate, self.ladder.severities, self.search.resolution)

    @property
    def beliefs(self) -> tuple[Belief, ...]:
        """What the model believes of it, per SLO."""
        return self.known.beliefs

    @property
    def arms(self) -> tuple[Arm, ...]:
        """What was measured at each of its arms."""
        return self.known.arms

    @property
    def samples(self) -> int:
        """Canary requests measured on it since its evidence began."""
        return self.known.samples

    @property
    def highest_exposed(self) -> int | None:
        """Its highest arm that was ever exposed."""
        return self.known.highest_exposed

    @property
    def standing(self) -> int | None:
        """Its arm that is injected now."""
        injected = self.campaign.injected
        return injected[1] if injected and injected[0] == self.number else None

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """Its exposures that ended, in order."""
        return tuple(each for each in self.campaign.exposures if each.climb == self.number)

    @property
    def current(self) -> Exposure | None:
        """Its exposure that is open."""
        current = self.campaign.current
        return current if current is not None and current.climb == self.number else None

    # What all climbs of a run share

    @property
    def scenario(self) -> Scenario:
        """What the user asked."""
        return self.campaign.scenario

    @property
    def search(self) -> Search:
        """How to look and how sure to be."""
        return self.campaign.scenario.search

    @property
    def slos(self) -> tuple[SLO, ...]:
        """What users are promised."""
        return self.campaign.slos

    @property
    def several(self) -> bool:
        """Whether the run has other ladders too."""
        return len(self.campaign.ladders) > 1

    @property
    def spent_samples(self) -> int:
        """Canary requests measured in this run, on all ladders."""
        return self.campaign.spent_samples

    @property
    def unresolved(self) -> int:
        """Requests sent whose answer is not known yet."""
        return self.campaign.unresolved

    @property
    def setup_samples(self) -> float:
        """What one more exposure costs in time, in samples."""
        return self.campaign.setup_samples

    @property
    def budget_left(self) -> int:
        """Bad requests that may still happen: the smallest over the SLOs."""
        return self.campaign.budget_left()

    @property
    def left_s(self) -> float:
        """Seconds until `search.max_duration` is over."""
        header = self.campaign.header
        elapsed_s = self.campaign.asked_s - header.now_s if header else 0.0
        return self.search.max_duration_s - elapsed_s

    @property
    def cap(self) -> float | None:
        """The harshest severity that the guardrails allow on it; None is no limit."""
        return self.scenario.cap(self.ladder)

    def believed_broken(self, arm: int) -> float:
        """P(arm breaks at least one SLO), as far as the model believes (comonotone over SLOs)."""
        return max(belief.p_broke(arm) for belief in self.beliefs)


def climbs(campaign: Campaign) -> tuple[Climb, ...]:
    """Every ladder of a campaign, in the scenario's order."""
    return tuple(Climb(campaign, number) for number in range(len(campaign.ladders)))
