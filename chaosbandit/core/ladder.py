"""Severity <-> toxics: the grid of one ladder and the variant at each of its arms.

A severity is seconds (latency), a share 0..1 (errors) or, in simulations, a plain number. Grids are
even in the logarithm with step (1 + resolution)^(1/4) and rounded to what the proxy can express, so
arms never repeat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from chaosbandit.core.model import Variant
from chaosbandit.faults.fault import Toxic

STEPS_PER_RESOLUTION = 4


@dataclass(frozen=True, slots=True)
class Ladder:
    """From `mild` to `harsh`: what varies, on which proxy, and how finely."""

    name: str
    proxy: str
    kind: str  # "latency", "errors", or "number": no toxic at all
    mild: float
    harsh: float
    resolution: float
    jitter: float = 0.0  # latency only: jitter as a share of the latency
    stream: str = "downstream"
    severities: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "severities", _grid(self))

    def variant(self, arm: int) -> Variant:
        """The sick canary of one arm (0 is the mildest)."""
        severity = self.severities[arm]
        toxics = () if self.kind == "number" else (self._toxic(severity),)
        return Variant(self.name, self.proxy, arm, severity, toxics)

    def _toxic(self, severity: float) -> Toxic:
        if self.kind == "latency":
            latency_ms = round(severity * 1000)
            attributes = {"latency": latency_ms, "jitter": round(latency_ms * self.jitter)}
            return Toxic("latency", attributes, self.stream)
        # Closes at the first byte; reset_peer would leak past its toxicity (toxiproxy #603).
        return Toxic("limit_data", {"bytes": 0}, self.stream, toxicity=severity)

    def text(self, severity: float) -> str:
        """A severity as an operator says it."""
        return text_of(self.kind, severity)


def text_of(kind: str, severity: float) -> str:
    """A severity of a kind of ladder in words: `190 ms`, `2.4 s`, `3.1 %`."""
    if kind == "number":
        return f"{severity:.4g}"
    if kind != "latency":
        return f"{severity * 100:.3g} %"
    return f"{severity * 1000:.4g} ms" if severity < 1.0 else f"{severity:.4g} s"


def _grid(ladder: Ladder) -> tuple[float, ...]:
    step = math.log1p(ladder.resolution) / STEPS_PER_RESOLUTION
    n = max(1, math.ceil(math.log(ladder.harsh / ladder.mild) / step - 1e-9))
    raw = tuple(min(ladder.mild * math.exp(step * j), ladder.harsh) for j in range(n + 1))
    if ladder.kind == "number":
        return raw
    quantum = 0.001 if ladder.kind == "latency" else 1e-6
    units = dict.fromkeys(max(1, round(severity / quantum)) for severity in raw)
    return tuple(round(unit * quantum, 6) for unit in units)
