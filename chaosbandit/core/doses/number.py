"""A plain number, for simulations: it says how sick a target is and puts nothing onto a proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chaosbandit.core.doses import Dose, Seen, register
from chaosbandit.core.doses._spacing import spaced
from chaosbandit.faults.fault import Toxic


@register
@dataclass(frozen=True, slots=True)
class Number(Dose):
    """No toxic at all; any severity above 0 can be expressed."""

    name: ClassVar[str] = "number"
    unit: ClassVar[str] = ""

    def text(self, severity: float) -> str:
        """`12.5`."""
        return f"{severity:.4g}"

    def grid(self, mild: float, harsh: float, resolution: float) -> tuple[float, ...]:
        """Even in the logarithm, not rounded."""
        return spaced(mild, harsh, resolution)

    def toxics(self, severity: float) -> tuple[Toxic, ...]:
        """None."""
        return ()

    def measured(self, severity: float, seen: Seen) -> tuple[float | None, float | None]:
        """Nothing is delivered, so nothing can be measured of it."""
        return None, None
