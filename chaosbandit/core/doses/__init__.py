"""The registry of doses: the kinds of fault with a number, and all that depends on the kind.

Each lives in a file of its name and registers itself there; the file is imported when the dose is
first asked for. Others ask the dose and never for its name, which is for files and reports only.
What `Dose` itself answers is right for a dose that takes no time and that nothing can measure.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import ClassVar, Protocol, TypeVar

from chaosbandit.core import model
from chaosbandit.faults.fault import Toxic
from chaosbandit.faults.softening import soft_form


@dataclass(frozen=True, slots=True)
class Seen:
    """What one exposure showed of its dose: medians in seconds, shares 0..1; None: not measured."""

    canary_s: float | None = None
    control_s: float | None = None
    check_s: float | None = None  # of the dependency, through its proxy
    usual_check_s: float | None = None  # the same in steady state
    steady_difference_s: float = 0.0  # canary less control, in steady state
    broken_share: float | None = None  # of the canary's requests: they got no response


class Misdelivered(StrEnum):
    """How what arrived at the dependency differs from the dose that was asked for."""

    CLOSED = "closed"  # checks fail: the path is closed, and not slow
    LESS = "less"
    MORE = "more"


@dataclass(frozen=True, slots=True)
class Misdelivery:
    """Why an exposure did not get its dose, in numbers; the words are made by who tells of it."""

    how: Misdelivered
    asked: float
    delivered: float | None
    failed_checks: int
    checks: int


class Dose(Protocol):
    """A kind of fault with a number, its severity; immutable, two with equal settings are equal."""

    name: ClassVar[str]
    unit: ClassVar[str]  # of its severities: "s", "share", or "" for a plain number
    rises: ClassVar[bool] = True  # whether the greater severity is the harsher one

    def text(self, severity: float) -> str:
        """A severity as an operator says it: `190 ms`, `3.1 %`."""
        ...

    def grid(self, mild: float, harsh: float, resolution: float) -> tuple[float, ...]:
        """The severities between, mildest first, each as the proxy can express it and only once."""
        ...

    def toxics(self, severity: float) -> tuple[Toxic, ...]:
        """What is put onto the proxy."""
        ...

    def measured(self, severity: float, seen: Seen) -> tuple[float | None, float | None]:
        """What arrived at the dependency and what users felt of it, in the unit of severities."""
        ...

    def softens(self, severity: float) -> bool:
        """Whether it can be let go without effect before it is taken off."""
        return all(soft_form(toxic) is not None for toxic in self.toxics(severity))

    def delay_s(self, severity: float) -> float:
        """How much later an answer comes through it, at the median."""
        return 0.0

    def longest_s(self, severity: float) -> float:
        """How much later an answer comes through it, at most."""
        return self.delay_s(severity)

    def delivery(
        self,
        severity: float,
        delivered: float | None,
        noise_s: float,
        failed_checks: int = 0,
        checks: int = 0,
    ) -> Misdelivery | None:
        """What makes an exposure void, or None; `noise_s` is what a median may be off by."""
        return None

    def exercised(self, doses: Sequence[model.Dose]) -> bool:
        """False when doses that arrived at the dependency show that users' requests avoid it."""
        return True

    def explains(self, severity: float, latency_s: float) -> bool:
        """Whether a bad answer that came after this time can be the dose's doing."""
        return True

    def patient(self, severity: float, felt: float | None) -> bool:
        """Whether what was felt shows that clients waited for all that the dose held back."""
        return False


_registry: dict[str, Dose] = {}
_AnyDose = TypeVar("_AnyDose", bound=type[Dose])


def register(kind: _AnyDose) -> _AnyDose:
    """Class decorator: make a dose known under its `name`."""
    _registry[kind.name] = kind()
    return kind


@cache
def names() -> tuple[str, ...]:
    """The doses there are, without importing any."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in modules if not name.startswith("_")))


def dose(name: str) -> Dose:
    """The dose of that name, with its usual settings."""
    if name not in names():
        raise ValueError(f"found a dose {name!r}, wanted one of: {', '.join(names())}")
    if name not in _registry:
        importlib.import_module(f"{__name__}.{name}")
    return _registry[name]
