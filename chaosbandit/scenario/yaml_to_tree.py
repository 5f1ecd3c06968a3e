"""YAML text -> `Tree`: plain data and the place of every key and value in the file.

Built from the parser's events, so nothing is ever expanded or recursed into: anchors, aliases,
tags, merge keys and duplicate keys are refused where they stand, and depth and size are bounded.
It knows nothing of what a scenario contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from chaosbandit.hidden_values import Hide
from chaosbandit.scenario.file_text import LARGEST, line_and_column
from chaosbandit.scenario.quantities import WantedError
from chaosbandit.scenario.tree import Path, Place, Tree, printable
from chaosbandit.scenario.yaml_scalars import MOST_FILLED_IN, expand, plain

DEEPEST = 50
MOST_VALUES = 5_000  # pydantic takes a second for what is wrong with 30 000
ENOUGH_PROBLEMS = 1000  # to stop looking: such a file is no scenario

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is 15 times as fast
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_INDENTED_KEY = re.compile(r"( *)([\w-]{1,64}):((?: |$).*)")

_HINTS = {
    "\t": ("a tab", "spaces: YAML does not take tabs for indentation"),
    **{
        mark: (f"`{mark}` where a value starts", "quotes around a value that starts with it")
        for mark in "%@`>|"
    },
}


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    path: Path
    data: Any
    key: str | None = None  # of the value that comes next
    duplicate: bool = False


class _UnreadableError(Exception):
    """The rest of the file cannot be read."""


def compose(text: str, file: str, environment: Mapping[str, str], hide: Hide | None = None) -> Tree:
    """Read YAML; whatever the text is, the answer is a tree with or without problems.

    `hide` is told of every value that variables were filled into, before anybody else.
    """
    tree = Tree(file)
    try:
        _check_characters(tree, text)
        _Composer(tree, environment, hide).read(_events(tree, text))
        tree.readable = True
    except _UnreadableError:
        pass
    return tree


def _check_characters(tree: Tree, text: str) -> None:
    for match in _UNPRINTABLE.finditer(text):
        place = Place(*line_and_column(text[: match.start()]), "")
        tree.problem((), place, "readable text", f"the character U+{ord(match[0]):04X}")
        raise _UnreadableError
    if len(text.encode()) > LARGEST:
        tree.problem((), Place(1, 1, "more"), f"at most {LARGEST // 1024} kB")
        raise _UnreadableError


def _events(tree: Tree, text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        found = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        line, column = min(found, line_and_column(text))  # libyaml may point past the last line
        place = Place(line, column, "a syntax error")
        tree.problem((), place, *_explain(error, text, place))
        raise _UnreadableError from None


def _explain(error: yaml.YAMLError, text: str, place: Place) -> tuple[str, str]:
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    at = line[place.column - 1 : place.column]
    said = printable(str(getattr(error, "problem", None) or "unreadable"))
    found, wanted = _HINTS.get(at, ("", ""))
    if found:
        return wanted, f"{found} ({said})"
    said = f"a syntax error ({said})"
    if "${" in line[: place.column]:
        return 'quotes around "${NAME}" between { } or [ ]', said
    if "{n}" in line and re.search(r"[{\[,] *\w+: *[^\"' ]*$", line[: line.index("{n}")]):
        return 'quotes around a URL with {n} between { } or [ ]: {url: "http://.../{n}"}', said
    if neighbour := _other_indentation(lines, place.line):
        return f"YAML; {neighbour}", said
    return "YAML; look at indentation, brackets, quotes and the space after `:`", said


def _other_indentation(lines: list[str], at: int) -> str | None:
    """Where the line of a mistake, or the one before, is indented unlike its neighbour."""
    for number in (at, at - 1):
        if not 2 <= number <= len(lines):
            continue
        above, here = (_INDENTED_KEY.match(line) for line in lines[number - 2 : number])
        if above is None or here is None:
            continue
        by, before = len(here[1]), len(above[1])
        deeper = by > before and above[3].strip()
        between = by < before and by not in _indents(lines[: number - 1])
        if deeper or between:
            return f"`{here[2]}` is indented by {by}, the line above by {before}"
    return None


def _indents(lines: list[str]) -> set[int]:
    return {len(line) - len(line.lstrip()) for line in lines if line.strip()}


def _place(mark: Any, shown: str) -> Place:
    return Place(mark.line + 1, mark.column + 1, shown)


class _Composer:
    def __init__(self, tree: Tree, environment: Mapping[str, str], hide: Hide | None) -> None:
        self._tree = tree
        self._hide = hide
        self._environment = environment
        self._open: list[_Open] = []
        self._documents = 0
        self._values = 0
        self._room = MOST_FILLED_IN

    def read(self, events: Iterator[Any]) -> None:
        """Fold the events into the tree."""
        for event in events:
            if len(self._tree.problems) >= ENOUGH_PROBLEMS:
                raise _UnreadableError
            match event:
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        self._refuse(event, "a second document", "one scenario a file")
                case yaml.ScalarEvent() if self._expects_key():
                    self._key(event)
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.MappingStartEvent():
                    self._start(event, {}, "a mapping")
                case yaml.SequenceStartEvent():
                    self._start(event, [], "a list")
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._open.pop()

    def _expects_key(self) -> bool:
        top = self._open[-1] if self._open else None
        return top is not None and isinstance(top.data, dict) and top.key is None

    def _key(self, event: Any) -> None:
        top = self._open[-1]
        path, place = (*top.path, event.value), _place(event.start_mark, printable(event.value))
        top.key, top.duplicate = event.value, event.value in top.data
        self._decoration(event, path)
        if event.value == "<<" and event.implicit[0]:
            self._tree.problem(path, place, "the keys themselves", "a merge key")
            self._tree.broken.add(path)
        elif top.duplicate:
            first = self._tree.keys[path].line
            self._tree.problem(
                path, place, f"each key once (the first is in line {first})", "the key again"
            )
        self._tree.keys.setdefault(path, place)

    def _scalar(self, event: Any) -> None:
        self._count(event)
        path, is_plain = self._next_path(), event.implicit[0]
        value: Any = event.value
        shown = f"`{printable(value)}`" if value or not is_plain else "nothing"
        self._put(path, _place(event.start_mark, shown))
        if "$" in value:  # always text: what a variable holds must not decide the type
            value = self._expanded(value, path)
        elif is_plain:
            value = plain(value)
        if isinstance(value, str) and _UNPRINTABLE.search(value):  # from an escape or a variable
            self._wrong(path, "text without control characters")
        self._decoration(event, path)
        self._attach(value)

    def _expanded(self, written: str, path: Path) -> str:
        filled_in: dict[str, str] = {}
        try:
            value = expand(written, self._environment, self._room, filled_in)
        except WantedError as error:
            self._wrong(path, str(error))
            return written
        self._room -= len(value)
        if self._hide is not None:
            self._hide(written, value, filled_in)
        return value

    def _wrong(self, path: Path, wanted: str) -> None:
        self._tree.problem(path, self._tree.values[path], wanted)
        self._tree.broken.add(path)

    def _alias(self, event: Any) -> None:
        if self._expects_key():
            self._refuse(event, "an alias", "a key of letters")
        path = self._next_path()
        self._put(path, _place(event.start_mark, "an alias"))
        self._wrong(path, "the value itself")
        self._attach(None)

    def _start(self, event: Any, data: Any, shown: str) -> None:
        if self._expects_key():
            self._refuse(event, f"{shown} as a key", "a key of letters")
        if len(self._open) >= DEEPEST:
            self._refuse(event, "one more level", f"at most {DEEPEST} levels of nesting")
        self._count(event)
        path = self._next_path()
        self._put(path, _place(event.start_mark, shown))
        self._decoration(event, path)
        self._attach(data)
        self._open.append(_Open(path, data))

    def _count(self, event: Any) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            self._refuse(event, "one more value", f"at most {MOST_VALUES:,} values")

    def _decoration(self, event: Any, path: Path) -> None:
        place = _place(event.start_mark, "")
        if event.anchor is not None:
            self._tree.problem(path, place, "the value alone", "an anchor")
        if getattr(event, "tag", None) is not None:
            self._tree.problem(path, place, "the value alone", "a tag")
            self._tree.broken.add(path)

    def _next_path(self) -> Path:
        if not self._open:
            return ()
        top = self._open[-1]
        return (*top.path, len(top.data) if isinstance(top.data, list) else str(top.key))

    def _put(self, path: Path, place: Place) -> None:
        self._tree.values.setdefault(path, place)

    def _attach(self, value: Any) -> None:
        if not self._open:
            self._tree.data = value
            return
        top = self._open[-1]
        if isinstance(top.data, list):
            top.data.append(value)
            return
        if not top.duplicate:
            top.data[top.key] = value
        top.key = None

    def _refuse(self, event: Any, found: str, wanted: str) -> None:
        path = self._open[-1].path if self._open else ()
        self._tree.problem(path, _place(event.start_mark, found), wanted)
        raise _UnreadableError
