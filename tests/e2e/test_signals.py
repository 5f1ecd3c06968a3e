"""Signals at many moments of a run: nothing is left, whatever they cut short."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM

import pytest

from chaosbandit.cli.demo_services import Stage
from chaosbandit.core.events import Stopped
from chaosbandit.store.journal import read
from tests.e2e.conftest import Kept
from tests.e2e.runs import (
    Command,
    Ended,
    journals,
    ledger_files,
    listener,
    processes_with,
    proxies,
    scenario_with,
    soon,
)

pytestmark = pytest.mark.e2e

MOMENTS = [  # where, what to wait for, what is sent that long after it, and the exit code
    ("embedded", "", 0.15, [SIGINT], 130),
    ("real", "", 0.35, [SIGTERM], 143),
    ("embedded", "", 0.6, [SIGINT, SIGINT], 130),
    ("real", "quick: run", 0.0, [SIGTERM], 143),
    ("embedded", "quick: run", 0.2, [SIGINT], 130),
    ("real", "steady state", 0.0, [SIGHUP], 143),
    ("real", "begin 1", 0.02, [SIGINT, SIGINT], 130),
    ("embedded", "begin 1", 0.1, [SIGTERM], 143),
    ("real", "begin 1", 0.4, [SIGINT], 130),
    ("embedded", "exposure 1: .* requests", 0.0, [SIGTERM, SIGTERM, SIGINT], 143),
    ("real", "begin 2", 0.3, [SIGINT] * 20, 130),
    ("embedded", "exposure 2: .* requests", 0.01, [SIGHUP], 143),
    ("real", "begin 3", 0.7, [SIGINT, SIGTERM], 130),
]


@pytest.mark.parametrize(
    ("shared_stage", "line", "after_s", "numbers", "code"), MOMENTS, indirect=["shared_stage"]
)
def test_a_signal_ends_the_run_in_order(
    shared_stage: Stage,
    tmp_path: Path,
    line: str,
    after_s: float,
    numbers: list[signal.Signals],
    code: int,
) -> None:
    before = proxies(shared_stage.server)
    ended = _struck(shared_stage, tmp_path, line, after_s, numbers).told(code)
    assert before == proxies(shared_stage.server)
    _nothing_is_left(shared_stage, tmp_path)
    if "exposure" in ended.err:
        assert "interrupted: removing faults" in ended.err
        assert "stopped: interrupted by the operator" in ended.out
        assert "NOT CONFIRMED" not in ended.out
        (journal,) = journals(tmp_path)
        last = read(journal)[-1]
        assert isinstance(last, Stopped)
        assert code == last.exit_code


@pytest.mark.parametrize(
    ("line", "after_s"),
    [("steady state", 0.02), ("begin 1", 0.05), ("begin 2", 0.4)],
)
def test_the_watchdog_cleans_up_after_a_killed_run(
    shared_stage: Stage, kept: Kept, tmp_path: Path, line: str, after_s: float
) -> None:
    before = proxies(shared_stage.server)
    ended = _struck(shared_stage, tmp_path, line, after_s, [SIGKILL])
    assert (ended.code, ended.out) == (-9, "")
    assert soon(lambda: proxies(shared_stage.server) == before)
    kept.states.append(tmp_path)  # it may look for a late call until the end of all tests
    (journal,) = journals(tmp_path)
    assert read(journal)


def test_a_second_ctrl_c_skips_the_look_at_the_path_and_says_so(
    embedded_stage: Stage, tmp_path: Path
) -> None:
    with _run(embedded_stage, tmp_path) as run:
        run.until_exposed(2)
        os.kill(listener(embedded_stage.environment["CB_DEMO_CANARY"]), SIGKILL)
        run.send(SIGINT)
        run.until("interrupted: removing faults")
        run.until("exposure 2: .* void: interrupted")  # now the path is looked at, for 5 s
        pressed_s = time.monotonic()
        run.send(SIGINT)
        text = " ".join(run.ended().told(130).out.split())
    assert time.monotonic() - pressed_s < 4.0
    assert "clean: faults removed and read back; the data path was not looked at" in text
    _nothing_is_left(embedded_stage, tmp_path)


def test_a_run_that_was_told_to_outlive_its_terminal_does(
    embedded_stage: Stage, tmp_path: Path
) -> None:
    before = signal.signal(SIGHUP, signal.SIG_IGN)  # as nohup does, and children inherit it
    try:
        run = _run(embedded_stage, tmp_path)
    finally:
        signal.signal(SIGHUP, before)
    with run:
        run.until("steady state")
        run.send(SIGHUP)
        run.until("exposure 1: .* requests")
        run.send(SIGTERM)
        run.ended().told(143)


def _run(stage: Stage, folder: Path) -> Command:
    arguments = ["run", scenario_with(folder), "--seed", 1]
    return Command(folder, *arguments, environment=stage.environment)


def _struck(
    stage: Stage, folder: Path, line: str, after_s: float, numbers: list[signal.Signals]
) -> Ended:
    with _run(stage, folder) as run:
        if line.startswith("begin "):
            run.until_exposed(int(line.removeprefix("begin ")))
        elif line:
            run.until(line)
        time.sleep(after_s)
        for number in numbers:
            run.send(number)
            time.sleep(0.02)
        return run.ended()


def _nothing_is_left(stage: Stage, folder: Path) -> None:
    assert soon(lambda: list(proxies(stage.server)) == ["inventory"])
    assert soon(lambda: not ledger_files(folder))
    assert soon(lambda: not processes_with(str(folder)))
