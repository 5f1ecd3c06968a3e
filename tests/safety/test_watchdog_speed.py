"""How soon the path is normal after the engine's SIGKILL (long form: benchmarks/watchdog.py)."""

from __future__ import annotations

import statistics

import pytest

from benchmarks.watchdog import Kill, kills, summary
from tests.servers import Kind

pytestmark = pytest.mark.e2e


def test_the_path_is_normal_soon_after_the_engine_is_killed(toxiproxy_kind: Kind) -> None:
    found = kills(toxiproxy_kind, 8, seed=2)
    assert [kill.leftovers for kill in found] == [()] * 8
    times_s = [kill.normal_s for kill in found]
    assert statistics.median(times_s) < 0.25  # some 15 ms on an idle machine
    assert max(times_s) < 3.0  # before anybody could have taken silence for death


def test_the_summary_counts_what_was_late_and_what_was_left() -> None:
    found = [Kill(n / 1000, ()) for n in range(1, 200)] + [Kill(0.5, ("proxy cb.x",))]
    row = summary("embedded", found)
    assert (row.p50_s, row.p90_s, row.p99_s, row.worst_s) == (0.1, 0.18, 0.198, 0.5)
    assert (row.over_limit, row.leftovers) == (100, 1)
