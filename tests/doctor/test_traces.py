"""What there is of runs, in the ledger and at servers."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from chaosbandit.core.model import Fault
from chaosbandit.core.names import SWEEPER, fault_name, lease_name
from chaosbandit.doctor.traces import claims_in, runs_with_locks, stale_locks, traces_of
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.wire import ProxyRecord
from tests.doctor.looking import URL, shown

SOON = int(time.time()) + 100


def test_each_once_and_no_sweepers(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    name, lease = fault_name("run001", SOON, 1, "stock"), lease_name("run001", SOON)
    ledger.record(Fault("run001", URL, name, "l:1", "u:1", "stock", SOON, ()))
    server = shown(
        ProxyRecord(name, "l:1", "u:1"),
        ProxyRecord(lease, "l:1", "u:1", enabled=False),
        ProxyRecord(lease_name(SWEEPER, SOON), "l:1", "sweeper", enabled=False),
        ProxyRecord("theirs", "l:2", "u:1"),
    )
    found = {trace.name: trace for trace in traces_of(ledger, [server])}
    assert set(found) == {name, lease}
    assert (found[name].in_ledger, found[name].at_server, found[name].is_lease) == (1, 1, 0)
    assert (found[lease].in_ledger, found[lease].at_server, found[lease].is_lease) == (0, 1, 1)


def test_locks(tmp_path: Path) -> None:
    for name in ("run-run001.lock", "run-run002.lock", "claim-1.lock"):
        (tmp_path / name).write_text("")
    held = os.open(tmp_path / "run-run002.lock", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert runs_with_locks(tmp_path) == {"run001", "run002"}
        assert stale_locks(tmp_path, set()) == 2
        assert stale_locks(tmp_path, {"run001"}) == 1
    finally:
        os.close(held)


def test_claims(tmp_path: Path) -> None:
    claim = {"run": "run001", "pid": 7, "until_epoch_s": SOON, "what": "target h:1"}
    (tmp_path / "claim-1.lock").write_text(json.dumps(claim))
    (tmp_path / "claim-2.lock").write_text('{"run": ')
    (tmp_path / "claim-3.lock").write_text("[]")
    assert claims_in(tmp_path) == {"run001": [claim]}
    assert claims_in(tmp_path / "none") == {}
