"""The watchdog against real processes: whatever ends the run, the path is normal afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaosbandit.faults.by_hand import commands
from chaosbandit.faults.fault import Fault
from chaosbandit.safety import watchdog, watchdog_one_fault
from chaosbandit.safety.ledger import FaultLedger, fault_to_json
from tests.safety.watched_path import (
    ORIGINAL,
    WatchedPath,
    injection,
    lonely,
    nowhere,
    watched_path,
)
from tests.waiting import stays, wait_for

_TESTS = Path(__file__).parent.parent


class Victim:
    """A run in its own process, stopped at a point of its exposure."""

    def __init__(
        self, path: WatchedPath, ledger: Path, point: str, *how: str, expires_in_s: float = 300.0
    ) -> None:
        arguments = [str(ledger), path.url, path.listen, path.upstream, point, str(expires_in_s)]
        self.process = subprocess.Popen(
            [sys.executable, str(_TESTS / "safety" / "victim.py"), *arguments, *how],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_TESTS.parent)},
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().split()
        assert said[:2] == ["at", point], said
        self.watchdog_pid = int(said[2])
        self.fault_name = said[3]

    def fault(self, path: WatchedPath) -> Fault:
        """The fault it is about, as in the ledger."""
        toxic = replace(path.fault().toxics[0], name=self.fault_name)
        return replace(path.fault(), name=self.fault_name, toxics=(toxic,))

    def kill(self) -> None:
        """SIGKILL, as the kernel's memory killer would."""
        self.process.kill()

    def end(self) -> None:
        """Whatever is left of it, and of its watchdog, which may look for a minute."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        if not ended_within(self.watchdog_pid, 0.0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.watchdog_pid, signal.SIGKILL)


@contextlib.contextmanager
def running_victim(
    path: WatchedPath, ledger: Path, point: str, *how: str, expires_in_s: float = 300.0
) -> Iterator[Victim]:
    victim = Victim(path, ledger, point, *how, expires_in_s=expires_in_s)
    try:
        yield victim
    finally:
        victim.end()


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[WatchedPath]:
    with watched_path(toxiproxy_url) as path:
        yield path


def ended_within(pid: int, within_s: float = 20.0) -> bool:
    """Whether the process, which is nobody's child here, is gone."""
    give_up_s = time.monotonic() + within_s
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.01)


def written(ledger: Path) -> list[str]:
    return [entry.fault.name for entry in FaultLedger(ledger).entries().entries]


# --- the run's end --------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["armed", "dosed", "softened", "deleted"])
def test_killed_run_leaves_a_normal_path(path: WatchedPath, tmp_path: Path, point: str) -> None:
    with running_victim(path, tmp_path, point) as victim:
        victim.kill()
        assert ended_within(victim.watchdog_pid)  # no call was on the wire: nothing to wait for
    assert path.is_normal()
    assert written(tmp_path) == []
    log = tmp_path / "watchdog.log"
    assert log.exists() == (point == "dosed")  # whatever was cut is told
    if point == "dosed":
        assert f"{victim.fault_name} is undone (the run is gone): inventory " in log.read_text()
        assert "connections were cut" in log.read_text()


@pytest.mark.parametrize("point", ["started", "recorded", "left", "ended"])
def test_run_killed_without_a_fault_leaves_no_process(
    path: WatchedPath, tmp_path: Path, point: str
) -> None:
    with running_victim(path, tmp_path, point) as victim:
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()
    assert written(tmp_path) == ([victim.fault_name] if point == "recorded" else [])


def _heard(client: socket.socket) -> bytes:
    """One byte, or nothing from a cut: a reset where the proxy had not read what was sent."""
    with contextlib.suppress(ConnectionResetError):
        return client.recv(1)
    return b""


@pytest.mark.parametrize(("point", "cut"), [("dosed", True), ("softened", False)])
def test_clients_of_a_dead_run_are_cut_free_unless_the_dose_is_soft_already(
    path: WatchedPath, tmp_path: Path, point: str, cut: bool
) -> None:
    with running_victim(path, tmp_path, point) as victim, path.connect() as client:
        client.sendall(b"x")
        started_s = time.monotonic()
        victim.kill()
        assert _heard(client) == (b"" if cut else b"x")
        path.wait_until_normal()
        assert time.monotonic() - started_s < 1.0  # some 20 ms on an idle machine
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


def test_stopped_run_loses_its_fault_after_the_ttl_and_again_at_its_end(
    path: WatchedPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "dosed") as victim:
        stopped_s = time.monotonic()
        victim.process.send_signal(signal.SIGSTOP)
        path.wait_until_normal()
        assert time.monotonic() - stopped_s >= 0.5  # last beat up to 0.4 s before the ttl of 1 s
        wait_for(lambda: not written(tmp_path))
        assert path.is_normal()
        path.inject(victim.fault(path))  # what the run may do when it wakes up
        assert path.echo_s() is None
        victim.process.send_signal(signal.SIGCONT)
        assert stays(lambda: victim.process.poll() is None, 0.6)
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


def test_run_whose_event_loop_hangs_loses_its_fault_though_its_threads_live(
    path: WatchedPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "dosed", "stuck") as victim:
        stuck_s = time.monotonic()
        path.wait_until_normal()
        took_s = time.monotonic() - stuck_s
        # Beats go on for 1.5 s after its last sign of life, up to 0.2 s ago, then the ttl of 1 s.
        assert 1.3 < took_s < 1.5 + 1.0 + 2.0
        assert victim.process.poll() is None
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()
    assert written(tmp_path) == []


def test_fault_is_undone_at_its_expiry_without_a_cut_though_the_run_lives(
    path: WatchedPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "dosed", expires_in_s=4.0) as victim:
        with path.connect() as client:
            client.sendall(b"x")
            assert path.toxics() == [victim.fault_name]
            wait_for(lambda: path.toxics() == [])
            assert client.recv(1) == b"x"
        assert victim.process.poll() is None
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()
    assert not (tmp_path / "watchdog.log").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_do_not_end_the_watchdog(
    path: WatchedPath, tmp_path: Path, number: signal.Signals
) -> None:
    with running_victim(path, tmp_path, "dosed") as victim:
        os.kill(victim.watchdog_pid, number)
        assert not ended_within(victim.watchdog_pid, 0.3)
        os.killpg(victim.process.pid, number)  # as a terminal does; the victim dies of it or not
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


def test_operators_proxy_that_somebody_deleted_stays_deleted(
    path: WatchedPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "dosed") as victim:
        assert path.call("DELETE", f"/proxies/{ORIGINAL}") == 204
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.names() == []
    assert written(tmp_path) == []
    assert "inventory was found gone, by others; left so" in (tmp_path / "watchdog.log").read_text()


def test_late_call_of_the_dead_run_is_undone_too(path: WatchedPath, tmp_path: Path) -> None:
    with running_victim(path, tmp_path, "armed", "calling") as victim:
        victim.kill()
        for _ in range(2):
            path.inject(victim.fault(path))
            path.wait_until_normal()
            wait_for(path.is_normal)
            assert written(tmp_path) == [victim.fault_name]
        assert path.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False}) == 200
        path.wait_until_normal()  # whoever closed it: the dead run may have been about to
        assert not ended_within(victim.watchdog_pid, 1.0)
    assert written(tmp_path) == [victim.fault_name]  # its watchdog was killed before the end


# --- the process ----------------------------------------------------------------------------------


@contextlib.contextmanager
def silent_server() -> Iterator[tuple[str, socket.socket]]:
    """The URL of a server that accepts connections and never answers, and its listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


def heard(ours: socket.socket) -> Any:
    """The next answer of the watchdog; a deaf one is a failure."""
    ours.settimeout(5.0)
    return json.loads(ours.recv(65536))


def line(do: str, **content: Any) -> bytes:
    return json.dumps({"do": do, **content}).encode() + b"\n"


def arm_line(fault: Fault, ledger: FaultLedger) -> bytes:
    return line("arm", fault=fault_to_json(fault), ledger=str(ledger.record(fault)))


@contextlib.contextmanager
def watchdog_process(log: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """The process, and the run's end of its socket."""
    ours, theirs = socket.socketpair()
    arguments = [str(Path(watchdog.__file__)), str(theirs.fileno()), "60", str(log)]
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", *arguments], pass_fds=(theirs.fileno(),)
            )
        try:
            assert heard(ours) == {"ready": process.pid}
            yield process, ours
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def watching(log: Path, ttl_s: float = 60.0) -> Iterator[tuple[list[bool], socket.socket]]:
    """The same in a thread of this process, and what it said at its end."""
    ours, theirs = socket.socketpair()
    clean: list[bool] = []
    with ours, theirs:
        guarding = watchdog.Watchdog(theirs, ttl_s, log)
        thread = threading.Thread(target=lambda: clean.append(guarding.watch()))
        thread.start()
        yield clean, ours
        ours.close()
        thread.join(30.0)
        assert not thread.is_alive()


def test_only_what_it_needs_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import watchdog\n"
        "watchdog._stand_in_for_packages(); import chaosbandit.safety.watchdog_one_fault\n"
        "print(*sorted(name for name in sys.modules if name.split('.')[0] not in"
        " {*sys.stdlib_module_names, 'watchdog', '__main__'}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(Path(watchdog.__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    parts = {name.removeprefix("chaosbandit").strip(".") for name in done.stdout.split()}
    faults = {part for part in parts if part.startswith("faults.")}
    assert parts - faults == {
        "", "deadline_thread", "faults", "foreign_text", "hidden_values", "safety", "toxiproxy",
        "safety.bypass", "safety.durable_files", "safety.owned_files", "safety.watchdog_one_fault",
        "toxiproxy.calls", "toxiproxy.connection_count", "toxiproxy.cut_and_reopen",
        "toxiproxy.deadline_connection", "toxiproxy.listing", "toxiproxy.wire_format",
        "toxiproxy.undo_step_calls", "toxiproxy.undo",
    }  # fmt: skip


@pytest.mark.e2e
def test_it_starts_quickly(tmp_path: Path) -> None:
    """From its start until it has taken charge of a fault; best of several."""
    took_s = []
    for n in range(8):
        started_s = time.monotonic()
        with watchdog_process(tmp_path / "log") as (_, ours):
            ours.sendall(arm_line(lonely(n), FaultLedger(tmp_path)))
            assert "ack" in heard(ours)
            took_s.append(time.monotonic() - started_s)
    assert min(took_s) < 0.25  # some 100 ms on an idle machine


def test_what_cannot_be_undone_is_told_with_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_one_fault, "UNDO_S", 0.3)
    ledger = FaultLedger(tmp_path)
    with silent_server() as (url, _):
        fault = replace(nowhere().fault(), server=url)
        with watching(tmp_path / "log") as (clean, ours):
            ours.sendall(arm_line(fault, ledger))
            ours.shutdown(socket.SHUT_WR)
        assert clean == [False]
    assert written(tmp_path) == [fault.name]
    log = (tmp_path / "log").read_text()
    for command in commands(fault):
        assert f"\n  {command}\n" in log
    assert "NOT UNDONE (the run is gone)" in log


def test_watchdog_that_fails_itself_still_undoes(path: WatchedPath, tmp_path: Path) -> None:
    fault = path.fault()
    path.inject(fault)
    with watchdog_process(tmp_path / "log") as (process, ours):
        ours.sendall(arm_line(fault, FaultLedger(tmp_path)))
        assert "ack" in heard(ours)
        ours.sendall(line("rests", name=fault.name, rests=True) + b"this is not JSON\n")
        assert process.wait(20) == 0
    assert path.is_normal()
    assert "JSONDecodeError" in (tmp_path / "log").read_text()


def test_bypass_is_used_soon_after_the_end_of_a_run_on_a_frozen_server(tmp_path: Path) -> None:
    used = tmp_path / "used"
    with silent_server() as (url, _), watchdog_process(tmp_path / "log") as (process, ours):
        fault = replace(nowhere().fault(), server=url, bypass=("touch", str(used)))
        ours.sendall(arm_line(fault, FaultLedger(tmp_path)))
        assert "ack" in heard(ours)
        ours.close()
        ended_s = time.monotonic()
        wait_for(used.exists)
        assert 3.5 < time.monotonic() - ended_s < 10.0
        assert process.poll() is None  # it goes on


def test_run_is_heard_and_answered_while_its_faults_are_being_undone(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    with silent_server() as (url, listener), watching(tmp_path / "log", 0.2) as (clean, ours):
        first, *others = (replace(lonely(n), server=url) for n in (1, 2, 3))
        ours.sendall(arm_line(first, ledger))
        assert heard(ours) == {"ack": first.name}
        listener.settimeout(10.0)
        clients = [listener.accept()[0] for _ in range(2)]  # it keeps two open
        assert select.select(clients, [], [], 10.0)[0]  # it undoes now, 0.5 s a call here
        for client in clients:
            client.detach()
        for other in others:
            ours.sendall(arm_line(other, ledger))
            assert heard(ours) == {"ack": other.name}
            ours.sendall(line("disarm", name=other.name))
            assert heard(ours) == {"ack": other.name}
        ours.sendall(line("disarm", name=first.name))
        assert heard(ours) == {"ack": first.name}
        ended_s = time.monotonic()
        ours.shutdown(socket.SHUT_WR)
        wait_for(lambda: clean)  # nothing is armed any more, so there is nothing to wait for
        assert time.monotonic() - ended_s < 0.5
    assert clean == [True]


def test_fault_armed_again_is_undone_as_it_is_now(path: WatchedPath, tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    mild = path.fault()
    more = replace(mild.toxics[0], name=path.fault(2).name)
    both = replace(mild, toxics=(*mild.toxics, more))
    with watching(tmp_path / "log") as (clean, ours):
        for fault in (mild, both):
            ours.sendall(arm_line(fault, ledger))
            assert heard(ours) == {"ack": mild.name}
        for toxic in both.toxics:
            path.inject(replace(mild, toxics=(toxic,)))
        ours.sendall(line("rests", name=mild.name, rests=True))
    assert clean == [True]
    assert path.is_normal()
    assert written(tmp_path) == []


# --- late calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("calling", [False, True])
def test_only_a_call_on_the_wire_is_waited_for(
    path: WatchedPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calling: bool
) -> None:
    monkeypatch.setattr(watchdog_one_fault, "LATE_S", 2.0)
    fault = path.fault()
    with watching(tmp_path / "log") as (clean, ours):
        ours.sendall(arm_line(fault, FaultLedger(tmp_path)))
        assert "ack" in heard(ours)
        ours.sendall(line("rests", name=fault.name, rests=True))
        if calling:
            ours.sendall(line("rests", name=fault.name, rests=False))
        ended_s = time.monotonic()
        ours.shutdown(socket.SHUT_WR)
        if calling:
            wait_for(lambda: time.monotonic() > ended_s + 1.0)
            assert written(tmp_path) == [fault.name]
            path.inject(fault)
            path.wait_until_normal()
        wait_for(lambda: clean)
        assert (time.monotonic() - ended_s >= 2.0) == calling
    assert clean == [True]
    assert path.is_normal()
    assert written(tmp_path) == []


@pytest.mark.parametrize("leaves", [False, True])
def test_what_the_run_saw_gone_is_looked_at_until_its_late_call_is_due(
    path: WatchedPath, tmp_path: Path, leaves: bool
) -> None:
    """Quietly, since the run lives: no connection is cut. Afterwards the watchdog forgets it."""
    fault, ledger = path.fault(), FaultLedger(tmp_path)
    with watching(tmp_path / "log") as (clean, ours), path.connect() as client:
        ours.sendall(arm_line(fault, ledger))
        assert heard(ours) == {"ack": fault.name}
        content = {"fault": fault_to_json(fault), "ledger": str(ledger.path(fault.name))}
        ours.sendall(line("late", **content, for_s=2.0, closes=False))
        assert heard(ours) == {"ack": fault.name}
        began_s = time.monotonic()
        if leaves:
            ours.shutdown(socket.SHUT_WR)
        assert stays(lambda: written(tmp_path) == [fault.name], 0.5)
        path.inject(fault)
        wait_for(lambda: path.toxics() == [], 2.0)
        assert written(tmp_path) == [fault.name]
        wait_for(lambda: not written(tmp_path))
        assert time.monotonic() - began_s > 1.9
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        if not leaves:
            path.inject(fault)  # nobody has said that it is armed
            assert stays(lambda: path.toxics() == [fault.name], 0.7)
            dict(injection(path, fault))["deleted"]()
    assert clean == [True]
    assert path.is_normal()
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(("closes", "ours"), [(True, True), (False, False)])
def test_late_closing_is_ours_to_open_only_if_one_of_ours_may_come(
    path: WatchedPath, tmp_path: Path, closes: bool, ours: bool
) -> None:
    fault, ledger = path.fault(), FaultLedger(tmp_path)
    content = {"fault": fault_to_json(fault), "ledger": str(ledger.record(fault))}
    with watching(tmp_path / "log") as (clean, link):
        link.sendall(line("late", **content, for_s=2.0, closes=closes))
        assert heard(link) == {"ack": fault.name}
        assert path.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False}) == 200
        wait_for(lambda: not written(tmp_path))
    assert clean == [True]
    assert path.show()["enabled"] is ours


def test_dead_server_ends_the_waiting_at_once(tmp_path: Path) -> None:
    """Nothing listens where it was: its proxies are gone with it, and no late call can arrive."""
    fault = replace(nowhere().fault(), dies_with_run=True)
    started_s = time.monotonic()
    with watching(tmp_path / "log") as (clean, ours):
        ours.sendall(arm_line(fault, FaultLedger(tmp_path)))
        assert "ack" in heard(ours)
    assert clean == [True]
    assert time.monotonic() - started_s < 5.0
    assert written(tmp_path) == []


def test_failed_removal_is_taken_over_at_once_without_a_second_bypass(
    path: WatchedPath, tmp_path: Path
) -> None:
    used = tmp_path / "used"
    fault = replace(path.fault(), bypass=("touch", str(used)))
    path.inject(fault)
    with watching(tmp_path / "log") as (clean, ours):
        ours.sendall(arm_line(fault, FaultLedger(tmp_path / "faults")))
        assert "ack" in heard(ours)
        ours.sendall(line("rests", name=fault.name, rests=True))
        ours.sendall(line("undo", name=fault.name, why="it hung", bypassed=True))
        wait_for(path.is_normal)
        assert not clean  # the run goes on
    assert clean == [True]
    assert not used.exists()
    assert "is undone (it hung)" in (tmp_path / "log").read_text()


def test_address_that_is_taken_is_waited_for(
    path: WatchedPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has the address of the proxy that the run was closing: undone when it is free."""
    monkeypatch.setattr(watchdog_one_fault, "LATE_S", 1.0)
    fault = path.fault()
    path.inject(fault)
    assert path.call("POST", f"/proxies/{ORIGINAL}", {"enabled": False}) == 200
    host, _, port = path.listen.rpartition(":")
    with watching(tmp_path / "log") as (clean, ours):
        with socket.create_server((host, int(port))):
            ours.sendall(arm_line(fault, FaultLedger(tmp_path)))
            assert "ack" in heard(ours)
            ours.shutdown(socket.SHUT_WR)
            log = tmp_path / "log"
            wait_for(lambda: log.exists() and "not undone yet (" in log.read_text())
            assert written(tmp_path) == [fault.name]
    assert clean == [True]
    assert path.is_normal()
    assert written(tmp_path) == []
