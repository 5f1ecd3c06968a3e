"""Runs on a terminal, and on one that is closed under them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaosbandit.cli.demo_services import Stage
from tests.e2e.runs import QUICK, ledger_files, processes_with, proxies, scenario_with, soon

pytestmark = pytest.mark.e2e


def test_a_terminal_without_colours(embedded_stage: Stage, tmp_path: Path) -> None:
    run, terminal = _on_a_terminal(embedded_stage, tmp_path, "max_samples: 5")
    said = b"".join(iter(lambda: _heard(terminal), b"")).decode()
    os.close(terminal)
    assert run.wait(30) == 5  # stopped by a limit
    assert "exposure 1: 100 ms, " in said
    assert "Raise search.max_samples" in said
    styles = set(";".join(re.findall(r"\x1b\[([0-9;]*)m", said)).split(";"))
    assert styles <= {"", "0", "1", "2"}  # bold and faint are no colours
    assert "Traceback" not in said


def test_a_terminal_that_is_closed(embedded_stage: Stage, tmp_path: Path) -> None:
    before = proxies(embedded_stage.server)
    run, terminal = _on_a_terminal(embedded_stage, tmp_path, "confidence: 90%")
    said = b""
    while b"exposure 1" not in said:
        said += _heard(terminal)
    os.close(terminal)  # and the kernel sends SIGHUP
    assert run.wait(30) == 143
    assert before == proxies(embedded_stage.server)
    assert ledger_files(tmp_path) == []
    assert soon(lambda: processes_with(str(tmp_path)) == [])


def _on_a_terminal(stage: Stage, folder: Path, search: str) -> tuple[subprocess.Popen[bytes], int]:
    scenario = scenario_with(folder, QUICK.replace("confidence: 90%", search))
    master, slave = pty.openpty()
    environment = {**os.environ, **stage.environment, "XDG_STATE_HOME": str(folder)}
    run = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "chaosbandit", "run", str(scenario)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(slave)
    return run, master


def _heard(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that nobody writes there any more
        return b""
