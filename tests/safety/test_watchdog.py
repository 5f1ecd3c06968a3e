"""The watchdog against real processes: whatever ends the run, the path is normal afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.safety import watchdog
from chaosbandit.safety.ledger import FaultLedger, fault_to_json
from chaosbandit.safety.restore import manual_commands, remedy_of
from tests.operator_path import ORIGINAL, OperatorPath, free_port, operator_path

pytestmark = pytest.mark.e2e

_TESTS = Path(__file__).parent.parent


class Victim:
    """A run in its own process, stopped at a point of its exposure."""

    def __init__(self, path: OperatorPath, ledger: Path, point: str, expires_in_s: float) -> None:
        arguments = [str(ledger), path.url, path.listen, path.upstream, point, str(expires_in_s)]
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
    path: OperatorPath, ledger: Path, point: str, expires_in_s: float = 300.0
) -> Iterator[Victim]:
    victim = Victim(path, ledger, point, expires_in_s)
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


def arm_line(path: OperatorPath, ledger: FaultLedger) -> bytes:
    fault = path.fault()
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
    monkeypatch.setattr(watchdog, "UNDO_S", 0.3)
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
