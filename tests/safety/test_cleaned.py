"""The report of a clean-up: its lines, its JSON and the exit code that follows from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chaosbandit.core.model import Fault
from chaosbandit.safety.cleaned import CleanReport, Failed, Note, Skipped, Unreachable, merged
from chaosbandit.safety.ledger import Damaged

FAULT = Fault(
    run="run001",
    server="http://127.0.0.1:8474",
    name="cb.run001.5.1.db",
    listen="127.0.0.1:9101",
    upstream="127.0.0.1:9001",
    restores="db",
    expires_epoch_s=5,
    toxics=(),
    bypass="http://127.0.0.1/?token=secret",
)
PLAIN = {
    "name": "cb.run001.5.1.db",
    "run": "run001",
    "server": "http://127.0.0.1:8474",
    "listen": "127.0.0.1:9101",
    "upstream": "127.0.0.1:9001",
    "restores": "db",
    "expires_epoch_s": 5,
}
PLACE = "cb.run001.5.1.db at http://127.0.0.1:8474 (in place of db)"
FULL = CleanReport(
    found=(FAULT, FAULT, FAULT),
    undone=(FAULT,),
    skipped=(Skipped(FAULT, "it lives"),),
    failed=(Failed(FAULT, "it hangs", ("curl a", "curl b")),),
    notes=(Note(FAULT, "see"), Note(FAULT, "run!", alarming=True)),
    damaged=(Damaged(Path("/l/cb.x.json"), "torn"),),
    unreachable=(Unreachable("http://h:1", "silent"),),
    looked_at=("http://h:1",),
)


def test_one_line_a_fault_and_the_commands_indented() -> None:
    lines = FULL.text().splitlines()
    last_resort = lines.pop(7)
    assert "restart that Toxiproxy" in last_resort
    assert lines == [
        f"undone: {PLACE}",
        f"left alone: {PLACE}: it lives",
        f"note: {PLACE}: see",
        f"LOOK AT THIS: {PLACE}: run!",
        f"NOT UNDONE: {PLACE}: it hangs; by hand:",
        "  curl a",
        "  curl b",
        "NOT READABLE: /l/cb.x.json: torn",
        "NOT REACHED: http://h:1: silent",
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
            {**PLAIN, "what": "see", "alarming": False},
            {**PLAIN, "what": "run!", "alarming": True},
        ],
        "damaged": [{"path": "/l/cb.x.json", "why": "torn"}],
        "unreachable": [{"server": "http://h:1", "why": "silent"}],
    }


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (CleanReport(), 0),
        (CleanReport(found=(FAULT,), undone=(FAULT,)), 0),
        (CleanReport(skipped=FULL.skipped), 0),
        (CleanReport(notes=FULL.notes[:1]), 0),
        (CleanReport(notes=FULL.notes), 7),
        (CleanReport(failed=FULL.failed), 7),
        (CleanReport(damaged=FULL.damaged), 7),
        (CleanReport(unreachable=FULL.unreachable), 7),
        (CleanReport(dry_run=True), 0),
        (CleanReport(found=(FAULT,), dry_run=True), 7),
        (CleanReport(found=(FAULT,), skipped=FULL.skipped, dry_run=True), 0),
    ],
)
def test_the_exit_code_follows(report: CleanReport, code: int) -> None:
    assert (report.exit_code, report.confirmed) == (code, code == 0)


def test_nothing_found_says_where() -> None:
    assert CleanReport().text() == "nothing of ours was found in the ledger"
    looked_at = CleanReport(looked_at=("http://a:1", "http://b:2")).text()
    assert looked_at == "nothing of ours was found in the ledger or at http://a:1, http://b:2"


def test_nothing_found_of_a_run_names_the_others() -> None:
    nobody = CleanReport(run="run009", looked_at=("http://a:1",))
    found = "nothing of run run009 was found in the ledger or at http://a:1; other runs seen: "
    assert nobody.text() == f"{found}none"
    assert replace(nobody, other_runs=("run001", "run002")).text() == f"{found}run001, run002"


def test_what_is_due_stays_known_when_reports_are_merged() -> None:
    other = replace(FAULT, name="cb.run001.5.2.db")
    one = CleanReport((FAULT, other), skipped=(Skipped(other, "it lives"),), dry_run=True)
    both = merged([one, CleanReport((other,), dry_run=True)])
    assert both.due() == (FAULT, other)
    assert both.found == (FAULT, other, other)
    assert both.text().count("would be undone") == 2
    assert [one["name"] for one in json.loads(both.to_json())["would_undo"]] == [
        FAULT.name,
        other.name,
    ]
