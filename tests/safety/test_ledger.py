"""The fault ledger: on disk before and until, whole or not at all, readable when damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaosbandit.core.model import Fault, Toxic
from chaosbandit.safety.durable import write_durably
from chaosbandit.safety.ledger import (
    Entry,
    FaultLedger,
    default_directory,
    fault_from_json,
    fault_to_json,
)


def a_fault(n: int = 1, restores: str | None = "inventory") -> Fault:
    return Fault(
        run="run001",
        server="http://127.0.0.1:8474",
        name=f"cb.run001.1790000000.{n}.inventory",
        listen="127.0.0.1:9101",
        upstream="127.0.0.1:9001",
        restores=restores,
        expires_epoch_s=1790000000,
        toxics=(Toxic("latency", {"latency": 5, "jitter": 0}, "upstream", 0.5),),
        check="http://127.0.0.1:9101/stock/1",
        bypass=("/usr/local/bin/around", "inventory") if n == 1 else "http://127.0.0.1:1/around",
    )


def test_fault_stays_until_struck(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path / "deep" / "faults")
    ledger.record(a_fault(1))
    ledger.record(a_fault(2, restores=None), server_dies_with_run=True)
    assert FaultLedger(ledger.directory).entries().entries == (
        Entry(a_fault(1)),
        Entry(a_fault(2, restores=None), server_dies_with_run=True),
    )
    ledger.strike(a_fault(1).name)
    ledger.strike(a_fault(1).name)
    assert [entry.fault.name for entry in ledger.entries().entries] == [a_fault(2).name]


def test_no_directory_is_an_empty_ledger(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path / "never")
    assert ledger.entries().entries == ()
    assert not ledger.is_alive("run001")
    ledger.strike(a_fault().name)
    assert not ledger.directory.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ('{"version": 1, "fault"', "Expecting"),
        ("[]", "wanted an object"),
        ("\x00" * 50, "Expecting value"),
        ('{"version": 2}', "wanted 1"),
        ('{"version": 1, "fault": {"toxics": [], "run": 3}}', "wanted str"),
    ],
)
def test_damaged_file_is_reported_and_hides_nothing(tmp_path: Path, text: str, why: str) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(a_fault(1))
    ledger.path(a_fault(2).name).write_text(text)
    found = ledger.entries()
    assert [entry.fault for entry in found.entries] == [a_fault(1)]
    assert [item.path for item in found.damaged] == [ledger.path(a_fault(2).name)]
    assert why in found.damaged[0].why


def test_file_that_is_not_text_or_named_wrongly_is_damaged(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.path(a_fault(2).name).write_bytes(b"\xff\xfe\x00")
    ledger.record(a_fault(1)).rename(ledger.path(a_fault(3).name))
    ledger.path(a_fault(4).name).mkdir()
    assert len(ledger.entries().damaged) == 3
    assert ledger.entries().entries == ()


def test_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_durably(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_durably(path, "new \ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


def test_draft_of_a_killed_writer_is_no_fault(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(a_fault()).rename(tmp_path / f".{a_fault().name}.json.77.draft")
    assert ledger.entries().entries == ()
    assert ledger.entries().damaged == ()


@pytest.mark.parametrize("name", ["inventory", "../cb.run001.1.1.x", "cb.run001.1.1.a/b"])
def test_names_that_are_not_ours_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="wanted cb"):
        FaultLedger(tmp_path).path(name)


def test_fault_reads_back_as_written() -> None:
    for fault in (a_fault(), a_fault(restores=None)):
        assert fault_from_json(fault_to_json(fault)) == fault


@pytest.mark.parametrize("field", ["run", "server", "name", "listen", "upstream", "toxics"])
def test_missing_field_is_named(field: str) -> None:
    content = fault_to_json(a_fault())
    del content[field]
    with pytest.raises(ValueError, match=f"{field}: found nothing"):
        fault_from_json(content)


def test_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "chaosbandit" / "faults"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_directory() == tmp_path / ".local" / "state" / "chaosbandit" / "faults"
    assert FaultLedger().directory == default_directory()


def test_liveness_of_a_run_ends_with_its_process(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('locked', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(ledger.lock_path("run001"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        assert ledger.is_alive("run001")
        assert not ledger.is_alive("run002")
        process.kill()
        process.wait()
    assert not ledger.is_alive("run001")
