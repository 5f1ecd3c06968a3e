"""The watchdog against real processes: whatever ends the run, the path is normal afterwards."""

from __future__ import annotations

import contextlib
import json
import os
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

from chaosbandit.core.model import Fault
from chaosbandit.safety import armed, watchdog
from chaosbandit.safety.armed import Armed
from chaosbandit.safety.control import Control
from chaosbandit.safety.ledger import FaultLedger, fault_to_json
from chaosbandit.safety.restore import (
    Remedy,
    manual_commands,
    path_serves,
    remedy_of,
    revive,
    undo,
)
from tests.operator_path import ORIGINAL, OperatorPath, free_port, operator_path

_TESTS = Path(__file__).parent.parent


class Victim:
    """A run in its own process, stopped at a point of its exposure."""

    def __init__(
        self, path: OperatorPath, ledger: Path, point: str, expires_in_s: float, stuck: bool
    ) -> None:
        arguments = [str(ledger), path.url, path.listen, path.upstream, point, str(expires_in_s)]
        arguments += ["stuck"] * stuck
        self.process = subprocess.Popen(
            [sys.executable, str(_TESTS / "safety" / "victim.py"), *arguments],
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

    def kill(self) -> None:
        """SIGKILL, as the kernel's memory killer would."""
        self.process.kill()

    def end(self) -> None:
        """Whatever is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def running_victim(
    path: OperatorPath,
    ledger: Path,
    point: str,
    expires_in_s: float = 300.0,
    stuck: bool = False,
) -> Iterator[Victim]:
    victim = Victim(path, ledger, point, expires_in_s, stuck)
    try:
        yield victim
    finally:
        victim.end()


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[OperatorPath]:
    with operator_path(toxiproxy_url) as path:
        yield path


def ended_within(pid: int, within_s: float = 20.0) -> bool:
    """Whether the process, which is nobody's child here, is gone."""
    give_up_s = time.monotonic() + within_s
    while time.monotonic() < give_up_s:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "point", ["armed", "made", "dosed", "closed", "enabled", "deleted", "restored"]
)
def test_killed_run_leaves_a_normal_path(path: OperatorPath, tmp_path: Path, point: str) -> None:
    with running_victim(path, tmp_path, point) as victim:
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()
    assert FaultLedger(tmp_path).entries().entries == ()


@pytest.mark.parametrize("point", ["started", "recorded", "left", "ended"])
def test_run_killed_without_a_fault_leaves_no_process(
    path: OperatorPath, tmp_path: Path, point: str
) -> None:
    with running_victim(path, tmp_path, point) as victim:
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()
    left = FaultLedger(tmp_path).entries().entries
    assert [entry.fault.name for entry in left] == (
        [victim.fault_name] if point == "recorded" else []
    )


def test_clients_see_the_fault_end_soon_after_the_kill(path: OperatorPath, tmp_path: Path) -> None:
    with running_victim(path, tmp_path, "enabled") as victim, path.connect() as client:
        client.sendall(b"x")
        started_s = time.monotonic()
        victim.kill()
        assert client.recv(1) == b"", "the dose was gone, or never there, before the kill"
        path.wait_until_normal()
        assert time.monotonic() - started_s < 2.0  # some ms on an idle machine; see benchmarks
        assert ended_within(victim.watchdog_pid)


def test_stopped_run_loses_its_fault_after_the_ttl_and_again_at_its_end(
    path: OperatorPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "enabled") as victim:
        stopped_s = time.monotonic()
        victim.process.send_signal(signal.SIGSTOP)
        path.wait_until_normal()
        assert time.monotonic() - stopped_s >= 0.5  # last beat up to 0.4 s before the ttl of 1 s
        give_up_s = time.monotonic() + 10
        while FaultLedger(tmp_path).entries().entries and time.monotonic() < give_up_s:
            time.sleep(0.02)
        assert path.is_normal()
        again = replace(path.fault(), name=victim.fault_name)
        path.inject(again)  # what the run may do when it wakes up, believing it is guarded
        assert path.echo_s() is None
        victim.process.send_signal(signal.SIGCONT)
        time.sleep(0.6)
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


def test_run_whose_event_loop_hangs_loses_its_fault_though_its_threads_live(
    path: OperatorPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "enabled", stuck=True) as victim:
        stuck_s = time.monotonic()
        path.wait_until_normal()
        took_s = time.monotonic() - stuck_s
        # Beats go on for 1.5 s after its last sign of life, up to 0.2 s ago, then the ttl of 1 s.
        assert 1.3 < took_s < 1.5 + 1.0 + 2.0
        assert victim.process.poll() is None
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()
    assert FaultLedger(tmp_path).entries().entries == ()


def test_fault_is_undone_at_its_expiry_though_the_run_lives(
    path: OperatorPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "enabled", expires_in_s=3.0) as victim:
        assert path.echo_s() is None
        path.wait_until_normal()
        assert victim.process.poll() is None
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_do_not_end_the_watchdog(
    path: OperatorPath, tmp_path: Path, number: signal.Signals
) -> None:
    with running_victim(path, tmp_path, "enabled") as victim:
        os.kill(victim.watchdog_pid, number)
        assert not ended_within(victim.watchdog_pid, 0.3)
        os.killpg(victim.process.pid, number)  # as a terminal does; the victim dies of it or not
        time.sleep(0.1)
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


def test_operators_proxy_comes_back_even_if_somebody_deleted_it(
    path: OperatorPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "enabled") as victim:
        assert path.call("DELETE", f"/proxies/{ORIGINAL}") == 204
        victim.kill()
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


def test_fault_that_cannot_be_undone_yet_is_undone_when_it_can(
    path: OperatorPath, tmp_path: Path
) -> None:
    with running_victim(path, tmp_path, "closed") as victim:
        host, _, port = path.listen.rpartition(":")
        with socket.create_server((host, int(port))):  # the address is taken
            victim.kill()
            assert not ended_within(victim.watchdog_pid, 1.0)
            assert path.show(victim.fault_name) == {}
            assert [entry.fault.name for entry in FaultLedger(tmp_path).entries().entries] == [
                victim.fault_name
            ]
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


@contextlib.contextmanager
def silent_server() -> Iterator[tuple[str, socket.socket]]:
    """The URL of a server that accepts connections and never answers, and its listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


def heard(ours: socket.socket) -> Any:
    """The next answer of the watchdog; a deaf one is a failure."""
    ours.settimeout(2.0)
    return json.loads(ours.recv(65536))


def arm_line(path: OperatorPath, ledger: FaultLedger, n: int = 1, **changes: Any) -> bytes:
    fault = replace(path.fault(n), **changes)
    message = {
        "do": "arm",
        "fault": fault_to_json(fault),
        "toxics": ["latency_downstream"],
        "ledger": str(ledger.record(fault)),
        "server_dies_with_run": False,
    }
    return json.dumps(message).encode() + b"\n"


def test_what_cannot_be_undone_is_told_with_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(armed, "UNDO_S", 0.3)
    ledger = FaultLedger(tmp_path)
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        path = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        ours.sendall(arm_line(path, ledger))
        ours.shutdown(socket.SHUT_WR)
        assert watchdog.Watchdog(theirs, 1.0, tmp_path / "log").watch() is False
    entry = ledger.entries().entries[0]
    log = (tmp_path / "log").read_text()
    for command in manual_commands(remedy_of(entry.fault)):
        assert f"\n  {command}\n" in log
    assert "the run is gone" in log


def test_watchdog_that_fails_itself_still_undoes(path: OperatorPath, tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    path.inject(path.fault())
    ours, theirs = socket.socketpair()
    with ours:
        line = arm_line(path, ledger)
        name = ledger.entries().entries[0].fault.name
        assert path.show(name), "the fault written is the one injected"
        program = str(Path(watchdog.__file__))
        arguments = [program, str(theirs.fileno()), "60", str(tmp_path / "log")]
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", *arguments], pass_fds=(theirs.fileno(),)
            )
        ours.sendall(line + b"this is not JSON\n")
        assert process.wait(20) == 0
    assert path.is_normal()
    assert "watchdog itself failed" not in (tmp_path / "log").read_text()
    assert "JSONDecodeError" in (tmp_path / "log").read_text()


def test_late_call_of_the_dead_run_is_undone_too(path: OperatorPath, tmp_path: Path) -> None:
    with running_victim(path, tmp_path, "armed") as victim:
        victim.kill()
        time.sleep(0.1)  # the watchdog has looked; then what was on the wire arrives
        path.inject(replace(path.fault(), name=victim.fault_name))
        assert ended_within(victim.watchdog_pid)
    assert path.is_normal()


def test_bypass_is_used_soon_after_the_end_of_a_run_on_a_frozen_server(tmp_path: Path) -> None:
    used = tmp_path / "used"
    ours, theirs = socket.socketpair()
    with ours, silent_server() as (url, _):
        path = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        line = arm_line(path, FaultLedger(tmp_path), bypass=("touch", str(used)))
        arguments = [watchdog.__file__, str(theirs.fileno()), "60", str(tmp_path / "log")]
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", *arguments], pass_fds=(theirs.fileno(),)
            )
        try:
            ours.sendall(line)
            assert "ready" in heard(ours)
            assert "ack" in heard(ours)
            ours.close()
            ended_s = time.monotonic()
            while not used.exists() and time.monotonic() < ended_s + 15:
                time.sleep(0.02)
            assert used.exists()
            assert 3.5 < time.monotonic() - ended_s < 10.0
            assert process.poll() is None  # it goes on
        finally:
            process.kill()
            process.wait()


# --- in this process ------------------------------------------------------------------------------


class Taken:
    """A fault in the charge of this process, and what is said about it."""

    def __init__(self, path: OperatorPath, ledger: FaultLedger, fault: Fault) -> None:
        self.fault = fault
        self.notes: list[str] = []
        self.path = path
        self.armed = Armed(
            remedy_of(fault), ledger.record(fault), time.monotonic() + 300, self.notes.append
        )


@contextlib.contextmanager
def taken(path: OperatorPath, directory: Path, **changes: Any) -> Iterator[Taken]:
    taken = Taken(path, FaultLedger(directory), replace(path.fault(), **changes))
    try:
        yield taken
    finally:
        taken.armed.stop()


def test_run_is_heard_and_answered_while_its_faults_are_being_undone(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    ours, theirs = socket.socketpair()
    with ours, theirs, silent_server() as (url, listener):
        path = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        guarding = watchdog.Watchdog(theirs, 0.2, tmp_path / "log")
        thread = threading.Thread(target=guarding.watch)
        thread.start()
        ours.sendall(arm_line(path, ledger))
        first = heard(ours)
        listener.settimeout(10.0)
        client, _ = listener.accept()
        with client:
            assert client.recv(10).startswith(b"POST")  # it undoes, and this takes it 2 s a call
            for n in (2, 3):
                ours.sendall(arm_line(path, ledger, n))
                second = heard(ours)
                ours.sendall(json.dumps({"do": "disarm", "name": second["ack"]}).encode() + b"\n")
                assert heard(ours) == second != first
            ours.sendall(json.dumps({"do": "disarm", "name": first["ack"]}).encode() + b"\n")
            assert heard(ours) == first
            ours.shutdown(socket.SHUT_WR)
            thread.join(1.0)  # nothing is armed any more, so there is nothing to wait for
            assert not thread.is_alive()
    assert not (tmp_path / "log").exists()


def test_what_is_asked_during_an_undoing_is_done_after_it(
    path: OperatorPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go_on = threading.Event(), threading.Event()

    def look(remedy: Remedy) -> str | None:
        looking.set()
        go_on.wait(20)
        return path_serves(remedy)

    monkeypatch.setattr(armed, "path_serves", look)
    with taken(path, tmp_path) as it:
        path.inject(it.fault)
        it.armed.undo("silence")
        assert looking.wait(20)
        assert path.is_normal()
        path.inject(it.fault)  # by a run that woke up, and dies right after it
        it.armed.undo("the run is gone")
        assert it.armed.busy()
        go_on.set()
        assert it.armed.wait() is True
        assert not it.armed.busy()
        assert path.is_normal()
    assert it.notes == []


def test_two_undoings_of_a_fault_never_meet(
    path: OperatorPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, most = 0, 0

    def counted(*arguments: Any) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.05)
        undo(*arguments)
        at_work -= 1

    monkeypatch.setattr(armed, "undo", counted)
    with taken(path, tmp_path) as it:
        path.inject(it.fault)
        for _ in range(20):
            it.armed.undo("again")
            time.sleep(0.01)
        assert it.armed.wait() is True
    assert most == 1
    assert path.is_normal()


def test_stopped_fault_is_left_alone_at_once(tmp_path: Path) -> None:
    with silent_server() as (url, listener):
        path = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        with taken(path, tmp_path) as it:
            it.armed.undo("silence")
            listener.settimeout(10.0)
            client, _ = listener.accept()
            with client:
                assert client.recv(10)
                it.armed.stop()
                listener.settimeout(4.0)  # the call under way has its 2 s, and no other begins
                with pytest.raises(TimeoutError):
                    listener.accept()
    assert it.notes == []


def test_bypass_is_used_once_when_undoing_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(armed, "BYPASS_AFTER_S", 0.3)
    monkeypatch.setattr(armed, "UNDO_S", 1.0)
    used = tmp_path / "used"
    command = ("sh", "-c", f'echo "$CHAOSBANDIT_PROXY" >> {used}')
    with silent_server() as (url, _):
        path = OperatorPath(url, f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        with taken(path, tmp_path, bypass=command) as it:
            started_s = time.monotonic()
            for _ in range(2):
                it.armed.undo("the run is gone")
                assert it.armed.wait() is False
            assert time.monotonic() - started_s > 1.5  # it went on undoing after the bypass
    assert used.read_text() == f"{ORIGINAL}\n"
    early, said, *late = it.notes
    assert early.startswith("not undone yet (the run is gone) cb.")
    assert "ended with status 0: take it back" in said
    assert len(late) == 2
    assert all(note.startswith("NOT UNDONE (the run is gone)") for note in late)


def test_bypass_is_not_used_where_undoing_works(path: OperatorPath, tmp_path: Path) -> None:
    used = tmp_path / "used"
    with taken(path, tmp_path, bypass=("touch", str(used))) as it:
        path.inject(it.fault)
        it.armed.undo("the run is gone")
        assert it.armed.wait() is True
    assert not used.exists()
    assert it.notes == []


def test_path_that_does_not_serve_keeps_its_entry(
    path: OperatorPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(armed, "UNDO_S", 1.5)
    check = f"http://127.0.0.1:{free_port()}/"
    with taken(path, tmp_path, check=check) as it:
        path.inject(it.fault)
        it.armed.undo("the run is gone")
        assert path.wait_until_normal() < 1.4  # the look comes after, and delays nothing
        assert it.armed.wait() is False
    (note,) = it.notes
    assert f"{it.fault.name} is gone, but the path does not answer: GET {check}" in note
    (entry,) = FaultLedger(tmp_path).entries().entries
    assert entry.fault == it.fault


def test_path_that_serves_again_once_its_proxy_was_closed_and_opened_is_clean(
    path: OperatorPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that hangs in the operator's proxy is dropped, and this is tried only once."""
    monkeypatch.setattr(armed, "_LOOK_AGAIN_S", 0.05)
    revivals: list[float] = []

    def revived(remedy: Remedy, control: Control) -> None:
        revivals.append(time.monotonic())
        revive(remedy, control)

    with taken(path, tmp_path) as it, path.connect() as hanging:
        hanging.settimeout(0.0)

        def look(remedy: Remedy) -> str | None:
            try:
                hanging.recv(1)
            except BlockingIOError:
                return "it hangs"
            return None if len(revivals) else "it was dropped by something else"

        monkeypatch.setattr(armed, "path_serves", look)
        monkeypatch.setattr(armed, "revive", revived)
        path.inject(it.fault, "dosed")  # so that removing it closes nothing
        it.armed.undo("the run is gone")
        assert it.armed.wait() is True
    assert len(revivals) == 1
    assert path.is_normal()
    assert FaultLedger(tmp_path).entries().entries == ()
