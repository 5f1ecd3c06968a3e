"""`search.stop: gate`: is the breaking point above what `require` asks? Less than a bracket.

The bound is the top that may be exposed. One climbs to it as fast as the escalation rule lets one;
there a bet that it holds is bold: should it be wrong, it spoils only crossings at or below the
bound, which a gate that fails never needs. Any arm up to the bound that is certified to break fails
the gate.
"""

from __future__ import annotations

import numpy as np

from chaosbandit.core.guardrail import BELIEVED
from chaosbandit.core.model import Expose
from chaosbandit.core.policies._batches import BET, bet_held, certify, search
from chaosbandit.core.policies._prices import Reading

_TRIED = 6  # arms believed broken that are priced


def batch(reading: Reading) -> Expose:
    """The next batch at the bound, at an arm that seems to break, or as high as one may go."""
    bound, p_broke = reading.top, reading.p_broke
    if reading.cap == bound and p_broke[bound] < BET:
        return bet_held(reading, reading.held(bound, None), doubt=BET)
    broken = np.flatnonzero(p_broke[: reading.cap + 1] > BET)
    if not len(broken):
        climbs = p_broke[reading.cap] < BELIEVED  # else looks there could go on for long
        return search(reading, reading.cap if climbs else reading.best_look)
    arms = set(broken[np.linspace(0, len(broken) - 1, _TRIED).astype(int)].tolist())
    sides = [reading.broke(arm, None) for arm in sorted(arms)]
    return certify(reading, min(sides, key=lambda side: side.cost))
