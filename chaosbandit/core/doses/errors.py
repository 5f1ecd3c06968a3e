"""Errors: a share of the connections is closed at the first byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chaosbandit.core.doses import Dose, Seen, register
from chaosbandit.core.doses._spacing import rounded, spaced
from chaosbandit.faults.fault import Toxic

QUANTUM = 1e-6  # far finer than any run can tell


@register
@dataclass(frozen=True, slots=True)
class Errors(Dose):
    """A connection is drawn with the probability `severity`, 0..1, and closed."""

    name: ClassVar[str] = "errors"
    unit: ClassVar[str] = "share"

    stream: str = "downstream"

    def text(self, severity: float) -> str:
        """`3.1 %`."""
        return f"{severity * 100:.3g} %"

    def grid(self, mild: float, harsh: float, resolution: float) -> tuple[float, ...]:
        """Shares, even in the logarithm."""
        return rounded(spaced(mild, harsh, resolution), QUANTUM)

    def toxics(self, severity: float) -> tuple[Toxic, ...]:
        """Closes at the first byte; reset_peer would leak past its toxicity (toxiproxy #603)."""
        return (Toxic("limit_data", {"bytes": 0}, self.stream, toxicity=severity),)

    def measured(self, severity: float, seen: Seen) -> tuple[float | None, float | None]:
        """The share of broken requests is both: with a connection each they are what is drawn."""
        return seen.broken_share, seen.broken_share
