"""Who has a proxy or a server in hand."""

from __future__ import annotations

import fcntl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.doctor.lease_holders import Holders, at_server, holder_of, on_proxy
from chaosbandit.faults.names import HONOURED_S, Kind, written
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy.wire_format import ProxyRecord, ToxicRecord
from tests.doctor.faults import LATENCY, fault_of
from tests.doctor.looking import URL

NOW_S = int(time.time())
CLEAN = ProxyRecord("inventory", "127.0.0.1:2", "127.0.0.1:1")


def toxic(name: str) -> ToxicRecord:
    return ToxicRecord(name, "latency", "downstream", 1.0, LATENCY)


def dosed(left_s: int) -> ProxyRecord:
    return replace(CLEAN, toxics=(toxic(written(Kind.TOXIC, "run001", NOW_S + left_s)),))


def stand_in(left_s: int, proxy: str = "inventory") -> ProxyRecord:
    return replace(CLEAN, name=written(Kind.STAND_IN, "run002", NOW_S + left_s, proxy=proxy))


def lease(left_s: int, listen: str = "localhost:2") -> ProxyRecord:
    name = written(Kind.LEASE, "run003", NOW_S + left_s)
    return ProxyRecord(name, "127.0.0.1:0", f"127.0.0.1:9 {listen}", enabled=False)


@pytest.mark.parametrize(
    ("records", "run"),
    [
        ([CLEAN], ""),
        ([replace(CLEAN, toxics=(toxic("theirs"),))], ""),
        ([dosed(60)], "run001"),
        ([dosed(0)], ""),
        ([CLEAN, stand_in(60)], "run002"),
        ([CLEAN, stand_in(60, "cart")], ""),
        ([CLEAN, lease(60)], "run003"),
        ([CLEAN, lease(60, "127.0.0.1:3")], ""),
        ([CLEAN, lease(60, "127.0.0.1:0")], ""),
        ([CLEAN, lease(HONOURED_S + 60)], ""),
        ([dosed(60), stand_in(90), lease(30)], "run002"),
    ],
)
def test_by_what_a_server_lists(records: list[ProxyRecord], run: str) -> None:
    found = holder_of(records[0], {record.name: record for record in records}, NOW_S)
    assert found.startswith(f"run {run}, which holds inventory until ") if run else found == ""


def test_a_proxy_that_listens_nowhere_in_particular() -> None:
    anywhere = replace(CLEAN, listen="127.0.0.1:0")
    asked = lease(60, "127.0.0.1:0")
    assert holder_of(anywhere, {"inventory": anywhere, asked.name: asked}, NOW_S) == ""


def test_whatever_its_time() -> None:
    listed = {"inventory": dosed(-60), (other := stand_in(-60)).name: other}
    assert {name.run for name in on_proxy("inventory", listed)} == {"run001", "run002"}
    assert on_proxy("cart", listed) == []


def test_by_the_ledger(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    for run in ("run001", "run002"):
        ledger.record(fault_of(run, NOW_S + 60, server=f"{URL}/"))
    ledger.record(fault_of("run003", NOW_S + 60, server="http://127.0.0.1:9"))
    with ledger.lock_path("run002").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = at_server(URL.replace("127.0.0.1", "localhost"), ledger, ledger.entries())
    assert found == Holders(living=("run002",), dead=("run001",))


def test_what_is_to_be_over_first() -> None:
    assert Holders(dead=("run001",)).first("restart it") == "restart it"
    said = Holders(("run001",)).first("restart it")
    assert said.endswith("which is at work there, or stop it; then restart it")
