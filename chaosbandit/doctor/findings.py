"""What an examination says: findings, each with what was found, what was wanted and what to do.

Nothing is measured here; the checks make findings, `findings_table` shows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chaosbandit.errors import Exit


class Level(StrEnum):
    """How much a finding matters: only FAIL says that a run would not work, or not safely."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `wanted` and `do` are empty where all is well."""

    check: str
    level: Level
    found: str
    wanted: str = ""
    do: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, found)


def note(check: str, found: str, wanted: str = "", do: str = "") -> Finding:
    """Worth knowing, in nobody's way."""
    return Finding(check, Level.NOTE, found, wanted, do)


def warn(check: str, found: str, wanted: str = "", do: str = "") -> Finding:
    """May spoil a run, or part of the safety around it."""
    return Finding(check, Level.WARN, found, wanted, do)


def fail(check: str, found: str, wanted: str = "", do: str = "") -> Finding:
    """A run would not work, or not safely."""
    return Finding(check, Level.FAIL, found, wanted, do)


def told_by(
    check: str, sentence: str, level: Level = Level.FAIL, do: str = "", about: str = ""
) -> Finding:
    """A sentence of ours, `found <this>, wanted <that>; <what to do>`, taken apart.

    `do` stands in where the sentence advises nothing; `about` is put in front of what was found.
    """
    head, _, advice = sentence.partition("; ")
    found, _, wanted = head.partition(", wanted ")
    found = found.replace(": found ", ": ", 1).removeprefix("found ")
    return Finding(check, level, about + found, wanted, advice or do)


def exit_code(findings: Iterable[Finding]) -> Exit:
    """6 when something fails; warnings and notes leave it 0."""
    failing = any(finding.level is Level.FAIL for finding in findings)
    return Exit.HARNESS if failing else Exit.ANSWERED
