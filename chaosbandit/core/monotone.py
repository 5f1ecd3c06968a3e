"""Is the response monotone? What the arms' own counts say against it, and where to look for more.

The certificates assume that harsher is never better; nothing in them can notice a bump that was
stepped over. Here arms are judged one by one, on their own samples. Bumps between the arms that
were looked at stay invisible, so the absence of a finding proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chaosbandit.core.campaign import Arm
from chaosbandit.core.evidence import OWN_EVIDENCE
from chaosbandit.core.ratio_tests import log_e_above, log_e_below

ALPHA = 0.05  # chance of calling a monotone response not monotone, however often one looks
LOOK_FACTOR = 5.0  # a look is long enough to see most bumps this many times above the SLO's ratio
LOOK_MISS = 0.05  # and misses such a one this often
SPAN = 2.0  # looks are at most this factor apart: a bump as wide as this contains one of them


def not_monotone(
    arms: Sequence[Arm],
    taus: Sequence[float],
    held: int | None = None,
    broke: int | None = None,
    block: int = 1,
    alpha: float = ALPHA,
) -> list[tuple[int, int]]:
    """Pairs (lower, upper): the lower arm broke an SLO by itself, the upper one held all the same.

    `held` and `broke` are the arms that the campaign certifies; they need no further proof. If the
    response is monotone, own evidence of exceeding tau is valid at every arm that keeps to it, and
    own evidence of keeping to it at every arm that exceeds it, and a wrong pair needs one of those
    to err (an intersection-union test, Berger 1982) or the certificate to (with delta). Each of
    them reaches 1/x with chance at most x (Ville 1939): with x = alpha / (arms x SLOs), all pairs
    together err with at most alpha + delta, at any number of looks.
    """
    enough, numbers = _enough(arms, taus, alpha), range(len(arms))
    slos = range(len(taus))
    breaks = [max(above(arms[j], s, taus[s], block) for s in slos) >= enough for j in numbers]
    keeps = [min(_below(arms[j], s, taus[s], block) for s in slos) >= enough for j in numbers]
    if held is not None:
        keeps[held] = True
    if broke is not None:
        breaks[broke] = True
    found = []
    for lower in (j for j in numbers if breaks[j]):
        upper = next((j for j in numbers[lower + 1 :] if keeps[j] and not breaks[j]), None)
        if upper is not None:
            found.append((lower, upper))
    return found


def next_look(
    severities: Sequence[float],
    arms: Sequence[Arm],
    taus: Sequence[float],
    held: int,
    block: int = 1,
    alpha: float = ALPHA,
) -> tuple[int, int] | None:
    """(arm, samples) of the next look below a held arm, or None when there were enough.

    One arm in every factor of `SPAN`. A look without bad samples ends when a bump `LOOK_FACTOR`
    times above tau would have shown; one with some goes on until the arm's own evidence says that
    it holds (3 to 1, as for reported arms) or that it broke (enough for `not_monotone`).
    """
    enough = _enough(arms, taus, alpha)
    for number in _spaced(severities, held):
        wanted = 0
        for slo, tau in enumerate(taus):
            arm, clear = arms[number], math.ceil(-math.log(LOOK_MISS) / (LOOK_FACTOR * tau))
            bad = arm.bad[slo] if arm.bad else 0
            decided = (
                _below(arm, slo, tau, block) >= OWN_EVIDENCE
                or above(arm, slo, tau, block) >= enough
            )
            if decided or (bad == 0 and arm.samples >= clear * block):
                continue
            wanted = max(wanted, clear * block - arm.samples, clear // 4, 1)
        if wanted:
            return number, wanted
    return None


def _spaced(severities: Sequence[float], held: int) -> list[int]:
    """Arms below `held`, harshest first, no further apart than `SPAN` where the grid allows."""
    chosen, reach = [], severities[held]
    for arm in range(held - 1, -1, -1):
        last = arm == 0
        if last or severities[arm - 1] < reach / SPAN * (1 - 1e-9):
            chosen.append(arm)
            reach = severities[arm]
    return chosen


def _enough(arms: Sequence[Arm], taus: Sequence[float], alpha: float) -> float:
    """Evidence that counts, with alpha shared out over all arms and SLOs (Bonferroni)."""
    return math.log(len(arms) * len(taus) / alpha)


def above(arm: Arm, slo: int, tau: float, block: int) -> float:
    """Evidence that the arm exceeds tau, raised to 1/block: rounded to the weaker side."""
    if not arm.samples:
        return 0.0
    return log_e_above(-(-arm.samples // block), arm.bad[slo] // block, tau)


def _below(arm: Arm, slo: int, tau: float, block: int) -> float:
    """Likewise that it stays under tau."""
    samples = arm.samples // block
    return log_e_below(samples, min(samples, -(-arm.bad[slo] // block)), tau) if samples else 0.0
