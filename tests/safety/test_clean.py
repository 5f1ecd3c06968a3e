"""`clean`: by the ledger, by names alone, never what is not ours, and never twice differently."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosbandit.safety.clean import CleanReport, clean
from chaosbandit.safety.guard import RunGuard
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.safety.restore import manual_commands, remedy_of
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
    assert sweep(ledger, path.url) == CleanReport()
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
    assert sweep(ledger, path.url, run="run999").found == ()
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
    for name in foreign:
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": "x:1", "enabled": True}
        assert path.call("POST", "/proxies", body) == 201
        path.call("POST", f"/proxies/{name}/toxics", {"type": "latency"})
    before = [path.show(name) for name in path.names()]
    path.inject(path.fault())
    assert sweep(ledger, path.url, run="run001").confirmed
    assert [path.show(name) for name in path.names()] == before


def test_dry_run_touches_nothing(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault()
    ledger.record(fault)
    ledger.lock_path("run001").touch()
    path.inject(fault)
    proxies = [path.show(name) for name in path.names()]
    files = {file: file.stat().st_mtime_ns for file in ledger.directory.iterdir()}
    report = sweep(ledger, path.url, dry_run=True)
    assert report.found == (fault,)
    assert report.undone == ()
    assert f"would be undone: {fault.name}" in report.text()
    assert [path.show(name) for name in path.names()] == proxies
    assert {file: file.stat().st_mtime_ns for file in ledger.directory.iterdir()} == files


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


class AllIsWell(http.server.BaseHTTPRequestHandler):
    """An API that claims to have restored a proxy on `listen`, where nobody listens."""

    listen = ""

    def do_DELETE(self) -> None:
        self.answer(404, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201 if self.path == "/proxies" else 200, {})

    def do_GET(self) -> None:
        proxy = {"listen": self.listen, "upstream": "127.0.0.1:1", "enabled": True, "toxics": []}
        self.answer(200 if self.path.endswith(ORIGINAL) and "cb." not in self.path else 404, proxy)

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


def test_nothing_found_is_said(ledger: FaultLedger) -> None:
    assert sweep(ledger).text() == "nothing of ours was found"
