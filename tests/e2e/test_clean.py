"""`clean --watch` as a process: a sidecar that clears up, says so, and leaves in order."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from chaosbandit.faults.names import SWEEPER
from chaosbandit.faults.undo_steps import close_and_stand_in, stand_in
from tests.e2e.runs import Command, chaosbandit, soon
from tests.operator_path import ORIGINAL, OperatorPath, operator_path


@pytest.fixture
def path(toxiproxy_url: str) -> Iterator[OperatorPath]:
    with operator_path(toxiproxy_url) as path:
        yield path


def sidecar_at(state: Path, *servers: str) -> Command:
    """A sidecar that looks every second, from its first line on."""
    options = [word for url in servers for word in ("--toxiproxy", url)]
    arguments = ["clean", "--expired", "--watch", "--every", "1s", *options]
    command = Command(state, *arguments)
    command.until("at work: looking at ")
    return command


def lease(path: OperatorPath) -> list[str]:
    """The sweeper's lease on the server."""
    return [name for name in path.names() if name.startswith(f"cb-lease.{SWEEPER}.")]


@pytest.mark.parametrize("number", [SIGTERM, SIGINT, SIGHUP])
def test_sidecar_clears_up_until_it_is_told_to_leave(
    path: OperatorPath, tmp_path: Path, number: Signals
) -> None:
    """The run was on a host that is gone: nothing is known but what the server shows."""
    with sidecar_at(tmp_path, path.url) as sidecar:
        assert soon(lambda: bool(lease(path)))
        fault = path.fault(expires_in_s=2)
        path.inject(fault)
        sidecar.until(f"undone: {fault.name}")
        assert path.wait_until_normal() < 2.0
        assert len(lease(path)) == 1
        sidecar.send(number)
        ended = sidecar.ended().told(0)
    assert path.is_normal()
    lines = ended.err.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    assert [line.split(" ", 1)[1].partition(":")[0] for line in lines] == [
        "at work",
        "undone",
        number.name,
        "ended",
    ]
    assert ended.out == ""


def test_what_is_being_undone_is_finished_and_what_is_left_is_exit_7(
    path: OperatorPath, tmp_path: Path
) -> None:
    """The address of the operator's proxy is taken by somebody else."""
    fault = path.fault(expires_in_s=-5)
    path.inject(fault)
    mark, close, _ = close_and_stand_in(fault)  # as a watchdog leaves it that dies in a cut
    assert path.call(mark.method, mark.path, mark.body) == 201
    assert path.call(close.method, close.path, close.body) == 200
    port = int(path.listen.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), sidecar_at(tmp_path, path.url) as sidecar:
        assert soon(lambda: path.show()["toxics"] == [], 20.0)
        sidecar.send(SIGTERM)
        sidecar.send(SIGTERM)
        ended = sidecar.ended().told(7)
    assert f"NOT UNDONE: {fault.name}" in ended.err
    assert "by hand: curl " in ended.err
    assert ended.err.splitlines()[-1].endswith("ended: 0 undone, 1 left")
    assert path.names() == sorted([ORIGINAL, stand_in(fault)])  # that it is ours to open


def test_a_killed_sidecar_leaves_a_lease_that_the_next_one_takes_away(
    path: OperatorPath, tmp_path: Path
) -> None:
    with sidecar_at(tmp_path, path.url) as sidecar:
        assert soon(lambda: bool(lease(path)))
        sidecar.send(SIGKILL)
        assert sidecar.process.wait(10) == -SIGKILL
    (left,) = lease(path)
    report = chaosbandit(tmp_path, "clean", "--toxiproxy", path.url).told(0)
    assert "nothing of ours was found" in report.out
    path.call("DELETE", f"/proxies/{left}")
    stale = f"cb-lease.{SWEEPER}.{int(time.time()) - 1}"
    body = {"name": stale, "listen": "127.0.0.1:0", "upstream": SWEEPER, "enabled": False}
    path.call("POST", "/proxies", body)
    with sidecar_at(tmp_path, path.url) as sidecar:
        assert soon(lambda: stale not in path.names())
        sidecar.send(SIGTERM)
        sidecar.ended().told(0)
    assert path.is_normal()


def test_servers_come_and_go(path: OperatorPath, tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        absent = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with sidecar_at(tmp_path, absent, path.url) as sidecar:
            sidecar.until(f"{absent}: NOT REACHED: connection refused; is a Toxiproxy")
            fault = path.fault(expires_in_s=2)
            path.inject(fault)
            sidecar.until(f"undone: {fault.name}")
            sidecar.send(SIGTERM)
            ended = sidecar.ended().told(7)
    assert ended.err.count("NOT REACHED") == 1
    assert f" never reached {absent}\n" in ended.err
    assert f"never reached {path.url}" not in ended.err
