"""`clean`: by the ledger, by names alone, never what is not ours, and never twice differently."""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from chaosbandit.cleaning.clean import clean
from chaosbandit.cleaning.report import CleanReport
from chaosbandit.errors import UsageError
from chaosbandit.faults import by_hand
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.names import SWEEPER, Kind, written
from chaosbandit.faults.undo_steps import stand_in
from chaosbandit.safety.ledger import FaultLedger
from tests.cleaning.operators import (
    ORIGINAL,
    OperatorPath,
    free_port,
    own_path,
    silent_server,
)
from tests.fake_api import fake_api, raw


def sweep(
    ledger: FaultLedger,
    *servers: str,
    run: str | None = None,
    expired: bool = False,
    dry_run: bool = False,
    deadline_s: float = 5.0,
    later_s: float = 0.0,
) -> CleanReport:
    now_epoch_s = time.time() + later_s
    return clean(ledger, servers, run, expired, dry_run, now_epoch_s, deadline_s)


def nowhere(url: str) -> OperatorPath:
    """An operator's path where nothing is."""
    return OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")


@contextmanager
def alive(ledger: FaultLedger, run: str) -> Iterator[None]:
    """Have a run that is alive on this host."""
    ledger.prepare()
    with ledger.lock_path(run).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_ledger_alone_is_enough_and_twice_is_as_good_as_once(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault(types=("latency", "slow_close"))
    ledger.record(fault)
    path.inject(fault)
    report = sweep(ledger)
    assert report.undone == (fault,)
    assert report.exit_code == 0, report.text()
    assert report.notes == ()
    assert path.is_normal()
    assert sweep(ledger, path.url) == CleanReport(looked_at=(path.url,))
    assert path.is_normal()


def test_names_alone_are_enough_once_expired(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault(types=("latency", "slow_close"))
    path.inject(fault)
    early = sweep(ledger, path.url)
    assert early.undone == ()
    assert "may be alive on another host" in early.skipped[0].why
    assert early.confirmed
    report = sweep(ledger, path.url, expired=True, later_s=400)
    assert [item.toxic_names for item in report.undone] == [fault.toxic_names]
    assert report.undone[0].proxy == ORIGINAL
    assert path.is_normal()
    assert not ledger.directory.exists()


def test_names_alone_are_enough_for_a_named_run(path: OperatorPath, ledger: FaultLedger) -> None:
    path.inject(path.fault())
    misspelt = sweep(ledger, path.url, run="run999")
    assert misspelt.found == ()
    assert misspelt.text() == (
        f"nothing of run run999 was found in the ledger or at {path.url}; other runs seen: run001"
    )
    assert sweep(ledger, path.url, run="run001").confirmed
    assert path.is_normal()


def test_path_of_our_own_goes_with_its_toxics(path: OperatorPath, ledger: FaultLedger) -> None:
    own = own_path(path, expires_in_s=300)
    dose = replace(path.fault(), proxy=own.proxy)
    path.inject(dose)
    report = sweep(ledger, path.url, run="run001")
    assert {one.name for one in report.undone} == {own.name, dose.name}
    assert path.is_normal()


def test_toxic_on_a_path_of_our_own_goes_before_the_path_does(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    own = own_path(path, expires_in_s=300)
    dose = replace(path.fault(expires_in_s=-5), proxy=own.proxy)
    path.inject(dose)
    report = sweep(ledger, path.url, expired=True)
    assert [one.name for one in report.undone] == [dose.name]
    assert [item.fault.name for item in report.skipped] == [own.name]
    assert path.toxics(own.name) == []


def test_what_is_not_ours_is_not_touched(path: OperatorPath, ledger: FaultLedger) -> None:
    foreign = ["cb.mine", "cb-other", "db", "cb.run001.1.1.a.b", "CB.run001.1.1", "cb.run001.1.x"]
    foreign += ["cb-lease.run001", "cb-lease.run001.1.1", "cb-lease.RUN001.1", "xcb-lease.run001.1"]
    for name in foreign:
        path.create(name)
        for toxic in ("latency_downstream", "cb.mine", "cb.run001.1"):
            body = {"type": "latency", "name": toxic}
            assert path.call("POST", f"/proxies/{name}/toxics", body) == 200
    before = [path.show(name) for name in path.names()]
    path.inject(path.fault())
    assert sweep(ledger, path.url, run="run001").confirmed
    assert [path.show(name) for name in path.names()] == before


@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("run", [None, "run001"])
def test_dry_run_touches_nothing(
    path: OperatorPath, ledger: FaultLedger, run: str | None, expired: bool
) -> None:
    fault, other = (path.fault(n, expires_in_s=-n) for n in (5, 9))
    ledger.record(replace(fault, bypass="http://127.0.0.1:1/?token=secret"))
    ledger.record(other).write_text("torn")
    ledger.lock_path("run001").touch()
    (ledger.directory / "claim-x.lock").write_text("{}")
    path.inject(fault)
    path.inject(other)
    path.hold("run001", -5)
    before = everything(path, ledger)
    report = sweep(ledger, path.url, run=run, expired=expired, dry_run=True)
    assert everything(path, ledger) == before
    assert len(report.planned) == 3
    assert report.undone == ()
    assert f"would be undone: {fault.name}" in report.text()
    assert not report.confirmed
    assert sweep(ledger, path.url, run="run999", dry_run=True).planned == ()


def everything(path: OperatorPath, ledger: FaultLedger) -> object:
    """All that a clean-up could change: proxies as the server shows them, and files."""
    proxies = {name: path.show(name) for name in path.names()}
    files = {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino)
        for file in ledger.directory.iterdir()
    }
    return proxies, files, ledger.directory.stat().st_mtime_ns


def test_living_run_keeps_its_fault_unless_named_or_expired(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault()
    ledger.record(fault)
    path.inject(fault)
    with alive(ledger, "run001"):
        report = sweep(ledger, path.url)
        assert report.undone == ()
        assert "run run001 is alive" in report.skipped[0].why
        assert path.toxics() == [fault.name]
        assert sweep(ledger, path.url, run="run001").undone == (fault,)
        assert path.is_normal()
        path.inject(fault)
        ledger.record(fault)
        assert sweep(ledger, later_s=400).undone == (fault,)
        assert path.is_normal()
        assert ledger.is_alive("run001")


def test_only_expired_ones_if_so_asked(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault()
    ledger.record(fault)
    path.inject(fault)
    report = sweep(ledger, path.url, expired=True)
    assert report.undone == ()
    assert "only expired faults were asked for" in report.skipped[0].why
    assert path.toxics() == [fault.name]


def test_damaged_file_is_healed_by_what_the_server_shows(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault()
    file = ledger.record(fault)
    file.write_text('{"version')
    path.inject(fault)
    blind = sweep(ledger)
    assert not blind.confirmed
    assert "NOT READABLE" in blind.text()
    assert path.toxics() == [fault.name]
    report = sweep(ledger, path.url)
    assert report.confirmed
    assert path.is_normal()
    assert not file.exists()


def test_hanging_server_fails_in_time_with_the_commands(ledger: FaultLedger) -> None:
    with silent_server() as url:
        place = nowhere(url)
        faults = [place.fault(n) for n in range(4)]
        for fault in faults:
            ledger.record(fault)
        started_s = time.monotonic()
        report = sweep(ledger, url, deadline_s=1.0)
        assert time.monotonic() - started_s < 9.0
    assert not report.confirmed
    assert [item.fault for item in report.failed] == faults
    assert [item.commands for item in report.failed] == [by_hand.commands(one) for one in faults]
    assert report.failed[0].commands[0] in report.text()
    assert [item.server for item in report.unreachable] == [url]
    assert len(ledger.entries().entries) == 4


def test_server_of_a_dead_demo_is_no_trouble(ledger: FaultLedger) -> None:
    place = nowhere(f"http://127.0.0.1:{free_port()}")
    ledger.record(replace(place.fault(), dies_with_run=True))
    report = sweep(ledger)
    assert report.exit_code == 0
    assert len(report.undone) == 1


def test_fault_of_an_operators_server_that_is_gone_is_gone_but_so_is_the_path(
    ledger: FaultLedger,
) -> None:
    fault = nowhere(f"http://127.0.0.1:{free_port()}").fault()
    ledger.record(fault)
    report = sweep(ledger, deadline_s=9.0)
    assert report.undone == (fault,)
    assert f"nothing accepts connections at {fault.listen}" in report.text()
    assert report.exit_code == 6


def test_lock_files_of_dead_runs_go(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault()
    ledger.record(fault)
    ledger.lock_path("run001").touch()
    path.inject(fault)
    assert sweep(ledger).undone == (fault,)
    assert list(ledger.directory.iterdir()) == []


def test_address_that_is_no_server_is_reported(ledger: FaultLedger) -> None:
    report = sweep(ledger, "127.0.0.1:8474")
    assert not report.confirmed
    assert "is not http://host:port" in report.text()


def test_a_ledger_that_cannot_be_read_is_no_empty_one(ledger: FaultLedger) -> None:
    ledger.directory.touch()
    with pytest.raises(UsageError, match="wanted a directory we can read"):
        sweep(ledger)


# --- leases ---------------------------------------------------------------------------------------


def test_leases_go_with_their_runs(path: OperatorPath, ledger: FaultLedger) -> None:
    gone = path.hold("run002", -1)
    elsewhere = path.hold("run003", 50)
    dead = path.hold("run004", 50)
    living = path.hold("run005", 50)
    greedy = path.hold("run006", 100_000)
    ledger.prepare()
    ledger.lock_path("run004").touch()
    with alive(ledger, "run005"):
        report = sweep(ledger, path.url)
    assert {fault.name for fault in report.undone} == {gone, dead, greedy}
    assert path.names() == sorted([elsewhere, living, ORIGINAL])
    why = {item.fault.name: item.why for item in report.skipped}
    assert "run run005 is alive" in why[living]
    assert "may be alive on another host until" in why[elsewhere]
    assert report.confirmed
    assert [one.name for one in sweep(ledger, path.url, run="run003").undone] == [elsewhere]


def test_lease_in_the_ledger_is_deleted_and_struck_out(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    name = path.hold("run001", 50)
    lease = replace(path.fault(), name=name, proxy=name, owned=True, toxics=())
    ledger.record(lease)
    assert sweep(ledger).undone == (lease,)
    assert path.is_normal()
    assert list(ledger.directory.iterdir()) == []


def test_path_without_dose_outlives_its_name_while_its_run_holds_a_lease(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    clean_path, dosed = own_path(path).name, own_path(path, expires_in_s=-8).name
    path.call("POST", f"/proxies/{dosed}/toxics", {"type": "latency"})
    lease = path.hold("run001", 50)
    report = sweep(ledger, path.url, expired=True)
    assert [fault.name for fault in report.undone] == [dosed]
    assert "holds a lease" in {one.fault.name: one.why for one in report.skipped}[clean_path]
    path.call("DELETE", f"/proxies/{lease}")
    greedy = path.hold("run001", 100_000)
    late = sweep(ledger, path.url, expired=True)
    assert {fault.name for fault in late.undone} == {clean_path, greedy}
    assert path.is_normal()


def test_path_outlives_its_name_while_a_toxic_in_its_time_is_on_it(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    own = own_path(path)
    dose = replace(path.fault(), proxy=own.proxy)
    path.inject(dose)
    path.hold("run001", 50)
    report = sweep(ledger, path.url, expired=True)
    assert report.undone == ()
    assert path.toxics(own.name) == [dose.name]


def test_sweeper_at_work_is_no_leftover_and_a_dead_one_is(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    working, dead = path.hold(SWEEPER, 50), path.hold(SWEEPER, -1)
    assert [fault.name for fault in sweep(ledger, path.url).undone] == [dead]
    assert sweep(ledger, path.url).found == ()
    assert path.names() == sorted([working, ORIGINAL])


# --- on one proxy, and on many --------------------------------------------------------------------


def test_living_connections_are_not_cut(path: OperatorPath, ledger: FaultLedger) -> None:
    host, _, port = path.listen.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5.0) as pooled:
        pooled.sendall(b"x")
        assert pooled.recv(1) == b"x"
        path.inject(path.fault(expires_in_s=-5))
        report = sweep(ledger, path.url)
        pooled.sendall(b"y")
        assert pooled.recv(1) == b"y"
    assert report.exit_code == 0
    assert report.notes == ()


def test_what_cannot_come_off_quietly_is_cut_and_told(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    host, _, port = path.listen.rpartition(":")
    path.inject(path.fault(expires_in_s=-5, types=("timeout",)))
    with socket.create_connection((host, int(port)), timeout=5.0) as pooled:
        pooled.sendall(b"x")
        report = sweep(ledger, path.url)
        assert pooled.recv(1) == b""
    assert report.exit_code == 0
    assert f"{ORIGINAL} had to be closed for a moment: 1 of its connections were cut" in (
        report.text()
    )
    assert path.is_normal()


@pytest.mark.parametrize("with_ledger", [False, True])
@pytest.mark.parametrize("toxics_left", [False, True])
def test_cut_that_somebody_began_is_finished(
    path: OperatorPath, ledger: FaultLedger, with_ledger: bool, toxics_left: bool
) -> None:
    fault = path.fault(expires_in_s=-5)
    if with_ledger:
        ledger.record(fault)
    if toxics_left:
        path.inject(fault)
    path.cut(fault)
    assert path.echo_s() is not None
    report = sweep(ledger, path.url)
    name = fault.name if with_ledger or toxics_left else stand_in(fault)
    assert [one.name for one in report.undone] == [name]
    assert report.exit_code == 0, report.text()
    assert path.is_normal()
    assert ledger.entries().entries == ()


def test_faults_of_several_runs_on_one_proxy_go_one_after_the_other(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    for n, types in enumerate([("latency",), ("bandwidth",), ("timeout", "latency")]):
        path.inject(path.fault(10 * n, run=f"run00{n}", expires_in_s=-5, types=types))
    report = sweep(ledger, path.url)
    assert len(report.undone) == 3
    assert report.exit_code == 0, report.text()
    assert path.is_normal()


def test_toxics_of_a_living_run_stay_beside(path: OperatorPath, ledger: FaultLedger) -> None:
    living = path.fault(1, run="run002", types=("slow_close",))
    path.inject(living)
    path.inject(path.fault(2, expires_in_s=-5, types=("timeout",)))
    report = sweep(ledger, path.url)
    assert len(report.undone) == 1
    assert path.toxics() == [living.name]
    assert path.show()["enabled"] is True


def test_toxics_of_others_stay_and_are_told(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault(expires_in_s=-5)
    ledger.record(fault)
    path.inject(fault)
    theirs = {"type": "latency", "attributes": {"latency": 20}}
    path.call("POST", f"/proxies/{ORIGINAL}/toxics", theirs)
    report = sweep(ledger, path.url)
    assert report.undone == (fault,)
    assert report.exit_code == 0
    assert "carries toxics that are not ours, kept: latency_downstream" in report.text()
    assert path.toxics() == ["latency_downstream"]


def test_many_at_once(path: OperatorPath, ledger: FaultLedger) -> None:
    names = set()
    for n in range(25):
        place = replace(path, proxy=f"shop-{n}", listen=f"127.0.0.1:{free_port()}")
        place.create(place.proxy, listen=place.listen)
        fault = place.fault(n, expires_in_s=-5, types=("timeout",))
        place.inject(fault)
        names.add(fault.name)
    began_s = time.monotonic()
    report = sweep(ledger, path.url, expired=True)
    assert time.monotonic() - began_s < 10.0
    assert {fault.name for fault in report.undone} == names
    assert report.exit_code == 0, report.text()
    assert len(path.names()) == 26
    for n in range(25):
        shown = path.show(f"shop-{n}")
        assert (shown["enabled"], shown["toxics"]) == (True, [])


def test_two_at_the_same_time_do_no_harm(path: OperatorPath, ledger: FaultLedger) -> None:
    other = FaultLedger(ledger.directory.with_name("others"))
    for n in range(4):
        fault = path.fault(n, expires_in_s=-5, types=("timeout", "latency"))
        ledger.record(fault)
        path.inject(fault)
        path.inject(path.fault(n + 10, run="run002", expires_in_s=-5))
        with ThreadPoolExecutor(3) as pool:
            reports = list(pool.map(lambda one: sweep(one, path.url), [ledger, other, ledger]))
        assert all(report.confirmed for report in reports), [one.text() for one in reports]
        assert path.is_normal(), path.show()
    assert list(ledger.directory.iterdir()) == []


# --- what others did ------------------------------------------------------------------------------


@pytest.mark.parametrize("with_ledger", [False, True])
def test_proxy_that_others_closed_is_left_so_with_the_command(
    path: OperatorPath, ledger: FaultLedger, with_ledger: bool
) -> None:
    fault = path.fault(expires_in_s=-5)
    path.inject(fault)
    if with_ledger:
        ledger.record(fault)
    path.close()
    report = sweep(ledger, path.url)
    assert report.confirmed
    assert report.exit_code == 6
    assert f"{ORIGINAL} was closed by others and is left so" in report.text()
    assert report.notes[0].commands == (by_hand.enable(fault),)
    assert f"  {by_hand.enable(fault)}" in report.text().splitlines()
    assert (path.show()["enabled"], path.show()["toxics"]) == (False, [])
    assert ledger.entries().entries == ()


def test_proxy_that_others_deleted_is_left_so_with_the_command(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault()
    ledger.record(fault)
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    report = sweep(ledger)
    assert report.undone == (fault,)
    assert report.exit_code == 6
    assert f"was deleted by others and is left so; it was on {path.listen} -> " in report.text()
    assert report.notes[0].commands == (by_hand.create(fault),)
    assert path.names() == []
    assert ledger.entries().entries == ()


def test_proxy_that_others_deleted_is_a_mere_note_while_somebody_serves_its_address(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    ledger.record(path.fault())
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    path.create("newer", listen=path.listen)
    report = sweep(ledger)
    assert report.exit_code == 0
    assert "note: " in report.text()
    assert path.names() == ["newer"]


@pytest.mark.parametrize("old_address_serves", [False, True])
def test_proxy_moved_by_its_operator_is_left_where_it_is(
    path: OperatorPath, ledger: FaultLedger, old_address_serves: bool
) -> None:
    fault = path.fault(expires_in_s=-5, types=("timeout",))
    ledger.record(fault)
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    elsewhere = f"127.0.0.1:{free_port()}"
    path.create(ORIGINAL, listen=elsewhere)
    path.inject(fault)
    if old_address_serves:
        path.create("newer", listen=path.listen)
    report = sweep(ledger, path.url)
    assert report.undone == (fault,)
    shown = path.show()
    assert (shown["listen"], shown["enabled"], shown["toxics"]) == (elsewhere, True, [])
    was = f"it was on {path.listen} -> {path.upstream}"
    assert f"was moved elsewhere by others and is left so; {was}" in report.text()
    assert report.exit_code == (0 if old_address_serves else 6)


# --- servers that misbehave -----------------------------------------------------------------------


def test_one_bad_server_delays_no_other(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault(expires_in_s=-5)
    path.inject(fault)
    with silent_server() as hanging, ThreadPoolExecutor(1) as pool:
        place = nowhere(hanging)
        for n in range(20):
            ledger.record(place.fault(n, run="run002", expires_in_s=-5))
        sweeping = pool.submit(sweep, ledger, hanging, path.url, deadline_s=2.0)
        began_s = time.monotonic()
        while path.toxics():
            assert time.monotonic() < began_s + 3.5
        assert not sweeping.done()
        report = sweeping.result()
    assert [one.name for one in report.undone] == [fault.name]
    assert len(report.failed) == 20
    assert [one.server for one in report.unreachable] == [hanging]


@pytest.mark.parametrize(
    "answer",
    [
        raw("200 OK", "<html>welcome</html>"),
        raw("200 OK", "[]"),
        raw("200 OK", ""),
        raw("200 OK", '{"cb.run001.1.1": 3}'),
        raw("200 OK", '{"cb.run001.1.1": {"listen": "x"}}'),
        raw("401 Unauthorized", "{}"),
        raw("302 Found", "{}"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    ],
)
def test_what_is_no_list_of_proxies_is_not_taken_for_an_empty_one(
    answer: bytes, ledger: FaultLedger
) -> None:
    async def reply(method: str, path: str, body: bytes) -> bytes | None:
        assert method == "GET"
        return answer

    async def swept() -> CleanReport:
        async with fake_api(reply) as url:
            return await asyncio.to_thread(sweep, ledger, url)

    report = asyncio.run(swept())
    assert len(report.unreachable) == 1
    assert not report.confirmed


UNKNOWN = {"error": "proxy not found", "status": 404}


def test_list_is_asked_for_again_once_a_wedged_proxy_is_gone(ledger: FaultLedger) -> None:
    """A real server hangs on the list of all proxies until the wedged one is closed."""
    wedged, other = (written(Kind.PATH, "run001", int(time.time()) - 5, n=n) for n in (1, 2))
    there = {wedged, other}
    is_wedged = True

    async def reply(method: str, path: str, body: bytes) -> bytes | None:
        nonlocal is_wedged
        name = path.removeprefix("/proxies").strip("/")
        if (method, name) == ("POST", wedged) and is_wedged:
            is_wedged = json.loads(body)["enabled"]
            return None  # it closes, and only the answer is missing
        if is_wedged:
            assert method != "DELETE", "which would freeze the whole API"
            return None
        if method == "DELETE":
            there.discard(name)
            return raw("204 No Content")
        shown = {"listen": "127.0.0.1:1", "upstream": "x:1", "enabled": True, "toxics": []}
        if not name:
            listed = {each: {**shown, "name": each} for each in sorted(there)}
            return raw("200 OK", json.dumps(listed))
        if name in there:
            return raw("200 OK", json.dumps({**shown, "name": name}))
        return raw("404 Not Found", json.dumps(UNKNOWN))

    async def swept() -> CleanReport:
        async with fake_api(reply) as url:
            known = OperatorPath(url, "127.0.0.1:1", "x:1").fault()
            ledger.record(replace(known, name=wedged, proxy=wedged, owned=True, toxics=()))
            return await asyncio.to_thread(sweep, ledger, url)

    report = asyncio.run(swept())
    assert {fault.name for fault in report.undone} == {wedged, other}
    assert report.unreachable == ()


def test_fault_is_found_at_another_address_than_the_ledger_says(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    """As in containers, where one server has one name for the run and another for us."""
    with silent_server() as old:
        fault = path.fault(expires_in_s=-5)
        ledger.record(replace(fault, server=old))
        path.inject(fault)
        report = sweep(ledger, path.url, deadline_s=1.0)
    assert report.undone == (fault,)
    assert report.confirmed, report.text()
    assert path.is_normal()
    assert ledger.entries().entries == ()


def test_another_fault_of_the_same_name_elsewhere_is_another_fault(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault(expires_in_s=-5)
    path.inject(fault)
    nobody = f"http://127.0.0.1:{free_port()}"
    ledger.record(replace(fault, server=nobody, listen="127.0.0.1:1"))
    report = sweep(ledger, path.url, deadline_s=0.5)
    assert [one.server for one in report.undone] == [path.url]
    assert [one.fault.server for one in report.failed] == [nobody]
    assert path.is_normal()
    assert len(ledger.entries().entries) == 1


def test_one_server_spelt_twice_is_one_server(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault()
    ledger.record(fault)
    path.inject(fault)
    report = sweep(ledger, path.url.replace("127.0.0.1", "localhost"), f"{path.url}/")
    assert report.undone == (fault,)
    assert len(report.looked_at) == 1


# --- files ----------------------------------------------------------------------------------------


def test_damaged_file_may_still_name_its_server(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault()
    file = ledger.record(fault)
    file.write_text(file.read_text()[:-20])
    path.inject(fault)
    report = sweep(ledger)
    assert [one.name for one in report.undone] == [fault.name]
    assert report.confirmed
    assert path.is_normal()
    assert not file.exists()


def test_damaged_file_that_no_server_explains_says_what_to_do(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    file = ledger.record(path.fault())
    file.write_text("{")
    report = sweep(ledger, path.url)
    assert not report.confirmed
    assert f"no server looked at ({path.url}) shows it" in report.text()
    assert f"rm {file}" in report.text()
    assert sweep(ledger, path.url, run="run999").confirmed
    assert sweep(ledger, path.url, expired=True).confirmed
    assert not sweep(ledger, path.url, expired=True, later_s=400).confirmed
    with alive(ledger, "run001"):
        assert sweep(ledger, path.url).confirmed  # its run may still strike it out
        assert not sweep(ledger, path.url, run="run001").confirmed
    assert file.exists()


def test_lock_files_of_the_living_stay(ledger: FaultLedger) -> None:
    ledger.prepare()
    living, dead = ([f"run-run00{n}.lock", f"claim-00{n}.lock"] for n in (1, 2))
    for name in (*living, *dead, "watchdog.log"):
        (ledger.directory / name).touch()
    with ExitStack() as stack:
        for name in living:
            file = stack.enter_context((ledger.directory / name).open())
            fcntl.flock(file, fcntl.LOCK_EX)
        sweep(ledger)
        left = sorted(file.name for file in ledger.directory.iterdir())
    assert left == sorted([*living, "watchdog.log"])
    sweep(ledger)
    assert [file.name for file in ledger.directory.iterdir()] == ["watchdog.log"]


def test_lock_of_a_dead_run_stays_while_its_fault_does(ledger: FaultLedger) -> None:
    """It says that the run was one of this host, and so that it is dead."""
    fault: Fault = nowhere(f"http://127.0.0.1:{free_port()}").fault()
    ledger.record(fault)
    ledger.lock_path(fault.run).touch()
    assert not sweep(ledger, deadline_s=0.2).confirmed
    assert ledger.lock_path(fault.run).exists()


# --- what a dry run and a lost server tell --------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
def test_server_that_cannot_be_reached_is_told_in_a_dry_run_too(
    ledger: FaultLedger, dry_run: bool
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    report = sweep(ledger, url, dry_run=dry_run)
    assert report.exit_code == 7
    assert report.text() == (
        f"NOT REACHED: {url}: connection refused; is a Toxiproxy server running there?"
    )


def test_dry_run_tells_of_a_server_that_only_the_ledger_names(ledger: FaultLedger) -> None:
    lost, own = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    ledger.record(nowhere(lost).fault(1))
    ledger.record(replace(nowhere(own).fault(2), dies_with_run=True))
    report = sweep(ledger, dry_run=True)
    assert [one.server for one in report.unreachable] == [lost]
    assert len(report.planned) == 2


def test_host_name_that_leads_nowhere_is_told_as_such(
    ledger: FaultLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def unknown(host: str, *rest: object, **options: object) -> object:
        if host == "toxi.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    text = sweep(ledger, "http://toxi.invalid:8474").text()
    assert text == (
        "NOT REACHED: http://toxi.invalid:8474: the host name toxi.invalid does not resolve "
        "(name or service not known)"
    )


def test_fault_at_a_server_that_refuses_is_told_without_numbers_and_names_twice(
    ledger: FaultLedger,
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    fault = nowhere(url).fault()
    ledger.record(fault)
    line = sweep(ledger, deadline_s=0.3).text().splitlines()[0]
    assert line.startswith(f"NOT UNDONE: {fault.name} at {url} ")
    assert "Connection refused; by hand:" in line
    assert "Errno" not in line
    assert (line.count(fault.name), line.count(url)) == (1, 1)


def test_named_run_that_is_not_found_is_told_with_those_that_are(ledger: FaultLedger) -> None:
    place = nowhere(f"http://127.0.0.1:{free_port()}")
    ledger.record(place.fault(1, run="run001"))
    ledger.record(place.fault(2, run="run002")).write_text("{")
    report = sweep(ledger, run="run009")
    assert report.other_runs == ("run001", "run002")
    assert report.text().startswith("nothing of run run009 was found in the ledger or at ")
    assert json.loads(report.to_json())["other_runs"] == ["run001", "run002"]
