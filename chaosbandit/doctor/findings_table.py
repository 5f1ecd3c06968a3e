"""Findings as a table for people and as JSON for programs. Knows nothing of how they were found."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from chaosbandit.doctor.findings import Finding, Level, exit_code
from chaosbandit.report.numbers_in_words import plural

WIDTH = 100
NARROWEST = 60
WIDEST = 120
_MARKS = {Level.OK: "ok", Level.NOTE: "note", Level.WARN: "warn", Level.FAIL: "FAIL"}
_COLOURS = {Level.OK: "32", Level.NOTE: "36", Level.WARN: "33", Level.FAIL: "1;31"}
_LONGEST_CHECK = 18
_LONGEST = 2000  # characters of a part: names at a server may have any length
_QUOTED = re.compile(r"`([^`]*)`")
_COMMAND = re.compile(r"[a-z/][^ ]* .*")  # a keyword or `GET /version` is not for a shell
_FURTHER = " " * 4


def to_text(findings: Sequence[Finding], width: int = WIDTH, *, coloured: bool = False) -> str:
    """A line a finding, what to do below it, and a sentence on all of them at the end."""
    width = max(NARROWEST, min(width, WIDEST))
    checks = max((len(finding.check) for finding in findings), default=0)
    column = min(checks, _LONGEST_CHECK)
    printable = map(_printable, findings)
    lines = [line for each in printable for line in _lines(each, column, width, coloured)]
    return "\n".join([*lines, "", *textwrap.wrap(summary(findings), width)]) + "\n"


def to_json(findings: Sequence[Finding]) -> str:
    """One JSON object."""
    content = {
        "schema": 1,
        "findings": [asdict(_printable(finding)) for finding in findings],
        "exit_code": int(exit_code(findings)),
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """What all of it comes to, in a sentence."""
    numbers = Counter(finding.level for finding in findings)
    fails, warnings = numbers[Level.FAIL], numbers[Level.WARN]
    warned = f"{plural(warnings, 'warning')}" if warnings else "no warnings"
    if fails:
        verb = "check fails" if fails == 1 else "checks fail"
        return f"{fails} {verb}, {warned}: a run would not work, or not safely. Nothing was changed"
    if warnings:
        return f"Nothing fails, {warned}. Nothing was changed"
    return "All is well. Nothing was changed"


def is_coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream takes colours and nobody minds them."""
    dumb = environ.get("TERM", "") in ("", "dumb")
    return stream.isatty() and not dumb and not environ.get("NO_COLOR")


def _printable(finding: Finding) -> Finding:
    """Without what a server's or a proxy's words could do to a terminal."""
    check, found, wanted, do = (
        "".join(c if c.isprintable() else " " for c in text[:_LONGEST])
        for text in (finding.check, finding.found, finding.wanted, finding.do)
    )
    return Finding(check, finding.level, found, wanted, do)


def _lines(finding: Finding, column: int, width: int, coloured: bool) -> Iterator[str]:
    mark = f"{_MARKS[finding.level]:<4}"
    indent = " " * (len(mark) + column + 4)
    wanted = f", wanted {finding.wanted}" if finding.wanted else ""
    text = _wrapped(finding.found + wanted, width, indent)
    # A long name of a check moves the first line along, not the whole table.
    head = f"{finding.check:<{column}}  "
    if len(finding.check) > column:
        text = [indent + finding.check, *text]
        first = text.pop(0).strip()
    else:
        first = head + text.pop(0).strip()
    if coloured:
        mark = f"\x1b[{_COLOURS[finding.level]}m{mark}\x1b[0m"
    yield f"{mark}  {first}"
    yield from text
    if finding.do:
        yield from _advice(finding.do, width, indent)


def _advice(do: str, width: int, indent: str) -> Iterator[str]:
    """What to do; each command on a line of its own, whole and bare, so that it can be pasted."""
    first = "do: "
    for text, command in _parts(do):
        if text := text.strip(" ;,."):
            colon = ":" if command and not text.endswith(":") else ""
            yield from _wrapped(first + text + colon, width, indent)
            first = _FURTHER
        if command:
            fits = len(indent) + len(_FURTHER) + len(command) <= width
            yield (indent if fits else "") + _FURTHER + command


def _parts(do: str) -> Iterator[tuple[str, str]]:
    """Pieces of text, each with the command that follows it."""
    begun = 0
    for quoted in _QUOTED.finditer(do):
        if _COMMAND.fullmatch(quoted[1]):
            yield do[begun : quoted.start()], quoted[1]
            begun = quoted.end()
    yield do[begun:], ""


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    """Lines of text in which addresses and paths stay whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + (_FURTHER if text.startswith(("do: ", _FURTHER)) else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )
