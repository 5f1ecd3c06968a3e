"""Whether the machine is busy."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from chaosbandit.doctor import machine_load
from chaosbandit.doctor.findings import fail
from chaosbandit.doctor.machine_load import eased, is_busy
from tests.doctor.looking import levels


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the file in which Linux counts what processors do."""
    path = tmp_path / "stat"
    path.write_text("cpu  100 0 0 1000 0 0 0 0 0 0\ncpu0 1 1\n")
    monkeypatch.setattr(machine_load, "_STAT", path)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    return path


@pytest.mark.parametrize(
    ("passed", "busy"),
    [
        ("110 0 0 1030 0 0 0 0", False),
        ("120 0 0 1020 0 0 0 0", True),  # half of it computing
        ("100 0 0 1020 20 0 0 0", True),  # half of it waiting for a disk
        ("100 0 0 1020 0 0 0 20", True),  # half of it given to other machines
        ("100 0 0 1000 0 0 0 0", False),
    ],
)
def test_by_what_processors_do(
    stat: Path, monkeypatch: pytest.MonkeyPatch, passed: str, busy: bool
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: stat.write_text(f"cpu  {passed} 0 0\n"))
    assert is_busy() is busy


def test_by_the_last_minute(stat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat.unlink()
    assert not is_busy()
    monkeypatch.setattr(os, "getloadavg", lambda: (1e3, 0.0, 0.0))
    assert is_busy()


def test_eased() -> None:
    found = eased(fail("watchdog", "no answer", "one", "mend it"))
    assert (levels([found]), found.wanted) == (["warn"], "one")
    assert found.found == "no answer, while this machine is busy"
    assert found.do.startswith("repeat it")
