"""The whole examination: together, in time, and without changing anything."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from chaosbandit.core.scenario import EMBEDDED, Proxy, Scenario
from chaosbandit.doctor import all_checks, sending_ceiling
from chaosbandit.doctor.all_checks import examine
from chaosbandit.doctor.findings import Finding, ok
from chaosbandit.doctor.what_to_examine import Subject
from chaosbandit.errors import HarnessError
from tests.doctor.faults import listed, put_on
from tests.doctor.looking import levels, one, subject
from tests.e2e.runs import listener
from tests.fake_api import constant, fake_api, raw
from tests.operator_path import OperatorPath, operator_path
from tests.simulated import scenario


@pytest.fixture(autouse=True)
def quick_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ceiling has tests of its own."""
    monkeypatch.setattr(sending_ceiling, "STEP_S", 0.1)
    monkeypatch.setattr(sending_ceiling, "RATES_PER_S", (50,))


def examined(subject: Subject) -> list[Finding]:
    return asyncio.run(examine(subject, lambda what: None))


def test_with_nothing_named(tmp_path: Path) -> None:
    told: list[str] = []
    found = asyncio.run(examine(subject(tmp_path), told.append))
    levels(found)
    assert one(found, "toxiproxy").level == one(found, "scenario").level == "note"
    assert one(found, "leftovers").level == "ok"
    assert told == ["looking at this machine", "measuring how fast this machine can send"]
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_each_kind(toxiproxy_url: str, tmp_path: Path) -> None:
    with operator_path(toxiproxy_url) as proxy:
        put_on(proxy, proxy.fault(expires_in_s=-100.0))
        before = listed(proxy)
        found = examined(subject(tmp_path, servers=(toxiproxy_url,)))
        levels(found)
        assert one(found, "toxiproxy").level == one(found, "clock skew").level == "ok"
        assert one(found, "leftovers").level == "fail"
        assert one(found, "sweeper").level == "note"
        assert listed(proxy) == before


def test_a_skewed_server_and_a_skewed_target(tmp_path: Path) -> None:
    async def look() -> list[Finding]:
        reply = raw("200 OK", '{"version": "2.12.0"}')
        dated = b"Date: Sun, 22 Nov 2020 12:00:00 GMT\r\nConnection"

        async def answer(method: str, path: str, body: bytes) -> bytes:
            return (
                raw("200 OK", "{}") if path == "/proxies" else reply.replace(b"Connection", dated)
            )

        async with fake_api(answer) as url:
            base = scenario(check=False)
            traffic = replace(base.traffic, url=f"{url}/x", control_url=f"{url}/x")
            there = subject(tmp_path, replace(base, traffic=traffic), servers=(url,))
            return await examine(there, lambda what: None)

    found = [finding for finding in asyncio.run(look()) if finding.check == "clock skew"]
    assert sorted(levels(found)) == ["fail", "note"]


def test_servers_of_the_ledger_are_looked_at_for_leftovers(
    toxiproxy_url: str, tmp_path: Path
) -> None:
    with operator_path(toxiproxy_url) as path:
        here = subject(tmp_path)
        fault = path.fault()
        here.ledger.record(fault)
        put_on(path, fault)
        found = one(examined(here), "leftovers")
        assert found.do == f"run `chaosbandit clean --toxiproxy {toxiproxy_url}`"
        far = replace(here, far=frozenset({"127.0.0.1"}))
        assert "was not asked" in one(examined(far), "leftovers").found


def test_the_embedded_server_is_started_for_a_look(tmp_path: Path) -> None:
    found = examined(subject(tmp_path, servers=(EMBEDDED,)))
    assert "embedded server starts" in one(found, "toxiproxy").found
    assert "sweeper" not in {finding.check for finding in found}


def test_a_check_that_hangs_or_breaks_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(subject: Subject) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return [ok("machine", "never")]

    async def broken(subject: Subject) -> Sequence[Finding]:
        raise HarnessError("a sieve", wanted="a boat", do="row")

    monkeypatch.setattr(all_checks, "CHECK_S", 1.0)
    monkeypatch.setattr(all_checks, "is_busy", lambda: False)
    monkeypatch.setattr("chaosbandit.doctor.machine.findings", hang)
    monkeypatch.setattr("chaosbandit.doctor.target.findings", broken)
    began_s = time.monotonic()
    found = examined(subject(tmp_path))
    assert time.monotonic() - began_s < 15
    assert one(found, "machine").found == "no answer within 1 s"
    assert (one(found, "target").found, one(found, "target").do) == ("a sieve", "row")


def test_a_silent_world_is_told_in_time(tmp_path: Path) -> None:
    async def look() -> list[Finding]:
        async with fake_api(constant(None)) as url:
            base = scenario(check=False)
            traffic = replace(base.traffic, url=f"{url}/x", control_url=f"{url}/y", timeout_s=30.0)
            places = (f"{url}/freeze",)
            there = subject(
                tmp_path, replace(base, traffic=traffic), servers=(url,), freeze_places=places
            )
            return await examine(there, lambda what: None)

    began_s = time.monotonic()
    found = asyncio.run(look())
    assert time.monotonic() - began_s < 20
    for check in ("target", "control", "toxiproxy", "kill switch"):
        assert one(found, check).level == "fail"


def examined_behind(path: OperatorPath, folder: Path) -> list[Finding]:
    """With a target that fails because its dependency is behind `path`."""

    async def look() -> list[Finding]:
        async with fake_api(constant(raw("503 Broken"))) as url:
            base = scenario()
            check = f"http://{path.listen}/"
            wired = replace(
                base,
                proxies=(Proxy("inventory", path.upstream, path.listen, check),),
                traffic=replace(base.traffic, url=url, control_url=url, timeout_s=0.5),
            )
            there = subject(folder, wired, servers=(path.url,))
            return await examine(there, lambda what: None)

    found = asyncio.run(look())
    levels(found)
    return found


def test_a_frozen_toxiproxy_comes_before_the_target(toxiproxy_url: str, tmp_path: Path) -> None:
    with operator_path(toxiproxy_url) as path:
        process = listener(toxiproxy_url.removeprefix("http://"))
        os.kill(process, signal.SIGSTOP)
        try:
            found = examined_behind(path, tmp_path)
        finally:
            os.kill(process, signal.SIGCONT)
    assert one(found, "toxiproxy").do == "it hangs or is frozen: restart it"
    for check in ("target", "dependency"):
        assert one(found, check).level == "fail"
        assert one(found, check).do == "first mend Toxiproxy, then look again"


def test_a_leftover_comes_before_the_target_and_is_told_once(
    toxiproxy_url: str, tmp_path: Path
) -> None:
    with operator_path(toxiproxy_url) as path:
        here = subject(tmp_path)
        fault = path.fault()
        here.ledger.record(fault)
        put_on(path, fault)
        found = examined_behind(path, tmp_path)
    assert one(found, "target").do == "first mend the leftovers, then look again"
    assert one(found, "dependency").do == "first mend the leftovers, then look again"
    assert one(found, "leftovers").do == f"run `chaosbandit clean --toxiproxy {toxiproxy_url}`"
    assert [each.check for each in found if fault.name in each.found] == ["leftovers"]
    assert "proxy inventory" not in {each.check for each in found}


def test_what_nothing_shows_is_said_of_a_scenario_on_the_operator_path(
    toxiproxy_url: str, tmp_path: Path
) -> None:
    with operator_path(toxiproxy_url) as path:
        assert one(examined_behind(path, tmp_path), "slow readers").level == "note"


def test_a_frozen_server_is_not_to_be_restarted_under_a_run(
    toxiproxy_url: str, tmp_path: Path
) -> None:
    with operator_path(toxiproxy_url) as path:
        here = subject(tmp_path, servers=(toxiproxy_url.replace("127.0.0.1", "localhost"),))
        here.ledger.record(path.fault())
        process = listener(toxiproxy_url.removeprefix("http://"))
        os.kill(process, signal.SIGSTOP)
        try:
            with here.ledger.lock_path("run001").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                found = examined(here)
        finally:
            os.kill(process, signal.SIGCONT)
    assert one(found, "toxiproxy").do.startswith("wait for run run001 of this host")


def test_another_service_at_the_port_is_told_once(tmp_path: Path) -> None:
    async def look() -> list[Finding]:
        async with fake_api(constant(raw("200 OK", "<html>"))) as url:
            return await examine(subject(tmp_path, servers=(url,)), lambda what: None)

    found = asyncio.run(look())
    assert one(found, "toxiproxy").level == "fail"
    assert {"clock skew", "sweeper", "API latency", "proxies"}.isdisjoint(f.check for f in found)


def test_what_is_late_on_a_busy_machine_only_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(scenario: Scenario | None) -> Sequence[Finding]:
        raise HarnessError("no answer", wanted="one", do="look")

    monkeypatch.setattr("chaosbandit.doctor.sending_ceiling.findings", broken)
    for busy, level in ((False, "fail"), (True, "warn")):
        monkeypatch.setattr(all_checks, "is_busy", partial(bool, busy))
        assert one(examined(subject(tmp_path)), "prober ceiling").level == level
