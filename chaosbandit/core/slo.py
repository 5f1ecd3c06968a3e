"""SLIs, SLOs and the error budget: which samples are good, what share must be, what may be spent.

A transport error or a time-out is bad in every SLI, whatever its expression says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chaosbandit.core.model import Outcome, Sample


@dataclass(frozen=True, slots=True)
class SLI:
    """A sample is good when its status is in one of the ranges and its latency within the bound."""

    text: str  # as the user wrote it
    statuses: tuple[tuple[int, int], ...] = ()  # inclusive ranges; empty: any status
    latency_s: float | None = None

    def good(self, sample: Sample) -> bool:
        """Whether this sample counts as good."""
        if sample.outcome is not Outcome.RESPONSE or sample.status is None:
            return False
        if self.latency_s is not None and sample.latency_s > self.latency_s:
            return False
        return not self.statuses or any(lo <= sample.status <= hi for lo, hi in self.statuses)


@dataclass(frozen=True, slots=True)
class SLO:
    """An SLI and the share of samples that must be good (`objective`, 0..1)."""

    name: str
    sli: SLI
    objective: float

    @property
    def bad_ratio(self) -> float:
        """The largest bad ratio that still meets it (tau in the formulas)."""
        return round(1.0 - self.objective, 12)  # 10 bad of 100 must meet 90 %


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Bad samples a run may cause: `spend` of what the objective allows in a window of requests."""

    window_s: float
    requests: int
    spend: float

    def allowed(self, slo: SLO) -> int:
        """Bad samples this run may cause for one SLO (at least 0, rounded down)."""
        return int(self.requests * slo.bad_ratio * self.spend + 1e-9)

    def window_share(self, slo: SLO, bad: int) -> float:
        """Share of the whole window's error budget that `bad` samples are."""
        return bad / (self.requests * slo.bad_ratio)

    def burn_rate(self, slo: SLO, bad: int, samples: int) -> float:
        """How many times faster than the objective allows these samples burnt budget."""
        return (bad / samples) / slo.bad_ratio if samples else 0.0


def bad_flags(slos: Iterable[SLO], sample: Sample) -> tuple[bool, ...]:
    """For each SLO, whether the sample is bad."""
    return tuple(not slo.sli.good(sample) for slo in slos)


def scored(slos: tuple[SLO, ...], sample: Sample) -> Sample:
    """The sample with its flags, from its intended start and from when it was really sent."""
    bad = bad_flags(slos, sample)
    since_sent = bad
    if True in bad and sample.started_s > sample.intended_s:
        took_s = sample.latency_s - sample.lag_s
        since_sent = bad_flags(slos, replace(sample, latency_s=took_s))
    return Sample(  # called for every request: `replace` costs twice that
        sample.seq,
        sample.route,
        sample.intended_s,
        sample.started_s,
        sample.latency_s,
        sample.outcome,
        sample.status,
        bad,
        since_sent,
        sample.why,
    )
