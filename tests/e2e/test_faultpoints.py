"""A run killed at each distinct fault point leaves nothing, in both topologies.

The points come from instrumentation, see `tests/faultpoints`; `benchmarks/left_behind.py --points`
strikes every occurrence of each and not only the first, with each topology on each server.
"""

from __future__ import annotations

import pytest

from tests.faultpoints.combinations import combinations, strikes
from tests.faultpoints.worlds import WITHIN_S

pytestmark = pytest.mark.e2e


def test_a_run_killed_at_any_point_leaves_nothing() -> None:
    every = combinations()
    wanted = every[::3] if len(every) == 4 else every  # each server and each topology once
    found = strikes(wanted, first=True, tell=print)
    for pair in wanted:
        kinds = [strike.point.kind for strike in found if strike.world == " ".join(pair)]
        # Fewer would mean that hooks no longer catch what they are for.
        assert {*kinds} == {"record", "watchdog", "api", "await"}
        assert len(kinds) > 60
    bad = [
        f"{strike.world}, {strike.point}: {'; '.join(strike.left)}"
        for strike in found
        if strike.left
    ]
    assert not bad, "\n".join(bad)
    assert max(strike.normal_s for strike in found) < WITHIN_S
