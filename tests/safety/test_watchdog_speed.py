"""How soon the path is normal after the engine's SIGKILL (long form: benchmarks/watchdog.py)."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

import pytest

from chaosbandit.safety.ledger import FaultLedger
from tests.safety.test_watchdog import ended_within, running_victim
from tests.safety.watched_path import watched_path
from tests.servers import Kind, running_server

pytestmark = pytest.mark.e2e
_KILLS = 8


def test_the_path_is_normal_soon_after_the_engine_is_killed(
    toxiproxy_kind: Kind, tmp_path: Path
) -> None:
    rng, times_s = random.Random(2), []
    with running_server(toxiproxy_kind) as url, watched_path(url) as path:
        for _ in range(_KILLS):
            with running_victim(path, tmp_path, "dosed") as victim:
                time.sleep(rng.uniform(0.0, 0.5))
                victim.kill()
                times_s.append(path.wait_until_normal())
                assert ended_within(victim.watchdog_pid)
            assert path.is_normal()
            assert FaultLedger(tmp_path).entries().entries == ()
    assert statistics.median(times_s) < 0.25  # some 25 ms on an idle machine
    assert max(times_s) < 3.0  # before anybody could have taken silence for death
