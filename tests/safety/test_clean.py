"""`clean`: by the ledger, by names alone, never what is not ours, and never twice differently."""

from __future__ import annotations

import asyncio
import fcntl
import http.server
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.core.model import Fault
from chaosbandit.core.names import SWEEPER, fault_name, lease_name
from chaosbandit.errors import UsageError
from chaosbandit.safety.clean import clean
from chaosbandit.safety.cleaned import CleanReport
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.restore import manual_commands, remedy_of
from tests.fake_api import fake_api, raw
from tests.operator_path import ORIGINAL, OperatorPath, beside, free_port, operator_path


@pytest.fixture
def ledger(tmp_path: Path) -> FaultLedger:
    return FaultLedger(tmp_path / "faults")


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[OperatorPath]:
    with operator_path(toxiproxy_url) as path:
        yield path


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


def test_ledger_alone_is_enough_and_twice_is_as_good_as_once(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault()
    ledger.record(fault)
    path.inject(fault)
    report = sweep(ledger)
    assert report.undone == (fault,)
    assert report.confirmed
    assert path.is_normal()
    assert sweep(ledger, path.url) == CleanReport(looked_at=(path.url,))
    assert path.is_normal()


def test_names_alone_are_enough_once_expired(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault()
    path.inject(fault)
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    early = sweep(ledger, path.url)
    assert early.undone == ()
    assert "may be alive on another host" in early.skipped[0].why
    assert early.confirmed
    report = sweep(ledger, path.url, expired=True, later_s=400)
    assert [item.name for item in report.undone] == [fault.name]
    assert report.undone[0].restores == ORIGINAL
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


def test_proxy_of_our_own_is_deleted_and_nothing_made_in_its_place(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = beside(path, path.fault())
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    path.call("POST", "/proxies", {"name": fault.name, "listen": fault.listen, "upstream": "x:1"})
    assert len(sweep(ledger, path.url, run="run001").undone) == 1
    assert path.names() == []


def test_what_is_not_ours_is_not_touched(path: OperatorPath, ledger: FaultLedger) -> None:
    foreign = ["cb.mine", "cb-other", "db", "cb.run001.1.1.a.b", "CB.run001.1.1.x"]
    foreign += ["cb-lease.run001", "cb-lease.run001.1.1", "cb-lease.RUN001.1", "xcb-lease.run001.1"]
    for name in foreign:
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": "x:1", "enabled": True}
        assert path.call("POST", "/proxies", body) == 201
        path.call("POST", f"/proxies/{name}/toxics", {"type": "latency"})
    before = [path.show(name) for name in path.names()]
    path.inject(path.fault())
    assert sweep(ledger, path.url, run="run001").confirmed
    assert [path.show(name) for name in path.names()] == before


@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("run", [None, "run001"])
def test_dry_run_touches_nothing(
    path: OperatorPath, ledger: FaultLedger, run: str | None, expired: bool
) -> None:
    fault, other = (path.fault(n, expires_in_s=-5) for n in (1, 2))
    ledger.record(fault)
    ledger.record(other).write_text("torn")
    ledger.lock_path("run001").touch()
    (ledger.directory / "claim-x.lock").write_text("{}")
    path.inject(fault)
    path.inject(other, until="dosed")
    hold(path, lease_name("run001", 5))
    before = everything(path, ledger)
    report = sweep(ledger, path.url, run=run, expired=expired, dry_run=True)
    assert everything(path, ledger) == before
    assert len(report.found) == 3
    assert report.undone == ()
    assert f"would be undone: {fault.name}" in report.text()
    assert not report.confirmed
    assert not sweep(ledger, path.url, run="run999", dry_run=True).due()


def everything(path: OperatorPath, ledger: FaultLedger) -> object:
    """All that a clean-up could change: proxies as the server shows them, and files."""
    proxies = {name: path.show(name) for name in path.names()}
    files = {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino)
        for file in ledger.directory.iterdir()
    }
    return proxies, files, ledger.directory.stat().st_mtime_ns


def hold(path: OperatorPath, lease: str) -> None:
    """Have a lease on the server, as a run has it."""
    body = {"name": lease, "listen": path.listen, "upstream": "127.0.0.1:1", "enabled": False}
    assert path.call("POST", "/proxies", body) == 201


def test_living_run_keeps_its_fault_unless_named_or_expired(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault()

    async def run() -> None:
        async with RunGuard("run001", ledger) as guard, guard.guard(fault):
            path.inject(fault)
            report = sweep(ledger, path.url)
            assert report.undone == ()
            assert "run run001 is alive" in report.skipped[0].why
            assert path.show(fault.name)
            assert sweep(ledger, path.url, run="run001").undone == (fault,)
            assert path.is_normal()
            path.inject(fault)
            ledger.record(fault)
            assert sweep(ledger, later_s=400).undone == (fault,)
            assert ledger.is_alive("run001")

    asyncio.run(run())
    assert path.is_normal()


def test_only_expired_ones_if_so_asked(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault()
    ledger.record(fault)
    path.inject(fault)
    report = sweep(ledger, path.url, expired=True)
    assert report.undone == ()
    assert "only expired faults were asked for" in report.skipped[0].why
    assert path.show(fault.name)


def test_damaged_file_is_healed_by_what_the_server_shows(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault()
    ledger.record(fault).write_text('{"version')
    path.inject(fault)
    blind = sweep(ledger)
    assert not blind.confirmed
    assert "NOT READABLE" in blind.text()
    assert path.show(fault.name)
    report = sweep(ledger, path.url)
    assert report.confirmed
    assert path.is_normal()


UNKNOWN: dict[str, object] = {"error": "proxy not found", "status": 404}


class AllIsWell(http.server.BaseHTTPRequestHandler):
    """An API that claims to have restored a proxy on `listen`, where nobody listens."""

    listen = ""

    def do_DELETE(self) -> None:
        self.answer(404, UNKNOWN)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201 if self.path == "/proxies" else 200, {})

    def do_GET(self) -> None:
        proxy = {"listen": self.listen, "upstream": "127.0.0.1:1", "enabled": True, "toxics": []}
        if self.path.endswith(ORIGINAL) and "cb." not in self.path:
            self.answer(200, proxy)
        else:
            self.answer(404, UNKNOWN)

    def answer(self, status: int, body: dict[str, object]) -> None:
        """Send one answer."""
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_api_that_claims_a_restored_path_is_not_believed(ledger: FaultLedger) -> None:
    AllIsWell.listen = f"127.0.0.1:{free_port()}"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), AllIsWell) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        ledger.record(OperatorPath(url, AllIsWell.listen, "127.0.0.1:1").fault())
        report = sweep(ledger)
        with socket.create_server(("127.0.0.1", int(AllIsWell.listen.rpartition(":")[2]))):
            confirmed = sweep(ledger)
        server.shutdown()
        thread.join()
    assert "nothing accepts connections" in report.failed[0].why
    assert confirmed.confirmed
    assert ledger.entries().entries == ()


def test_hanging_server_fails_in_time_with_the_commands(ledger: FaultLedger) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        faults = [place.fault(n) for n in range(4)]
        for fault in faults:
            ledger.record(fault)
        started_s = time.monotonic()
        report = sweep(ledger, url, deadline_s=1.0)
        assert time.monotonic() - started_s < 8.0
    assert not report.confirmed
    assert [item.fault for item in report.failed] == faults
    assert report.failed[0].commands == tuple(manual_commands(remedy_of(faults[0])))
    assert report.failed[0].commands[0] in report.text()
    assert [item.server for item in report.unreachable] == [url]
    assert len(ledger.entries().entries) == 4


def test_server_of_a_dead_demo_is_no_trouble(ledger: FaultLedger) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    place = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
    ledger.record(place.fault(), server_dies_with_run=True)
    report = sweep(ledger)
    assert report.confirmed
    assert len(report.undone) == 1


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
    assert "wanted http://host:port" in report.text()


def test_a_ledger_that_cannot_be_read_is_no_empty_one(ledger: FaultLedger) -> None:
    ledger.directory.touch()
    with pytest.raises(UsageError, match="wanted a directory we can read"):
        sweep(ledger)


# --- leases ---------------------------------------------------------------------------------------


def held_by(path: OperatorPath, run: str, ends_in_s: float) -> str:
    """A lease on the server; its name."""
    name = lease_name(run, int(time.time() + ends_in_s))
    hold(path, name)
    return name


def test_leases_go_with_their_runs(path: OperatorPath, ledger: FaultLedger) -> None:
    gone = held_by(path, "run002", -1)
    elsewhere = held_by(path, "run003", 50)
    dead = held_by(path, "run004", 50)
    alive = held_by(path, "run005", 50)
    ledger.prepare()
    ledger.lock_path("run004").touch()
    with ledger.lock_path("run005").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        report = sweep(ledger, path.url)
    assert {fault.name for fault in report.undone} == {gone, dead}
    assert path.names() == sorted([elsewhere, alive, ORIGINAL])
    why = {item.fault.name: item.why for item in report.skipped}
    assert "run run005 is alive" in why[alive]
    assert "may be alive on another host until" in why[elsewhere]
    assert report.confirmed
    assert [one.name for one in sweep(ledger, path.url, run="run003").undone] == [elsewhere]
    assert path.is_normal() or path.names() == sorted([alive, ORIGINAL])


def test_lease_in_the_ledger_is_deleted_and_struck_out(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    name = held_by(path, "run001", 50)
    lease = replace(path.fault(), name=name, restores=None, toxics=())
    ledger.record(lease)
    assert sweep(ledger).undone == (lease,)
    assert path.is_normal()
    assert list(ledger.directory.iterdir()) == []


def test_path_without_dose_outlives_its_name_while_its_run_holds_a_lease(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    clean_path, dosed = (
        fault_name("run001", int(time.time()) - 9, n, ORIGINAL, stands_in=False) for n in (1, 2)
    )
    for name in (clean_path, dosed):
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": path.upstream}
        path.call("POST", "/proxies", body)
    path.call("POST", f"/proxies/{dosed}/toxics", {"type": "latency"})
    lease = held_by(path, "run001", 50)
    report = sweep(ledger, path.url, expired=True)
    assert [fault.name for fault in report.undone] == [dosed]
    assert "holds a lease" in {one.fault.name: one.why for one in report.skipped}[clean_path]
    path.call("DELETE", f"/proxies/{lease}")
    held_by(path, "run001", -1)
    assert len(sweep(ledger, path.url, expired=True).undone) == 2
    assert path.is_normal()


def test_sweeper_at_work_is_no_leftover_and_a_dead_one_is(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    working, dead = held_by(path, SWEEPER, 50), held_by(path, SWEEPER, -1)
    assert [fault.name for fault in sweep(ledger, path.url).undone] == [dead]
    assert sweep(ledger, path.url).found == ()
    assert path.names() == sorted([working, ORIGINAL])


# --- what only the server tells -------------------------------------------------------------------


def test_two_of_ours_in_place_of_one_are_both_undone(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    for n, until in ((1, "enabled"), (2, "dosed"), (3, "made")):
        fault = path.fault(n, expires_in_s=-5)
        path.inject(fault, until)
        if until == "enabled":
            path.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False})
    report = sweep(ledger, path.url)
    assert len(report.undone) == 3
    assert report.confirmed
    assert path.is_normal()


def test_original_stays_away_while_a_living_run_stands_in_for_it(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    old = path.fault(1, expires_in_s=-5)
    path.inject(old, until="dosed")
    living = path.fault(2, run="run002")
    path.inject(living)
    began_s = time.monotonic()
    report = sweep(ledger, path.url)
    assert time.monotonic() - began_s < 3.0
    assert [fault.name for fault in report.undone] == [old.name]
    assert report.confirmed
    assert f"{living.name} stands in for it" in report.text()
    assert path.show(living.name)["enabled"] is True
    assert path.show()["enabled"] is False


def test_original_moved_by_its_operator_is_left_where_it_is(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault(expires_in_s=-5)
    path.inject(fault)
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    elsewhere = f"127.0.0.1:{free_port()}"
    theirs = {"name": ORIGINAL, "listen": elsewhere, "upstream": path.upstream}
    path.call("POST", "/proxies", theirs)
    before = path.show()
    report = sweep(ledger, path.url)
    assert [one.name for one in report.undone] == [fault.name]
    assert path.show() == before
    assert path.names() == [ORIGINAL]
    assert f"{elsewhere} -> {path.upstream} since and is left so" in report.text()
    assert "LOOK AT THIS" in report.text()  # nobody listens any more where clients may still go
    assert not report.confirmed


def test_moved_original_is_a_mere_note_while_somebody_serves_the_old_address(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    fault = path.fault(expires_in_s=-5)
    path.inject(fault, until="dosed")  # never enabled: the address is free for others
    path.call("DELETE", f"/proxies/{ORIGINAL}")
    for name, listen in ((ORIGINAL, f"127.0.0.1:{free_port()}"), ("newer", path.listen)):
        body = {"name": name, "listen": listen, "upstream": path.upstream}
        path.call("POST", "/proxies", body)
    report = sweep(ledger, path.url)
    assert report.confirmed
    assert "note:" in report.text()
    assert path.names() == sorted([ORIGINAL, "newer"])


def test_toxics_of_others_stay_and_are_told(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault(expires_in_s=-5)
    ledger.record(fault)
    path.inject(fault)
    theirs = {"type": "latency", "attributes": {"latency": 20}}  # by default named as ours would be
    path.call("POST", f"/proxies/{ORIGINAL}/toxics", theirs)
    report = sweep(ledger, path.url)
    assert report.undone == (fault,)
    assert report.confirmed
    assert "carries toxics that are not ours, kept: latency_downstream" in report.text()
    shown = path.show()
    assert shown["enabled"] is True
    assert str(shown["toxics"]).count("latency_downstream") == 1


def test_many_at_once(path: OperatorPath, ledger: FaultLedger) -> None:
    faults = []
    for n in range(25):
        listen = f"127.0.0.1:{free_port()}"
        body = {"name": f"shop-{n}", "listen": listen, "upstream": path.upstream}
        path.call("POST", "/proxies", body)
        name = fault_name("run001", int(time.time()) - 5, n, f"shop-{n}")
        path.call("POST", f"/proxies/shop-{n}", {"enabled": False})
        path.call("POST", "/proxies", {**body, "name": name})
        path.call("POST", f"/proxies/{name}/toxics", {"type": "timeout"})
        faults.append(name)
    report = sweep(ledger, path.url, expired=True)
    assert sorted(fault.name for fault in report.undone) == sorted(faults)
    assert report.confirmed
    assert len(path.names()) == 26
    for n in range(25):
        shown = path.show(f"shop-{n}")
        assert (shown["enabled"], shown["toxics"]) == (True, [])


def test_two_at_the_same_time_do_no_harm(path: OperatorPath, ledger: FaultLedger) -> None:
    other = FaultLedger(ledger.directory.with_name("others"))
    for n in range(6):
        fault = path.fault(n, expires_in_s=-5)
        ledger.record(fault)
        path.inject(fault, until="dosed")
        path.inject(path.fault(n + 10, expires_in_s=-5))
        if n % 2:
            path.call("DELETE", f"/proxies/{ORIGINAL}")
        with ThreadPoolExecutor(3) as pool:
            reports = list(pool.map(lambda one: sweep(one, path.url), [ledger, other, ledger]))
        assert all(report.confirmed for report in reports), [one.text() for one in reports]
        assert path.is_normal()
    assert list(ledger.directory.iterdir()) == []


# --- the path, and the way around it --------------------------------------------------------------


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers GET with a failure of its own, and notes what is POSTed."""

    posted: list[dict[str, str]]

    def do_GET(self) -> None:
        self.send_error(503)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    """The URL of an HTTP service."""
    Upstream.posted = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_path_must_answer_its_check_whatever_the_status(
    path: OperatorPath, ledger: FaultLedger, web: str
) -> None:
    deaf = replace(path.fault(), check=f"http://{path.listen}/")  # echoes, and so never answers
    ledger.record(deaf)
    path.inject(deaf)
    report = sweep(ledger, deadline_s=1.0)
    assert "is restored, but the path does not answer" in report.failed[0].why
    assert report.failed[0].commands
    assert len(ledger.entries().entries) == 1
    ledger.record(replace(deaf, check=f"{web}/"))
    assert sweep(ledger).confirmed
    assert path.is_normal()


def test_bypass_is_used_once_when_undoing_does_not_succeed(ledger: FaultLedger, web: str) -> None:
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        fault = replace(place.fault(), bypass=f"{web}/around")
        ledger.record(fault)
        report = sweep(ledger, deadline_s=1.0)
    assert [(one["fault"], one["proxy"]) for one in Upstream.posted] == [(fault.name, ORIGINAL)]
    assert report.exit_code == 7
    line = report.text().splitlines()[0]
    assert f" s; the bypass POST {web}/around was answered with 204" in line
    assert line.endswith("; by hand:")
    assert ".;" not in line
    assert (line.count(fault.name), line.count(url)) == (1, 1)


def test_fault_that_goes_after_its_bypass_is_an_alarm_still(
    ledger: FaultLedger, tmp_path: Path
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    program = (
        "import socket, sys, time\n"
        "host, port = sys.argv[1].split(':')\n"
        "socket.create_server((host, int(port)))\n"
    )
    AllIsWell.listen = listen
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), AllIsWell) as server, ExitStack() as go:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        way_around = (sys.executable, "-c", program, listen)
        fault = replace(OperatorPath(url, listen, "127.0.0.1:1").fault(), bypass=way_around)
        ledger.record(fault)
        host, port = listen.split(":")
        opened = threading.Timer(
            1.5, lambda: go.enter_context(socket.create_server((host, int(port))))
        )
        opened.start()
        report = sweep(ledger, deadline_s=8.0)
        opened.join()
        server.shutdown()
        thread.join()
    assert report.undone == (fault,)
    assert "; the fault is gone since, so take the bypass back" in report.text()
    assert ".;" not in report.text()
    assert report.exit_code == 7
    assert ledger.entries().entries == ()


# --- servers that misbehave -----------------------------------------------------------------------


def test_one_bad_server_delays_no_other(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault(expires_in_s=-5)
    path.inject(fault)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = OperatorPath(hanging, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        for n in range(20):
            ledger.record(place.fault(n, run="run002", expires_in_s=-5))
        sweeping = pool.submit(sweep, ledger, hanging, path.url, deadline_s=2.0)
        path.wait_until_normal(within_s=3.5)
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
        raw("200 OK", '{"cb.run001.1.1.db": 3}'),
        raw("200 OK", '{"cb.run001.1.1.db": {"listen": "x"}}'),
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


def test_list_is_asked_for_again_once_a_wedged_proxy_is_gone(ledger: FaultLedger) -> None:
    """A real server hangs on the list of all proxies until the wedged one is closed."""
    expired = int(time.time()) - 5
    wedged, other = (fault_name("run001", expired, n, ORIGINAL, stands_in=False) for n in (1, 2))
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
            return raw("200 OK", json.dumps(dict.fromkeys(there, shown)))
        if name in there:
            return raw("200 OK", json.dumps(shown))
        return raw("404 Not Found", json.dumps(UNKNOWN))

    async def swept() -> CleanReport:
        async with fake_api(reply) as url:
            place = OperatorPath(url, "127.0.0.1:1", "x:1")
            ledger.record(replace(place.fault(), name=wedged, restores=None, run="run001"))
            return await asyncio.to_thread(sweep, ledger, url)

    report = asyncio.run(swept())
    assert [fault.name for fault in report.undone] == [wedged, other]
    assert report.confirmed


def test_fault_is_found_at_another_address_than_the_ledger_says(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    """As in containers, where one server has one name for the run and another for us."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        old = f"http://127.0.0.1:{silent.getsockname()[1]}"
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
    with ledger.lock_path("run001").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
    place = OperatorPath(f"http://127.0.0.1:{free_port()}", "127.0.0.1:1", "127.0.0.1:1")
    fault: Fault = place.fault()
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
    listen = f"127.0.0.1:{free_port()}"
    fault, short_lived = (OperatorPath(url, listen, "127.0.0.1:1").fault() for url in (lost, own))
    ledger.record(fault)
    ledger.record(replace(short_lived, name=f"{short_lived.name}x"), server_dies_with_run=True)
    report = sweep(ledger, dry_run=True)
    assert [one.server for one in report.unreachable] == [lost]
    assert len(report.due()) == 2


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
    fault = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1").fault()
    ledger.record(fault)
    line = sweep(ledger, deadline_s=0.3).text().splitlines()[0]
    assert line.startswith(f"NOT UNDONE: {fault.name} at {url} ")
    assert "Connection refused; by hand:" in line
    assert "Errno" not in line
    assert (line.count(fault.name), line.count(url)) == (1, 1)


def test_named_run_that_is_not_found_is_told_with_those_that_are(ledger: FaultLedger) -> None:
    place = OperatorPath(f"http://127.0.0.1:{free_port()}", "127.0.0.1:1", "127.0.0.1:1")
    ledger.record(place.fault(1, run="run001"))
    ledger.record(place.fault(2, run="run002")).write_text("{")
    report = sweep(ledger, run="run009")
    assert report.other_runs == ("run001", "run002")
    assert report.text().startswith("nothing of run run009 was found in the ledger or at ")
    assert json.loads(report.to_json())["other_runs"] == ["run001", "run002"]
