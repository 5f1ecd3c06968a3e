"""A run killed at a fault point leaves nothing, on both servers and in both topologies.

The points come from instrumentation, see `tests/faultpoints`. Here some of every kind are struck,
each server and each topology once with every change, and crosswise in the matrix;
`benchmarks/left_behind.py --points --random 200` strikes the first of every site, and more.
"""

from __future__ import annotations

import pytest

from tests.faultpoints.combinations import combinations, strikes
from tests.faultpoints.worlds import WATCHED_S, WITHIN_S
from tests.tiers import first_alone

pytestmark = pytest.mark.e2e

SITES = 20


CROSSWISE = (("real edge", "embedded canary"),), (("embedded edge", "real canary"),)


@pytest.mark.parametrize("pairs", first_alone(CROSSWISE), ids=" and ".join)
def test_a_run_killed_at_any_point_leaves_nothing(pairs: tuple[str, ...]) -> None:
    wanted = [each for each in combinations() if " ".join(each) in pairs]
    found = strikes(wanted, ["--sample", str(SITES)], tell=print, at_once=len(wanted))
    for pair in wanted:
        kinds = [strike.point.kind for strike in found if strike.world == " ".join(pair)]
        # Fewer would mean that hooks no longer catch what they are for.
        assert {*kinds} == {"record", "watchdog", "api", "await", "end"}
        assert len(kinds) > SITES / 2
    bad = [
        f"{strike.world}, {strike.point}: {'; '.join(strike.left)}"
        for strike in found
        if strike.left
    ]
    assert not bad, "\n".join(bad)
    assert all(strike.normal_s < (WATCHED_S if strike.is_end else WITHIN_S) for strike in found)
    assert not all(strike.watched for strike in found if not strike.is_end)
