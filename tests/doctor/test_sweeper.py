"""Whether somebody sweeps."""

from __future__ import annotations

import time

from chaosbandit.doctor.sweeper import findings
from chaosbandit.faults.names import HONOURED_S, SWEEPER, Kind, written
from chaosbandit.toxiproxy.wire_format import ProxyRecord
from tests.doctor.looking import levels, shown

NOW_S = float(int(time.time()))


def lease(left_s: float, run: str = SWEEPER) -> ProxyRecord:
    name = written(Kind.LEASE, run, int(NOW_S + left_s))
    return ProxyRecord(name, "127.0.0.1:0", "sweeper", False)


def test_one_at_work() -> None:
    (found,) = findings(shown(lease(-5), lease(42)), NOW_S)
    assert levels([found]) == ["ok"]
    assert "its lease lasts 4" in found.found


def test_none_or_one_that_left() -> None:
    for server in (shown(), shown(lease(100, "anyrun")), shown(lease(-60))):
        (found,) = findings(server, NOW_S)
        assert levels([found]) == ["note"]
        assert f"`chaosbandit clean --expired --watch --toxiproxy {server.url}`" in found.do
        assert "nobody honours" not in found.found
    assert "left 1 min 00 s ago" in findings(shown(lease(-60)), NOW_S)[0].found


def test_a_lease_that_claims_too_much_is_no_sweeper() -> None:
    (found,) = findings(shown(lease(HONOURED_S + 1)), NOW_S)
    assert levels([found]) == ["note"]
    assert found.found.startswith("none at ")
    assert "one that nobody honours" in found.found
    assert levels(findings(shown(lease(HONOURED_S + 1), lease(HONOURED_S)), NOW_S)) == ["ok"]


def test_elsewhere_it_matters_more() -> None:
    assert levels(findings(shown(url="http://192.0.2.1:8474"), NOW_S)) == ["warn"]


def test_a_server_of_our_own_needs_none() -> None:
    assert findings(shown(embedded=True), NOW_S) == []
    assert findings(shown(listing=None), NOW_S) == []
