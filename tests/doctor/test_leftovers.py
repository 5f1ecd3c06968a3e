"""Leftovers of dead runs, and living runs that a new one would collide with."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.core.model import Fault
from chaosbandit.core.names import fault_name, lease_name
from chaosbandit.doctor.leftovers import findings
from chaosbandit.doctor.servers import look
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.wire import ProxyRecord
from tests.doctor.looking import URL, levels, shown
from tests.operator_path import operator_path
from tests.simulated import scenario

NOW_S = time.time()
SOON, LONG_AGO = int(NOW_S) + 100, int(NOW_S) - 3600


def fault(run: str = "run001", expires: int = SOON) -> Fault:
    name = fault_name(run, expires, 1, "inventory")
    return Fault(run, URL, name, "127.0.0.1:2", "127.0.0.1:1", "inventory", expires, ())


def at_server(run: str = "run001", expires: int = SOON) -> ProxyRecord:
    return ProxyRecord(fault(run, expires).name, "127.0.0.1:2", "127.0.0.1:1")


def lease(expires: int = SOON, target: str = "127.0.0.1:1") -> ProxyRecord:
    return ProxyRecord(lease_name("run001", expires), "127.0.0.1:0", target, enabled=False)


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
    silent = findings(ledger, [shown(proxies=None)], None, NOW_S)
    assert "does not say whether it still has it" in silent[0].found
    assert path.exists()  # looking removes nothing


def test_a_dead_run_at_the_server_as_well(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(fault())
    found = findings(ledger, [shown(at_server())], None, NOW_S)
    assert levels(found) == ["fail"]
    assert found[0].do == f"run `chaosbandit clean --toxiproxy {URL}`"
    assert found[0].found.endswith(" in place of inventory")


@pytest.mark.parametrize("wired", [True, False])
def test_a_living_run(tmp_path: Path, wired: bool) -> None:
    ledger = FaultLedger(tmp_path)
    with alive(ledger):
        ledger.record(fault())
        until = int(NOW_S) + 1000
        claim = {"run": "run001", "pid": 4711, "until_epoch_s": until, "what": "target h:1"}
        (tmp_path / "claim-1.lock").write_text(json.dumps(claim))
        held = os.open(tmp_path / "claim-1.lock", os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        found = findings(ledger, [], scenario() if wired else None, NOW_S)
        os.close(held)
    assert levels(found) == ["warn" if wired else "note"]
    assert "run run001 (process 4711) is at work on this host with target h:1" in found[0].found
    assert ("a run now would be refused" in found[0].found) == wired


def test_a_living_run_of_which_only_the_claim_shows(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    with alive(ledger):
        content = {"run": "run001", "pid": 1, "until_epoch_s": SOON, "what": "target localhost:1"}
        (tmp_path / "claim-1.lock").write_text(json.dumps(content))
        with (tmp_path / "claim-1.lock").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            found = findings(ledger, [], scenario(), NOW_S)
    assert levels(found) == ["warn"]


def test_runs_of_other_hosts(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    gone = findings(ledger, [shown(at_server(expires=LONG_AGO))], None, NOW_S)
    assert levels(gone) == ["fail"]
    assert gone[0].do == f"run `chaosbandit clean --expired --toxiproxy {URL}`"
    there = findings(ledger, [shown(at_server())], None, NOW_S)
    assert levels(there) == ["note"]
    assert f"`chaosbandit clean --run run001 --toxiproxy {URL}`" in there[0].do
    assert levels(findings(ledger, [shown(at_server())], scenario(), NOW_S)) == ["warn"]


@pytest.mark.parametrize(
    ("record", "level"),
    [(lease(), "warn"), (lease(target="127.0.0.1:99"), "note"), (lease(LONG_AGO), "warn")],
)
def test_leases(tmp_path: Path, record: ProxyRecord, level: str) -> None:
    found = findings(FaultLedger(tmp_path), [shown(record)], scenario(), NOW_S)
    assert levels(found) == [level]


def test_damaged_files_and_stale_locks(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    path = ledger.record(fault())
    path.write_text("{")
    (tmp_path / "run-run009.lock").write_text("")
    found = findings(ledger, [], None, NOW_S)
    assert levels(found) == ["fail", "note"]
    assert f"{path} of run run001 cannot be read" in found[0].found
    assert "1 lock file of dead runs" in found[1].found


def test_at_a_server_of_each_kind(toxiproxy_url: str, tmp_path: Path) -> None:
    with operator_path(toxiproxy_url) as path:
        expired = path.fault(expires_in_s=-60.0)
        path.inject(replace(expired, expires_epoch_s=expired.expires_epoch_s))
        before = path.names()
        seen = asyncio.run(look(toxiproxy_url, ()))
        found = findings(FaultLedger(tmp_path), [seen], None, time.time())
        assert levels(found) == ["fail"]
        assert expired.name in found[0].found
        assert path.names() == before
        path.call("DELETE", f"/proxies/{expired.name}")
        seen = asyncio.run(look(toxiproxy_url, ()))
        assert levels(findings(FaultLedger(tmp_path), [seen], None, time.time())) == ["ok"]
