"""Findings, and that what they advise exists."""

from __future__ import annotations

from pathlib import Path

import pytest

import chaosbandit.doctor
from chaosbandit.doctor.findings import Finding, Level, exit_code, fail, note, ok, told_by, warn
from chaosbandit.errors import Exit
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
    ("sentence", "found", "wanted", "do"),
    [
        ("found x, wanted y; do z; or w", "x", "y", "do z; or w"),
        ("http://h: found x, wanted y; do z", "http://h: x", "y", "do z"),
        ("it is broken", "it is broken", "", "mend it"),
    ],
)
def test_sentences_are_taken_apart(sentence: str, found: str, wanted: str, do: str) -> None:
    assert told_by("c", sentence, do="mend it") == Finding("c", Level.FAIL, found, wanted, do)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_advice_names_commands_that_exist(path: Path) -> None:
    check_commands(path.read_text())


def test_advice_that_names_none_is_noticed() -> None:
    for text in ("run `chaosbandit mend`", "run `chaosbandit clean --everything`"):
        with pytest.raises(AssertionError):
            check_commands(text)
