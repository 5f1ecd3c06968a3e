"""Severity <-> variant: the grid of one ladder and the sick canary at each of its arms.

What a severity is, and which toxics it becomes, is the dose's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chaosbandit.core import doses
from chaosbandit.core.doses import Dose
from chaosbandit.core.model import Variant


@dataclass(frozen=True, slots=True, init=False)
class Ladder:
    """A dose from `mild` to `harsh`: what varies, on which proxy, and how finely."""

    name: str
    proxy: str
    dose: Dose
    mild: float
    harsh: float
    resolution: float
    severities: tuple[float, ...] = field(init=False)

    def __init__(
        self,
        name: str,
        proxy: str,
        dose: Dose | str,
        mild: float,
        harsh: float,
        resolution: float,
        includes: float | None = None,
    ) -> None:
        """The name of a dose stands for it with its usual settings.

        `includes` is a severity that is to be an arm: where a gate is, so that it can be decided.
        """
        meant = doses.dose(dose) if isinstance(dose, str) else dose
        given = {"name": name, "proxy": proxy, "dose": meant, "mild": mild, "harsh": harsh}
        severities = meant.grid(mild, harsh, resolution)
        if includes is not None and mild <= includes <= harsh:
            severities = tuple(sorted({*severities, includes}))
        given |= {"resolution": resolution, "severities": severities}
        for attribute, value in given.items():
            object.__setattr__(self, attribute, value)

    @property
    def kind(self) -> str:
        """The name of its dose."""
        return self.dose.name

    @property
    def stream(self) -> str:
        """The direction that is hurt: `downstream`, `upstream`, or none."""
        return next((toxic.stream for toxic in self.dose.toxics(self.mild)), "")

    def variant(self, arm: int) -> Variant:
        """The sick canary of one arm (0 is the mildest)."""
        severity = self.severities[arm]
        return Variant(self.name, self.proxy, arm, severity, self.dose.toxics(severity))

    def text(self, severity: float) -> str:
        """A severity as an operator says it."""
        return self.dose.text(severity)
