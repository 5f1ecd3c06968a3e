"""Latency: answers come later, by whole milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from chaosbandit.core import model
from chaosbandit.core.doses import Dose, Misdelivered, Misdelivery, Seen, register
from chaosbandit.core.doses._spacing import rounded, spaced
from chaosbandit.faults.fault import Toxic

QUANTUM_S = 0.001  # Toxiproxy counts in milliseconds
NOISE_S = 0.002  # what a median may be off by for no reason
DELIVERED_SHARE = 0.8  # of the asked dose must arrive at the dependency
LEAST_DELIVERED = 0.4  # whatever the jitter: less than this is not the dose
MOST_DELIVERED = 1.25  # times the asked dose may arrive there
FELT_SHARE = 0.05  # of the asked dose must be felt somewhere for the path to count as exercised
APART = 2.0  # severities this factor apart must be felt differently


@register
@dataclass(frozen=True, slots=True)
class Latency(Dose):
    """Every chunk of data is held back for `severity` seconds, give or take the jitter."""

    name: ClassVar[str] = "latency"
    unit: ClassVar[str] = "s"

    jitter: float = 0.0  # as a share of the latency
    stream: str = "downstream"

    def text(self, severity: float) -> str:
        """`190 ms`, `2.4 s`."""
        return f"{severity * 1000:.4g} ms" if severity < 1.0 else f"{severity:.4g} s"

    def grid(self, mild: float, harsh: float, resolution: float) -> tuple[float, ...]:
        """Whole milliseconds, even in the logarithm."""
        return rounded(spaced(mild, harsh, resolution), QUANTUM_S)

    def toxics(self, severity: float) -> tuple[Toxic, ...]:
        """One toxic; jitter is rounded to milliseconds, too."""
        latency_ms = round(severity * 1000)
        attributes = {"latency": latency_ms, "jitter": round(latency_ms * self.jitter)}
        return (Toxic("latency", attributes, self.stream),)

    def delay_s(self, severity: float) -> float:
        """The severity itself: jitter is drawn evenly around it."""
        return severity

    def longest_s(self, severity: float) -> float:
        """The severity and all of its jitter."""
        return severity * (1.0 + self.jitter)

    def measured(self, severity: float, seen: Seen) -> tuple[float | None, float | None]:
        """Delivered: check less the usual check. Felt: canary less control, less the usual."""
        delivered_s = felt_s = None
        if seen.check_s is not None and seen.usual_check_s is not None:
            delivered_s = seen.check_s - seen.usual_check_s
        if seen.canary_s is not None and seen.control_s is not None:
            felt_s = seen.canary_s - seen.control_s - seen.steady_difference_s
        return delivered_s, felt_s

    def delivery(
        self,
        severity: float,
        delivered: float | None,
        noise_s: float,
        failed_checks: int = 0,
        checks: int = 0,
    ) -> Misdelivery | None:
        """Void when half of the checks fail, and outside 0.8 to 1.25 of what was asked.

        A check that is refused means that the path is closed, not that it is slow. Jitter widens
        the limits to what it may add or take: an answer in several chunks has the longest draw.
        """
        least = min(DELIVERED_SHARE, max(LEAST_DELIVERED, 1.0 - self.jitter)) * severity
        most = max(MOST_DELIVERED, 1.0 + self.jitter) * severity
        how = None
        if failed_checks and 2 * failed_checks >= checks:
            how = Misdelivered.CLOSED
        elif delivered is not None and delivered < least - noise_s:
            how = Misdelivered.LESS
        elif delivered is not None and delivered > most + noise_s:
            how = Misdelivered.MORE
        if how is None:
            return None
        return Misdelivery(how, severity, delivered, failed_checks, checks)

    def exercised(self, doses: Sequence[model.Dose]) -> bool:
        """Felt somewhere, and the more the harsher the dose: a canary may be slow by itself.

        True where nothing can be told: nothing arrived that was measured, or all of it is so mild
        that its share of 5 % hides in the noise.
        """
        known = [each for each in doses if each.delivered is not None]
        felt = {each.asked: _felt_s(known, each.asked) for each in known if each.felt is not None}
        if all(asked < 10 * NOISE_S for asked in felt):
            return True
        told = {asked: felt_s for asked, felt_s in felt.items() if asked >= NOISE_S}
        somewhere = any(s >= FELT_SHARE * asked + NOISE_S for asked, s in told.items())
        return somewhere and _grows(told)

    def explains(self, severity: float, latency_s: float) -> bool:
        """Not sooner than the dose arrives: what is back before was spoilt by something else."""
        return latency_s >= DELIVERED_SHARE * severity - NOISE_S

    def patient(self, severity: float, felt: float | None) -> bool:
        """A service that gives up behind a fallback answers well and fast: it must be felt."""
        return felt is not None and felt >= DELIVERED_SHARE * severity - NOISE_S


def _felt_s(doses: Sequence[model.Dose], asked: float) -> float:
    """What was felt of all exposures to one severity (median)."""
    return median(each.felt for each in doses if each.felt is not None and each.asked == asked)


def _grows(felt_s: dict[float, float]) -> bool:
    """Whether a harsher dose is felt more than the mildest, where some are far enough apart.

    Not the harshest: a breaker or a fallback may answer that one fast.
    """
    mildest = min(felt_s)
    harsher = [asked for asked in felt_s if asked >= APART * mildest]
    return not harsher or any(
        felt_s[asked] - felt_s[mildest] >= max(FELT_SHARE * (asked - mildest) - NOISE_S, 0.001)
        for asked in harsher
    )
