"""What there is of runs, in the ledger and at servers."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from chaosbandit.doctor.leftover_search import (
    Trace,
    claims_in,
    runs_with_locks,
    stale_locks,
    traces_of,
)
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import HONOURED_S, SWEEPER, Kind, written
from chaosbandit.faults.undo_steps import stand_in
from chaosbandit.safety.ledger import Entries, Entry
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord
from tests.doctor.faults import LATENCY, fault_of
from tests.doctor.looking import URL, shown

SOON = int(time.time()) + 100
CLEAN = ProxyRecord("inventory", "127.0.0.1:2", "127.0.0.1:1")


def dosed(fault: Fault, on: ProxyRecord = CLEAN) -> ProxyRecord:
    """The proxy with the fault's toxics, as a server shows it."""
    toxics = [ToxicRecord(t.name, t.type, t.stream, t.toxicity, LATENCY) for t in fault.toxics]
    return replace(on, toxics=tuple(toxics))


def traces(fault: Fault | None, *records: ProxyRecord) -> dict[str, Trace]:
    entries = Entries(() if fault is None else (Entry(fault),))
    return {trace.name: trace for trace in traces_of(entries, [shown(*records)])}


def test_each_once_and_no_sweepers() -> None:
    fault, lease = fault_of(expires_epoch_s=SOON), written(Kind.LEASE, "run001", SOON)
    found = traces(
        fault,
        dosed(fault),
        replace(CLEAN, name=lease, enabled=False),
        replace(CLEAN, name=written(Kind.LEASE, SWEEPER, SOON), enabled=False),
        replace(CLEAN, name="theirs"),
    )
    assert set(found) == {fault.name, lease}
    of_fault, of_lease = found[fault.name], found[lease]
    assert (of_fault.in_ledger, of_fault.at_server, of_fault.is_lease) == (1, 1, 0)
    assert (of_lease.in_ledger, of_lease.at_server, of_lease.is_lease) == (0, 1, 1)
    assert (of_fault.acts, of_lease.acts) == (True, False)


def test_the_second_toxic_of_a_fault_is_the_fault() -> None:
    fault = fault_of(expires_epoch_s=SOON, toxics=2)
    left = dosed(replace(fault, toxics=fault.toxics[1:]))
    assert set(traces(fault, left)) == {fault.name}
    assert set(traces(None, left)) == {fault.toxics[1].name}


def test_a_server_under_another_name_is_where_it_was_seen() -> None:
    fault = fault_of(expires_epoch_s=SOON, server="http://toxiproxy:8474")
    assert traces(fault, dosed(fault))[fault.name].fault.server == URL
    assert traces(fault)[fault.name].fault.server == "http://toxiproxy:8474"


def test_a_stand_in_is_in_place_of_the_operator_path() -> None:
    fault = fault_of(expires_epoch_s=SOON)
    name = stand_in(fault)
    for known, is_written in ((fault, True), (None, False)):
        found = traces(known, replace(CLEAN, name=name))[name]
        assert (found.is_stand_in, found.proxy, found.acts) == (True, "inventory", True)
        assert (found.in_ledger, found.at_server) == (is_written, True)


def test_a_path_of_ours_acts_only_with_toxics() -> None:
    path = replace(CLEAN, name=written(Kind.PATH, "run001", SOON, n=1))
    found = traces(None, dosed(fault_of(expires_epoch_s=SOON, proxy=path.name), path))
    assert {(trace.proxy, trace.acts) for trace in found.values()} == {("", True), ("", False)}


def test_times() -> None:
    end = fault_of(expires_epoch_s=SOON)
    assert [Trace(end).is_over(now) for now in (SOON - 1, SOON)] == [False, True]
    lease = replace(end, name=written(Kind.LEASE, "run001", SOON), toxics=(), owned=True)
    claimed = [SOON - HONOURED_S, SOON - HONOURED_S - 1]
    assert [Trace(lease).is_unhonoured(now) for now in claimed] == [False, True]
    assert not Trace(end).is_unhonoured(0)


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
    claim = {"run": "run001", "pid": 7, "until_epoch_s": SOON, "target": "h:1"}
    (tmp_path / "claim-1.lock").write_text(json.dumps(claim))
    (tmp_path / "claim-2.lock").write_text('{"run": ')
    (tmp_path / "claim-3.lock").write_text("[]")
    assert claims_in(tmp_path) == {"run001": [claim]}
    assert claims_in(tmp_path / "none") == {}
