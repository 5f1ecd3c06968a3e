"""What is tried, how long, what is used as the last resort, and what is said of it."""

from __future__ import annotations

import http.server
import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.cleaning import undo_all
from chaosbandit.cleaning.clean import clean
from chaosbandit.cleaning.report import CleanReport, described
from chaosbandit.faults import by_hand
from chaosbandit.faults.fault import Fault
from chaosbandit.faults.undo_steps import drop, stand_in, swap_back
from chaosbandit.safety.ledger import FaultLedger
from chaosbandit.toxiproxy import cut_and_reopen
from tests.cleaning.lossy_api import Fate, relay
from tests.cleaning.operators import ORIGINAL, OperatorPath, free_port, own_path, silent_server
from tests.waiting import wait_for


def sweep(
    ledger: FaultLedger, *servers: str, dry_run: bool = False, deadline_s: float = 5.0
) -> CleanReport:
    return clean(ledger, servers, None, False, dry_run, time.time(), deadline_s)


def hanging_fault(url: str, **more: object) -> Fault:
    place = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
    return replace(place.fault(), **more)  # type: ignore[arg-type]


# --- the path, and the way around it --------------------------------------------------------------


class Web(http.server.BaseHTTPRequestHandler):
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
    Web.posted = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
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
    report = sweep(ledger)
    assert report.undone == (deaf,)
    assert report.exit_code == 6
    assert f"nothing of ours is left on {ORIGINAL}, but the path does not answer" in report.text()
    assert ledger.entries().entries == ()
    ledger.record(replace(deaf, check=f"{web}/"))
    assert sweep(ledger).exit_code == 0
    assert path.is_normal()


def test_bypass_is_used_once_when_undoing_does_not_succeed(ledger: FaultLedger, web: str) -> None:
    with silent_server() as url:
        fault = hanging_fault(url, bypass=f"{web}/around")
        ledger.record(fault)
        report = sweep(ledger, deadline_s=1.0)
    assert [(one["fault"], one["proxy"]) for one in Web.posted] == [(fault.name, ORIGINAL)]
    assert report.exit_code == 7
    assert report.failed[0].commands == by_hand.commands(fault)
    line = report.text().splitlines()[0]
    assert f"; the bypass POST {web}/around was answered with 204" in line
    assert line.endswith("; by hand:")
    assert ".;" not in line
    assert (line.count(fault.name), line.count(url)) == (1, 1)


def test_fault_that_goes_after_its_bypass_is_an_alarm_still(
    path: OperatorPath, ledger: FaultLedger, web: str
) -> None:
    stuck = Fate.STUCK
    with relay(path.url, lambda method, *_: stuck if method == "DELETE" else Fate.PASSED) as api:
        fault = replace(path.fault(types=("slow_close",)), server=api.url, bypass=f"{web}/around")
        ledger.record(fault)
        path.inject(fault)

        def mend() -> None:
            wait_for(lambda: Web.posted)
            api.decide = lambda *_: Fate.PASSED

        mending = threading.Thread(target=mend)
        mending.start()
        report = sweep(ledger, deadline_s=8.0)
        mending.join()
    assert report.undone == (fault,)
    assert len(Web.posted) == 1
    assert "; the fault is gone since, so take the bypass back" in report.text()
    assert ".;" not in report.text()
    assert report.exit_code == 7
    assert path.is_normal()


def test_bypass_that_is_used_in_vain_is_not_used_for_the_next_on_that_proxy(
    ledger: FaultLedger, web: str
) -> None:
    with silent_server() as url:
        first = hanging_fault(url, bypass=f"{web}/around")
        other = OperatorPath(url, first.listen, first.upstream).fault(7)
        ledger.record(first)
        ledger.record(replace(other, bypass=f"{web}/around"))
        report = sweep(ledger, deadline_s=1.0)
    assert len(report.failed) == 2
    assert len(Web.posted) == 1


# --- a file that others may write -----------------------------------------------------------------


def test_untrusted_file_is_cleaned_by_its_name_and_none_of_its_commands_is_run(
    path: OperatorPath, ledger: FaultLedger, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    program = (sys.executable, "-c", f"open({str(ran)!r}, 'w')")
    fault = replace(path.fault(), bypass=program, check="http://127.0.0.1:1/", upstream="6.6.6.6:1")
    file = ledger.record(fault)
    file.chmod(0o666)
    path.inject(fault)
    report = sweep(ledger)
    assert [one.toxic_names for one in report.undone] == [fault.toxic_names]
    assert report.exit_code == 0, report.text()
    assert "its check and its bypass were not run" in report.text()
    assert path.is_normal()
    assert not file.exists()
    assert not ran.exists()


def test_untrusted_file_at_a_server_that_hangs_is_not_acted_on(
    ledger: FaultLedger, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    program = (sys.executable, "-c", f"open({str(ran)!r}, 'w')")
    with relay("http://127.0.0.1:1", lambda *_: Fate.STUCK) as api:
        file = ledger.record(hanging_fault(api.url, bypass=program))
        file.chmod(0o666)
        report = sweep(ledger, deadline_s=1.0)
    assert {call.split()[0] for call in api.heard} == {"GET"}
    assert "its file alone is not believed" in report.failed[0].why
    assert report.failed[0].commands == ()
    assert file.exists()
    assert not ran.exists()


def test_untrusted_file_cannot_have_the_operators_proxy_deleted(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    forged = replace(path.fault(), owned=True, toxics=())
    ledger.record(forged).chmod(0o666)
    sweep(ledger, path.url)
    assert path.is_normal()


# --- dry run --------------------------------------------------------------------------------------


def test_dry_run_prints_commands_that_do_it(path: OperatorPath, ledger: FaultLedger) -> None:
    faults = [path.fault(expires_in_s=-5), path.fault(3, run="run002", types=("timeout",))]
    path.inject(faults[0])
    path.inject(faults[1])
    ledger.record(replace(faults[1], bypass=("go", "around it")))
    own = own_path(path)
    report = sweep(ledger, path.url, dry_run=True)
    planned = {item.fault.name: item for item in report.planned}
    assert set(planned) == {faults[0].name, faults[1].name, own.name}
    assert planned[faults[0].name].commands == by_hand.quiet_commands(faults[0])
    assert planned[faults[1].name].last_resort == "go 'around it'"
    assert planned[own.name].commands == tuple(by_hand.line(path.url, step) for step in drop(own))
    for name in (faults[0].name, own.name, faults[1].name):
        for command in planned[name].commands:
            subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert path.is_normal()


def test_dry_run_of_a_cut_that_was_begun(path: OperatorPath, ledger: FaultLedger) -> None:
    fault = path.fault(expires_in_s=-5, types=("slow_close",))
    path.inject(fault)
    path.cut(fault)
    (item,) = sweep(ledger, path.url, dry_run=True).planned
    back = tuple(by_hand.line(path.url, step) for step in swap_back(fault))
    assert item.commands[-len(back) :] == back
    for command in item.commands:
        subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert path.is_normal()


def test_dry_run_hides_what_may_be_a_secret(path: OperatorPath, ledger: FaultLedger) -> None:
    ledger.record(replace(path.fault(), bypass="http://around/it?token=secret"))
    report = sweep(ledger, dry_run=True)
    assert report.planned[0].last_resort == "POST 'http://around/it?...'"
    assert "secret" not in report.text() + report.to_json()


# --- calls that hang ------------------------------------------------------------------------------


def test_call_that_may_be_late_leaves_the_fault_on_the_ledger(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    lost = [True]

    def loses_one(method: str, where: str, body: bytes) -> Fate:
        if method == "POST" and "/toxics/" in where and lost:
            lost.clear()
            return Fate.UNANSWERED
        return Fate.PASSED

    with relay(path.url, loses_one) as api:
        fault = replace(path.fault(), server=api.url)
        ledger.record(fault)
        path.inject(fault)
        report = sweep(ledger)
        until = time.strftime("%H:%M:", time.gmtime(time.time() + 59))
    assert report.undone == (fault,)
    assert report.exit_code == 0, report.text()  # a toxic that is softened late harms nobody
    assert f"note: {described(fault)}: a call about it got no answer" in report.text()
    assert f"may take effect until {until}" in report.text()
    assert f"  chaosbandit clean --toxiproxy {api.url}" in report.text()
    assert [entry.fault for entry in ledger.entries().entries] == [fault]
    assert path.is_normal()
    ledger.record(replace(fault, server=path.url))
    again = sweep(ledger)
    assert again.exit_code == 0
    assert ledger.entries().entries == ()


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that hangs is waited for some seconds only."""
    monkeypatch.setattr(cut_and_reopen, "FROZEN_LOOK_S", 0.2)
    monkeypatch.setattr(undo_all, "FROZEN_S", 3.0)


def frozen(fault: Fault, until_s: float) -> object:
    """A server on which one proxy hangs for a while: its close acts, all else does not."""

    def decide(method: str, where: str, body: bytes) -> Fate:
        if time.monotonic() > until_s or not where.startswith("/proxies"):
            return Fate.PASSED
        if where == f"/proxies/{stand_in(fault)}" or (method, where) == ("POST", "/proxies"):
            return Fate.PASSED
        closes = method == "POST" and where == f"/proxies/{ORIGINAL}" and b"false" in body
        return Fate.UNANSWERED if closes else Fate.STUCK

    return decide


@pytest.mark.usefixtures("quickly")
def test_proxy_that_hangs_is_waited_for_while_the_server_lives(
    path: OperatorPath, ledger: FaultLedger, web: str
) -> None:
    with relay(path.url) as api:
        fault = replace(path.fault(), server=api.url, bypass=f"{web}/around")
        ledger.record(fault)
        path.inject(fault)
        api.decide = frozen(fault, time.monotonic() + 6.0)  # type: ignore[assignment]
        report = sweep(ledger, deadline_s=1.0)
    assert report.undone == (fault,), report.text()
    assert "had to be closed for a moment" in report.text()
    assert f", and close {ORIGINAL}; look at it again then" in report.text()
    assert report.exit_code == 7
    assert Web.posted == [], "users are served by the stand-in"
    assert path.is_normal()


@pytest.mark.usefixtures("quickly")
def test_proxy_that_hangs_for_good_is_told_with_who_serves_its_users(
    path: OperatorPath, ledger: FaultLedger
) -> None:
    with relay(path.url) as api:
        fault = replace(path.fault(), server=api.url)
        ledger.record(fault)
        path.inject(fault)
        api.decide = frozen(fault, time.monotonic() + 60.0)  # type: ignore[assignment]
        report = sweep(ledger, deadline_s=1.0)
        assert path.echo_s() is not None
    assert report.exit_code == 7
    assert f"the path is served by {stand_in(fault)}, restart that Toxiproxy" in report.text()
    assert not [call for call in api.heard if call.startswith("DELETE")]
    assert [entry.fault for entry in ledger.entries().entries] == [fault]
