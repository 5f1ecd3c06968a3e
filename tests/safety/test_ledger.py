"""The fault ledger: on disk before and until, whole or not at all, readable when damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.safety.durable_files import write_durably
from chaosbandit.safety.ledger import (
    Entry,
    FaultLedger,
    default_directory,
    fault_from_json,
    fault_to_json,
)


def a_fault(n: int = 1) -> Fault:
    name = f"cb.run001.1790000000.{n}"
    return Fault(
        run="run001",
        server="http://127.0.0.1:8474",
        name=name,
        proxy="inventory",
        listen="127.0.0.1:9101",
        upstream="127.0.0.1:9001",
        expires_epoch_s=1790000000,
        toxics=(Toxic("latency", {"latency": 5, "jitter": 0}, "upstream", 0.5, name),),
        check="http://127.0.0.1:9101/stock/1",
        bypass=("/usr/local/bin/around", "inventory") if n == 1 else "http://127.0.0.1:1/around",
    )


def a_path() -> Fault:
    """A proxy of our own, on a server of our own."""
    name = "cb-path.run001.1790000000.7"
    return replace(
        a_fault(2), name=name, proxy=name, toxics=(), owned=True, dies_with_run=True, bypass=None
    )


def test_fault_stays_until_struck(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path / "deep" / "faults")
    ledger.record(a_fault(1))
    ledger.record(a_path())
    assert FaultLedger(ledger.directory).entries().entries == (
        Entry(a_path()),
        Entry(a_fault(1)),
    )
    ledger.strike(a_fault(1).name)
    ledger.strike(a_fault(1).name)
    assert [entry.fault.name for entry in ledger.entries().entries] == [a_path().name]


def test_fault_whose_toxics_change_is_written_anew(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(a_fault())
    harsher = replace(a_fault(), toxics=(replace(a_fault().toxics[0], attributes={"latency": 9}),))
    ledger.record(harsher)
    assert ledger.entries().entries == (Entry(harsher),)


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
        ('{"version": 2, "fault"', "Expecting"),
        ("[]", "wanted an object"),
        ("\x00" * 50, "Expecting value"),
        ("[" * 100_000, "recursion"),
        ('{"version": 3}', "wanted 2"),
        ('{"version": 2, "fault": {"toxics": [], "run": 3}}', "wanted str"),
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


def test_file_of_the_first_version_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "cb.run001.1790000000.1.inventory.json"
    path.write_text('{"version": 1, "server_dies_with_run": false, "fault": {}}')
    (found,) = FaultLedger(tmp_path).entries().damaged
    assert found.path == path
    assert found.why.startswith("it is of chaosbandit 0.1.0: run `chaosbandit clean` of that ver")
    assert found.why.endswith("and delete the file")


@pytest.mark.parametrize(
    "change",
    [
        {"toxics": (Toxic("latency", {}, name="theirs"),)},
        {"toxics": (Toxic("latency", {}, name="cb.run002.1790000000.1"),)},
        {"owned": True},  # the proxy would be deleted, and is not ours by its name
        {"run": "run002"},
    ],
)
def test_file_that_would_have_us_delete_what_is_not_the_runs_is_damaged(
    tmp_path: Path, change: dict[str, object]
) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(replace(a_fault(), **change))  # type: ignore[arg-type]
    (found,) = ledger.entries().damaged
    assert "wanted only names of run" in found.why


def test_file_or_folder_that_others_could_write_is_listed_without_its_commands(
    tmp_path: Path,
) -> None:
    ledger = FaultLedger(tmp_path)
    ledger.record(a_fault(1))
    ledger.record(a_fault(2))
    ledger.path(a_fault(2).name).chmod(0o620)
    bare = replace(a_fault(2), bypass=None, check=None)
    assert ledger.entries().entries == (Entry(a_fault(1)), Entry(bare, trusted=False))
    ledger.path(a_fault(2).name).unlink()
    tmp_path.chmod(0o770)
    bare = replace(a_fault(1), bypass=None, check=None)
    assert ledger.entries().entries == (Entry(bare, trusted=False),)
    ledger.strike(bare.name)  # what was cleaned by its name is struck out all the same
    assert ledger.entries().entries == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_roots_look_at_another_users_ledger_trusts_nothing(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path / "theirs")
    os.chown(ledger.record(a_fault()), 12345, -1)
    os.chown(ledger.directory, 12345, -1)
    bare = replace(a_fault(), bypass=None, check=None)
    assert ledger.entries().entries == (Entry(bare, trusted=False),)
    with pytest.raises(PermissionError, match="belongs to user 12345"):
        ledger.record(a_fault(2))
    os.chown(ledger.directory, 0, -1)  # the folder is ours, the file is not
    assert ledger.entries().entries == (Entry(bare, trusted=False),)


def test_links_and_pipes_are_damaged_and_neither_read_nor_waited_for(tmp_path: Path) -> None:
    elsewhere = FaultLedger(tmp_path / "elsewhere")
    ledger = FaultLedger(tmp_path / "ledger")
    ledger.prepare()
    ledger.path(a_fault(1).name).symlink_to(elsewhere.record(a_fault(1)))
    os.mkfifo(ledger.path(a_fault(2).name))
    found = ledger.entries()
    assert found.entries == ()
    assert len(found.damaged) == 2
    assert "symbolic link" in found.damaged[0].why
    ledger.strike(a_fault(1).name)
    assert len(elsewhere.entries().entries) == 1


def test_draft_that_somebody_planted_is_not_written_through(tmp_path: Path) -> None:
    ledger = FaultLedger(tmp_path / "faults")
    ledger.prepare()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    draft = ledger.directory / f".{a_fault().name}.json.{os.getpid()}.draft"
    os.link(victim, draft)
    ledger.record(a_fault())
    assert victim.read_text() == "precious"
    assert ledger.entries().entries == (Entry(a_fault()),)


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


@pytest.mark.parametrize("name", ["inventory", "../cb.run001.1.1", "cb.run001.1.1/b"])
def test_names_that_are_not_ours_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="wanted cb"):
        FaultLedger(tmp_path).path(name)


def test_fault_reads_back_as_written() -> None:
    for fault in (a_fault(1), a_fault(2), a_path()):
        text = json.dumps(fault_to_json(fault))
        assert fault_from_json(json.loads(text)) == fault


@pytest.mark.parametrize("field", ["run", "server", "name", "proxy", "listen", "toxics"])
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
