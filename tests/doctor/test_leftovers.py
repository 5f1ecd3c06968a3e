"""Leftovers of dead runs, and living runs that a new one would collide with."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.core.scenario import Scenario
from chaosbandit.doctor.findings import Finding
from chaosbandit.doctor.leftovers import findings
from chaosbandit.doctor.server_answer import look
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import HONOURED_S, Kind, written
from chaosbandit.faults.undo_steps import stand_in
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord
from tests.doctor.faults import LATENCY, fault_of, listed, put_on, put_stand_in
from tests.doctor.looking import URL, levels, shown
from tests.operator_path import operator_path
from tests.simulated import scenario

NOW_S = float(int(time.time()))
SOON, LONG_AGO = int(NOW_S) + 100, int(NOW_S) - 3600
ELSEWHERE = ProxyRecord("cart", "127.0.0.1:3", "127.0.0.1:4")


def fault(expires: int = SOON) -> Fault:
    return fault_of("run001", expires)


def at_server(expires: int = SOON) -> ProxyRecord:
    """The operator's proxy with a toxic of ours."""
    toxic = ToxicRecord(fault(expires).name, "latency", "downstream", 1.0, LATENCY)
    return ProxyRecord("inventory", "127.0.0.1:2", "127.0.0.1:1", toxics=(toxic,))


def instead(expires: int = SOON) -> ProxyRecord:
    """A stand-in on its address."""
    return ProxyRecord(stand_in(fault(expires)), "127.0.0.1:2", "127.0.0.1:1")


def path(expires: int) -> ProxyRecord:
    """A path of ours without toxics."""
    name = written(Kind.PATH, "run001", expires, n=1)
    return ProxyRecord(name, "127.0.0.1:77", "127.0.0.1:1")


def lease(
    expires: int = SOON, target: str = "127.0.0.1:1", listen: str = "127.0.0.1:0"
) -> ProxyRecord:
    name = written(Kind.LEASE, "run001", expires)
    return ProxyRecord(name, listen, target, enabled=False)


@contextmanager
def alive(ledger: FaultLedger, run: str = "run001") -> Iterator[None]:
    """The run's lock is held, as by a living process."""
    ledger.prepare()
    held = os.open(ledger.lock_path(run), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


@contextmanager
def claimed(ledger: FaultLedger, **content: object) -> Iterator[None]:
    """A claim of the living run, which says this."""
    path = ledger.directory / "claim-1.lock"
    path.write_text(json.dumps({"run": "run001", **content}))
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def elsewhere(folder: Path, *records: ProxyRecord, over: Scenario | None = None) -> list[Finding]:
    """What is told of another host's run by what one server shows."""
    return findings(FaultLedger(folder), [shown(*records)], over, NOW_S)


def test_nothing(tmp_path: Path) -> None:
    found = findings(FaultLedger(tmp_path / "none"), [shown()], None, NOW_S)
    assert levels(found) == ["ok"]
    assert URL in found[0].found
    assert list(tmp_path.iterdir()) == []


def test_a_dead_run_in_the_ledger(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    path = ledger.record(fault())
    found = findings(ledger, [shown()], None, NOW_S)
    assert levels(found) == ["fail"]
    assert fault().name in found[0].found
    assert found[0].do == "run `chaosbandit clean`"
    assert found[0].found.endswith(f"; its server {URL} no longer has it")
    assert "was not asked" in findings(ledger, [], None, NOW_S)[0].found
    silent = findings(ledger, [shown(listing=None)], None, NOW_S)
    assert "does not say whether it still has it" in silent[0].found
    assert path.exists()  # looking removes nothing


def test_a_dead_run_at_the_server_as_well(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(fault())
    for records, where in (
        ([at_server()], " on inventory"),
        ([instead()], " in place of inventory"),
        ([at_server(), instead()], " on inventory and in place of inventory"),
    ):
        found = findings(ledger, [shown(*records)], None, NOW_S)
        assert levels(found) == ["fail"]
        assert found[0].do == f"run `chaosbandit clean --toxiproxy {URL}`"
        assert found[0].found.endswith(where)


@pytest.mark.parametrize("wired", [True, False])
def test_a_living_run(tmp_path: Path, wired: bool) -> None:
    ledger = FaultLedger(tmp_path)
    until = int(NOW_S) + 1000
    with alive(ledger), claimed(ledger, pid=4711, until_epoch_s=until, target="h:1"):
        ledger.record(fault())
        found = findings(ledger, [], scenario() if wired else None, NOW_S)
    assert levels(found) == ["warn" if wired else "note"]
    assert "run run001 (process 4711) is at work on this host with target h:1" in found[0].found
    assert ("a run now would be refused" in found[0].found) == wired


def test_a_living_run_with_a_toxic_says_where_and_until_when(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    with alive(ledger), claimed(ledger, pid=7, until_epoch_s=SOON, target="h:1"):
        ledger.record(fault())
        found = findings(ledger, [shown(at_server(), lease())], None, NOW_S)
    assert levels(found) == ["note"]
    assert f" with target h:1 and {fault().name} on inventory until " in found[0].found
    assert found[0].found.endswith(" at the latest")
    assert found[0].do == ""  # it is nobody else's to mend


def test_a_toxic_past_its_time_is_left_over_though_its_run_lives(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    with alive(ledger):
        ledger.record(fault(LONG_AGO))
        found = findings(ledger, [shown(at_server(LONG_AGO), path(LONG_AGO))], None, NOW_S)
    assert levels(found) == ["fail", "note"]
    assert f"left {fault(LONG_AGO).name} on inventory at {URL}, expired 1 h" in found[0].found
    assert found[0].do == f"run `chaosbandit clean --expired --toxiproxy {URL}`"
    assert "cb-path" not in found[0].found  # which stands as long as its run


def test_what_a_living_run_still_watches_after_it_is_gone_is_not_left_over(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    with alive(ledger):
        ledger.record(fault(LONG_AGO))  # a late call may bring it back, so it is not struck out
        assert levels(findings(ledger, [shown()], None, NOW_S)) == ["note"]


def test_a_living_run_of_which_only_the_claim_shows(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    with alive(ledger), claimed(ledger, pid=1, until_epoch_s=SOON, target="localhost:1"):
        found = findings(ledger, [], scenario(), NOW_S)
    assert levels(found) == ["warn"]


@pytest.mark.parametrize("record", [at_server, instead])
def test_runs_of_other_hosts(tmp_path: Path, record: Callable[[int], ProxyRecord]) -> None:
    gone = elsewhere(tmp_path, record(LONG_AGO))
    assert levels(gone) == ["fail"]
    assert gone[0].do == f"run `chaosbandit clean --expired --toxiproxy {URL}`"
    there = elsewhere(tmp_path, record(SOON))
    assert levels(there) == ["note"]
    assert f"inventory at {URL} until " in there[0].found
    assert f"`chaosbandit clean --run run001 --toxiproxy {URL}`" in there[0].do
    assert levels(elsewhere(tmp_path, record(SOON), over=scenario())) == ["warn"]


def test_another_proxy_is_no_conflict(tmp_path: Path) -> None:
    there = replace(ELSEWHERE, toxics=at_server().toxics)
    assert levels(elsewhere(tmp_path, there, over=scenario())) == ["note"]


@pytest.mark.parametrize(
    ("record", "level"),
    [
        (lease(), "warn"),
        (lease(target="127.0.0.1:99"), "note"),
        (lease(target="127.0.0.1:99", listen="localhost:2"), "warn"),
        (lease(LONG_AGO), "warn"),
    ],
)
def test_leases(tmp_path: Path, record: ProxyRecord, level: str) -> None:
    found = elsewhere(tmp_path, record, over=scenario())
    assert levels(found) == [level]
    assert "nobody honours" not in found[0].found


def test_a_lease_in_force_keeps_a_path_but_no_toxic(tmp_path: Path) -> None:
    kept = elsewhere(tmp_path, path(LONG_AGO), lease(LONG_AGO), lease())
    assert levels(kept) == ["note"]
    found = elsewhere(tmp_path, at_server(LONG_AGO), path(LONG_AGO), lease())
    assert levels(found) == ["fail", "note"]
    assert fault(LONG_AGO).name in found[0].found
    assert levels(elsewhere(tmp_path, path(LONG_AGO))) == ["fail"]


def test_a_lease_that_claims_too_much_is_nobodys(tmp_path: Path) -> None:
    far = lease(int(NOW_S) + HONOURED_S + 60)
    (found,) = elsewhere(tmp_path, far, over=scenario())
    assert levels([found]) == ["warn"]
    assert f"{far.name} at {URL} is a lease that nobody honours: it claims 11 min" in found.found
    assert f"`chaosbandit clean --toxiproxy {URL}`" in found.do
    assert levels(elsewhere(tmp_path, far)) == ["note"]
    both = elsewhere(tmp_path, far, path(LONG_AGO))
    assert levels(both) == ["note", "fail"]  # it keeps no path either


def test_damaged_files_and_stale_locks(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    path = ledger.record(fault())
    path.write_text("{")
    (tmp_path / "run-run009.lock").write_text("")
    found = findings(ledger, [], None, NOW_S)
    assert levels(found) == ["fail", "note"]
    assert f"{path} of run run001 cannot be read" in found[0].found
    assert "1 lock file of dead runs" in found[1].found


def test_files_that_others_may_have_written(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(fault()).chmod(0o666)
    found = findings(ledger, [shown(at_server())], None, NOW_S)
    assert levels(found) == ["warn", "fail"]
    assert f"others may have written the ledger's {fault().name}" in found[0].found


def test_at_a_server_of_each_kind(toxiproxy_url: str, tmp_path: Path) -> None:
    with operator_path(toxiproxy_url) as proxy:
        expired = put_on(proxy, proxy.fault(expires_in_s=-60.0))
        living = put_on(proxy, proxy.fault(run="run002"))
        stands_in = put_stand_in(proxy, living)
        before = listed(proxy)
        seen = asyncio.run(look(toxiproxy_url, ()))
        found = findings(FaultLedger(tmp_path), [seen], None, time.time())
        assert levels(found) == ["fail", "note"]
        assert f"{expired.name} on inventory at {toxiproxy_url}, expired" in found[0].found
        assert living.name in found[1].found
        assert stands_in in found[1].found
        assert "on inventory and in place of inventory at" in found[1].found
        assert listed(proxy) == before
