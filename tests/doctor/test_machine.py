"""This machine: packages, folders, open files and the watchdog."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections import namedtuple
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest

from chaosbandit.doctor import machine
from chaosbandit.doctor.findings import ok
from chaosbandit.doctor.machine import (
    findings,
    folder,
    private_folder,
    versions,
    watchdog,
)
from tests.doctor.looking import levels, one, subject
from tests.simulated import scenario

Usage = namedtuple("Usage", "total used free")


def test_all_of_it(tmp_path: Path) -> None:
    found = asyncio.run(findings(subject(tmp_path, scenario())))
    checks = ["versions", "ledger", "journals", "open files", "watchdog"]
    assert [finding.check for finding in found] == checks
    assert "fail" not in levels(found)
    assert list(tmp_path.iterdir()) == []  # nothing was made, nothing was left


def test_a_missing_package_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels([versions()]) == ["ok"]

    def version(name: str) -> str:
        if name == "h11":
            raise metadata.PackageNotFoundError
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    assert levels([versions()]) == ["fail"]
    assert versions().found == "not installed: h11"


def test_folders_there_and_not_yet_there(tmp_path: Path) -> None:
    assert levels([folder("ledger", tmp_path)]) == ["ok"]
    assert "(will be made)" in folder("ledger", tmp_path / "a" / "b").found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    found = folder("journals", blocked / "runs")
    assert levels([found]) == ["fail"]
    assert f"{blocked / 'runs'} cannot be written" in found.found


def test_a_folder_behind_a_link_is_as_good(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert levels([folder("journals", tmp_path / "link" / "runs")]) == ["ok"]


def test_where_others_write_nothing_is_obeyed(tmp_path: Path) -> None:
    assert levels([private_folder("ledger", tmp_path / "faults")]) == ["ok"]
    assert list(tmp_path.iterdir()) == []
    place = tmp_path / "faults"
    place.mkdir(0o700)
    assert levels([private_folder("ledger", place)]) == ["ok"]
    place.chmod(0o777)
    found = private_folder("ledger", place)
    assert levels([found]) == ["fail"]
    assert found.found == f"{place} can be written to by others"
    assert found.do == f"run `chmod go-w {place}`, or name another folder"


def test_a_full_disk_and_a_slow_one_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(path: Path, text: str) -> None:
        path.write_text(text)
        time.sleep(0.06)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 10**12, 50_000_000))
        assert levels([folder("ledger", tmp_path)]) == ["warn"]
        assert "50 MB free" in folder("ledger", tmp_path).found
    monkeypatch.setattr(machine, "write_durably", slowly)
    found = folder("ledger", tmp_path)
    assert levels([found]) == ["warn"]
    assert "safely on disk after 6" in found.found


def test_a_disk_that_hangs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs_s = 0.5
    monkeypatch.setattr(machine, "DISK_S", 0.2)
    monkeypatch.setattr(machine, "folder", lambda check, directory: time.sleep(hangs_s))
    monkeypatch.setattr(machine, "versions", lambda: ok("versions", "not looked at"))
    for busy, level in ((False, "fail"), (True, "warn")):
        monkeypatch.setattr(machine, "is_busy", partial(bool, busy))
        found = asyncio.run(findings(subject(tmp_path)))
        assert one(found, "ledger").level == level
        assert "gave no answer within 0.2 s" in one(found, "journals").found


def test_the_watchdog_comes_answers_and_leaves() -> None:
    found = watchdog()
    assert levels([found]) == ["ok"]
    assert "acknowledges in" in found.found


def test_no_watchdog_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_busy", lambda: True)  # which does not excuse it
    for program in (shutil.which("false"), "/nonexistent/python"):
        monkeypatch.setattr(sys, "executable", program)
        found = watchdog(2.0)
        assert levels([found]) == ["fail"]
        assert "watchdog" in found.found


def test_a_late_watchdog_on_a_busy_machine_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    for busy, level in ((False, "fail"), (True, "warn")):
        monkeypatch.setattr(machine, "is_busy", partial(bool, busy))
        found = watchdog(0.001)
        assert levels([found]) == [level]
        assert ("while this machine is busy" in found.found) == busy


def test_a_watchdog_that_stays_is_worth_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    found = watchdog()
    assert levels([found]) == ["note"]
    assert "does not leave" in found.found
