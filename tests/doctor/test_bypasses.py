"""Bypass commands: there, executable, and never tried."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.doctor.bypasses import findings
from chaosbandit.doctor.findings import Finding
from chaosbandit.faults.fault import Bypass
from tests.doctor.looking import levels
from tests.simulated import scenario


def looked(bypass: Bypass | None) -> list[Finding]:
    base = scenario()
    return asyncio.run(findings(replace(base, proxies=(replace(base.proxies[0], bypass=bypass),))))


def test_none() -> None:
    assert looked(None) == []
    assert asyncio.run(findings(None)) == []


def test_a_command_is_looked_at_and_not_executed(tmp_path: Path) -> None:
    command = tmp_path / "around"
    command.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    command.chmod(0o755)
    (found,) = looked((str(command), "inventory"))
    assert (found.check, levels([found])) == ("bypass inventory", ["ok"])
    assert "not tried" in found.found
    assert [path.name for path in tmp_path.iterdir()] == ["around"]


@pytest.mark.parametrize(
    ("name", "said", "do"),
    [
        ("missing", "does not exist", "put it there"),
        ("plain", "is not executable", "`chmod +x "),
        ("folder", "is not a file", "name the command itself"),
        ("plain/below", "does not exist", "put it there"),
    ],
)
def test_one_that_cannot_work_fails(tmp_path: Path, name: str, said: str, do: str) -> None:
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    (found,) = looked((str(tmp_path / name),))
    assert (levels([found]), said in found.found, do in found.do) == (["fail"], True, True), found


def test_a_url_is_named_as_not_tried() -> None:
    (found,) = looked("http://127.0.0.1:9/around")
    assert levels([found]) == ["note"]
    assert "POST http://127.0.0.1:9/around was not tried" in found.found
