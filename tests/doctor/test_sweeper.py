"""Whether somebody sweeps."""

from __future__ import annotations

import time

from chaosbandit.core.names import SWEEPER, lease_name
from chaosbandit.doctor.sweeper import findings
from chaosbandit.toxiproxy.wire import ProxyRecord
from tests.doctor.looking import levels, shown

NOW_S = float(int(time.time()))


def lease(left_s: float, run: str = SWEEPER) -> ProxyRecord:
    return ProxyRecord(lease_name(run, int(NOW_S + left_s)), "127.0.0.1:0", "sweeper", False)


def test_one_at_work() -> None:
    (found,) = findings(shown(lease(-5), lease(42)), NOW_S)
    assert levels([found]) == ["ok"]
    assert "its lease lasts 4" in found.found


def test_none_or_one_that_left() -> None:
    for server in (shown(), shown(lease(100, "anyrun")), shown(lease(-60))):
        (found,) = findings(server, NOW_S)
        assert levels([found]) == ["note"]
        assert f"`chaosbandit clean --expired --watch --toxiproxy {server.url}`" in found.do
    assert "left 1 min 00 s ago" in findings(shown(lease(-60)), NOW_S)[0].found


def test_elsewhere_it_matters_more() -> None:
    assert levels(findings(shown(url="http://192.0.2.1:8474"), NOW_S)) == ["warn"]


def test_a_server_of_our_own_needs_none() -> None:
    assert findings(shown(embedded=True), NOW_S) == []
    assert findings(shown(proxies=None), NOW_S) == []
