"""The model's estimate of a breaking point in words, held to what is certified.

A belief never widens a certificate: its band ends where the bracket does.
"""

from __future__ import annotations

import math

from chaosbandit.core.certified_claims import best_guess, withdrawn
from chaosbandit.core.climb import Climb
from chaosbandit.core.judge import valid
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Bracket, Cause
from chaosbandit.report.numbers_in_words import spanned
from chaosbandit.report.records import EstimateResult

BAND = 0.90
MARK = "an estimate, not certified"


def estimated(climb: Climb, between: Bracket) -> EstimateResult | None:
    """About where it breaks; None where nothing was measured, or where what was has no such point.

    An arm that fails late has held at first, so the model takes two services for one.
    """
    if not _measured(climb) or withdrawn(climb) not in (None, Cause.NOT_REPEATED):
        return None
    guess = best_guess(climb)
    low, median, high = (
        _inside(severity, between) for severity in (guess.low, guess.median, guess.high)
    )
    return EstimateResult(
        median=_finite(median),
        low=_finite(low),
        high=_finite(high),
        band=BAND,
        text=_text(climb.ladder, low, median, high),
    )


def _measured(climb: Climb) -> bool:
    """Whether any exposure that counts, the open one included, has samples."""
    current = climb.current
    return any(each.samples for each in valid(climb.exposures)) or bool(current and current.samples)


def _inside(severity: float, between: Bracket) -> float:
    held = 0.0 if between.held is None else between.held
    broke = math.inf if between.broke is None else between.broke
    return min(max(severity, held), broke)


def _finite(severity: float) -> float | None:
    return severity if 0.0 < severity < math.inf else None


def _text(ladder: Ladder, low: float, median: float, high: float) -> str:
    """`about 197 ms (90 % band 190 to 206 ms), an estimate, not certified`."""
    middle = _said(ladder, median, "about ")
    if low == high:
        return f"{middle}, {MARK}"
    band = spanned(_said(ladder, low), _said(ladder, high))
    return f"{middle} ({BAND * 100:.0f} % band {band}), {MARK}"


def _said(ladder: Ladder, severity: float, inside: str = "") -> str:
    if severity == 0.0:
        return f"below {ladder.text(ladder.severities[0])}"
    if severity == math.inf:
        return f"above {ladder.text(ladder.severities[-1])}"
    return inside + ladder.text(float(f"{severity:.3g}"))
