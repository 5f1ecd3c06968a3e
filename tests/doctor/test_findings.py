"""Findings, and that what they advise exists."""

from __future__ import annotations

from pathlib import Path

import pytest

import chaosbandit.doctor
from chaosbandit.doctor.findings import Finding, exit_code, fail, note, ok, told_by, warn
from chaosbandit.errors import Exit, Trouble
from tests.doctor.looking import check_commands

SOURCES = sorted(Path(chaosbandit.doctor.__file__).parent.glob("*.py"))


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], Exit.ANSWERED),
        ([ok("a", "b"), note("a", "b"), warn("a", "b", do="c")], Exit.ANSWERED),
        ([ok("a", "b"), fail("a", "b", do="c"), ok("a", "b")], Exit.HARNESS),
    ],
)
def test_only_what_fails_counts(findings: list[Finding], code: Exit) -> None:
    assert exit_code(findings) is code


@pytest.mark.parametrize(
    ("trouble", "finding"),
    [
        (Trouble("x", "y", "do z"), fail("c", "x", "y", "do z")),
        (Trouble("x", "y", "do z", where="http://h"), fail("c", "http://h: x", "y", "do z")),
        (Trouble("it is broken"), fail("c", "it is broken", "", "mend it")),
    ],
)
def test_what_a_run_would_be_refused_for_is_a_finding(trouble: Trouble, finding: Finding) -> None:
    assert told_by("c", trouble, do="mend it") == finding


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_advice_names_commands_that_exist(path: Path) -> None:
    check_commands(path.read_text())


def test_advice_that_names_none_is_noticed() -> None:
    for text in ("run `chaosbandit mend`", "run `chaosbandit clean --everything`"):
        with pytest.raises(AssertionError):
            check_commands(text)
