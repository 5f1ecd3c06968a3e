"""The report of a clean-up: its lines, its JSON and the exit code that follows from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.cleaning.report import (
    CleanReport,
    Failed,
    Note,
    Planned,
    Skipped,
    Unreachable,
    described,
    merged,
)
from chaosbandit.errors import Exit
from chaosbandit.faults.fault import Fault, Toxic
from chaosbandit.safety.ledger import Damaged

FAULT = Fault(
    run="run001",
    server="http://127.0.0.1:8474",
    name="cb.run001.5.1",
    proxy="db",
    listen="127.0.0.1:9101",
    upstream="127.0.0.1:9001",
    expires_epoch_s=5,
    toxics=(Toxic("latency", {"latency": 1}, name="cb.run001.5.1"),),
    bypass="http://127.0.0.1/?token=secret",
)
PLAIN = {
    "name": "cb.run001.5.1",
    "run": "run001",
    "server": "http://127.0.0.1:8474",
    "proxy": "db",
    "listen": "127.0.0.1:9101",
    "upstream": "127.0.0.1:9001",
    "toxics": ["cb.run001.5.1"],
    "expires_epoch_s": 5,
}
PLACE = "cb.run001.5.1 at http://127.0.0.1:8474 (on db)"
DOWN = Note(FAULT, "down", Exit.HARNESS, ("curl c",))
LOUD = Note(FAULT, "run!", Exit.NOT_CLEAN)
FULL = CleanReport(
    undone=(FAULT,),
    skipped=(Skipped(FAULT, "it lives"),),
    failed=(Failed(FAULT, "it hangs", ("curl a", "curl b")),),
    notes=(Note(FAULT, "see"), LOUD, DOWN),
    damaged=(Damaged(Path("/l/cb.x.json"), "torn"),),
    unreachable=(Unreachable("http://h:1", "silent"),),
    looked_at=("http://h:1",),
)
PLANNED = Planned(FAULT, ("curl a", "curl b"), "go-around --now")


def test_one_line_a_fault_and_the_commands_indented() -> None:
    lines = FULL.text().splitlines()
    last_resort = lines.pop(9)
    assert "restart that Toxiproxy" in last_resort
    assert lines == [
        f"undone: {PLACE}",
        f"left alone: {PLACE}: it lives",
        f"note: {PLACE}: see",
        f"LOOK AT THIS: {PLACE}: run!",
        f"LOOK AT THIS: {PLACE}: down; by hand:",
        "  curl c",
        f"NOT UNDONE: {PLACE}: it hangs; by hand:",
        "  curl a",
        "  curl b",
        "NOT READABLE: /l/cb.x.json: torn",
        "NOT REACHED: http://h:1: silent",
    ]


def test_a_dry_run_shows_every_command() -> None:
    report = CleanReport(planned=(PLANNED, Planned(FAULT, ())), dry_run=True)
    assert report.text().splitlines() == [
        f"would be undone: {PLACE}; by:",
        "  curl a",
        "  curl b",
        "  if that does not succeed, the bypass: go-around --now",
        f"would be undone: {PLACE}",
    ]
    assert json.loads(report.to_json())["would_undo"] == [
        {**PLAIN, "commands": ["curl a", "curl b"], "last_resort": "go-around --now"},
        {**PLAIN, "commands": [], "last_resort": None},
    ]


def test_the_json_says_the_same_without_the_secrets_of_a_bypass() -> None:
    text = FULL.to_json()
    assert "secret" not in text
    assert json.loads(text) == {
        "schema": 1,
        "exit_code": 7,
        "confirmed": False,
        "dry_run": False,
        "looked_at": ["http://h:1"],
        "run": None,
        "other_runs": [],
        "found": [PLAIN, PLAIN, PLAIN],
        "undone": [PLAIN],
        "would_undo": [],
        "skipped": [{**PLAIN, "why": "it lives"}],
        "failed": [{**PLAIN, "why": "it hangs", "commands": ["curl a", "curl b"]}],
        "notes": [
            {**PLAIN, "what": "see", "alarming": False, "commands": []},
            {**PLAIN, "what": "run!", "alarming": True, "commands": []},
            {**PLAIN, "what": "down", "alarming": True, "commands": ["curl c"]},
        ],
        "damaged": [{"path": "/l/cb.x.json", "why": "torn"}],
        "unreachable": [{"server": "http://h:1", "why": "silent"}],
    }


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (CleanReport(), 0),
        (CleanReport(undone=(FAULT,)), 0),
        (CleanReport(skipped=FULL.skipped), 0),
        (CleanReport(notes=FULL.notes[:1]), 0),
        (CleanReport(notes=(DOWN, FULL.notes[0])), 6),
        (CleanReport(notes=(LOUD, DOWN)), 7),
        (CleanReport(failed=FULL.failed), 7),
        (CleanReport(failed=FULL.failed, notes=(DOWN,)), 7),
        (CleanReport(damaged=FULL.damaged), 7),
        (CleanReport(unreachable=FULL.unreachable), 7),
        (CleanReport(dry_run=True), 0),
        (CleanReport(planned=(PLANNED,), dry_run=True), 7),
        (CleanReport(skipped=FULL.skipped, dry_run=True), 0),
    ],
)
def test_the_exit_code_follows(report: CleanReport, code: int) -> None:
    assert (report.exit_code, report.confirmed) == (code, code != 7)


def test_nothing_found_says_where() -> None:
    assert CleanReport().text() == "nothing of ours was found in the ledger"
    looked_at = CleanReport(looked_at=("http://a:1", "http://b:2")).text()
    assert looked_at == "nothing of ours was found in the ledger or at http://a:1, http://b:2"


def test_nothing_found_of_a_run_names_the_others() -> None:
    nobody = CleanReport(run="run009", looked_at=("http://a:1",))
    found = "nothing of run run009 was found in the ledger or at http://a:1; other runs seen: "
    assert nobody.text() == f"{found}none"
    assert replace(nobody, other_runs=("run001", "run002")).text() == f"{found}run001, run002"


def test_what_a_fault_is_follows_from_its_proxy_and_toxics() -> None:
    two = replace(FAULT, toxics=FAULT.toxics * 2)
    stand_in = replace(FAULT, name="cb-standin.run001.5.db", toxics=())
    path = replace(FAULT, name="cb-path.run001.5.1", proxy="cb-path.run001.5.1", toxics=())
    at = "at http://127.0.0.1:8474"
    assert described(two) == f"cb.run001.5.1 and 1 more {at} (on db)"
    assert described(stand_in) == f"cb-standin.run001.5.db {at} (in place of db)"
    assert described(path) == f"cb-path.run001.5.1 {at}"


def test_reports_are_merged_in_their_order() -> None:
    other = replace(FAULT, name="cb.run001.5.2")
    one = replace(FULL, other_runs=("run003",))
    two = CleanReport((other,), (PLANNED,), looked_at=("http://h:1", "http://i:1"), dry_run=True)
    both = merged([one, two])
    assert both.undone == (FAULT, other)
    assert both.planned == (PLANNED,)
    assert (both.failed, both.skipped, both.notes) == (FULL.failed, FULL.skipped, FULL.notes)
    assert (both.damaged, both.unreachable) == (FULL.damaged, FULL.unreachable)
    assert both.other_runs == ("run003",)
    assert both.dry_run
    assert both.found == (FAULT, other, FAULT, FAULT, FAULT)
