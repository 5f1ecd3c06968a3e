"""YAML text -> plain data and the place of every key and value in the file.

Built from the parser's events, so nothing is ever expanded or recursed into: anchors, aliases, tags,
merge keys and duplicate keys are refused where they stand, and depth and size are bounded. It
knows nothing of what a scenario contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from chaosbandit.errors import Problem
from chaosbandit.scenario.scalars import expand, plain
from chaosbandit.scenario.spelling import WantedError

DEEPEST = 50
LARGEST = 256 * 1024  # bytes

Path = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is 15 times as fast
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CREDENTIALS = re.compile(r"//[^/\s]*@")
_SHOWN = 48  # characters of a value that a message repeats

_HINTS = {
    "\t": ("a tab", "spaces: YAML does not take tabs for indentation"),
    **{
        mark: (f"`{mark}` where a value starts", "quotes around a value that starts with it")
        for mark in "%@`>|"
    },
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, from 1, and how a message may show it (never expanded)."""

    line: int
    column: int
    shown: str


@dataclass(slots=True)
class Tree:
    """A file's data, the places of its values and keys, and all that is wrong with it as YAML."""

    file: str
    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    broken: set[Path] = field(default_factory=set)  # reported already; say nothing more of them
    problems: list[Problem] = field(default_factory=list)
    readable: bool = False  # False: not worth looking for more than `problems`

    def problem(self, path: Path, place: Place, wanted: str, found: str | None = None) -> None:
        """Record that something else was wanted at a place."""
        shown = place.shown if found is None else found
        self.problems.append(
            Problem(self.file, place.line, place.column, dotted(path), shown, wanted)
        )

    def nearest(self, path: Path) -> Place:
        """The place of the value, or of the section where it is missing."""
        if path in self.values:
            return self.values[path]
        while path and path not in self.keys and path not in self.values:
            path = path[:-1]
        place = self.keys.get(path) or self.values.get(path)
        return Place(place.line if place else 1, place.column if place else 1, "nothing")

    def is_broken(self, path: Path) -> bool:
        """Whether this or what it stands in was reported already."""
        return any(path[:n] in self.broken for n in range(1, len(path) + 1))


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    path: Path
    data: Any
    key: str | None = None  # of the value that comes next
    duplicate: bool = False


class _UnreadableError(Exception):
    """The rest of the file cannot be read."""


def compose(text: str, file: str, environment: Mapping[str, str]) -> Tree:
    """Read YAML; whatever the text is, the answer is a tree with or without problems."""
    tree = Tree(file)
    try:
        _check_characters(tree, text)
        _Composer(tree, environment).read(_events(tree, text))
        tree.readable = True
    except _UnreadableError:
        pass
    return tree


def dotted(path: Path) -> str:
    """A path as people say it: `slos[0].objective`."""
    if not path:
        return "scenario"
    parts = (f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def printable(text: str) -> str:
    """Text that is safe and short enough for one line of a terminal."""
    text = _CREDENTIALS.sub("//***@", text)
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _check_characters(tree: Tree, text: str) -> None:
    for match in _UNPRINTABLE.finditer(text):
        line_start = text.rfind("\n", 0, match.start()) + 1
        place = Place(text.count("\n", 0, match.start()) + 1, match.start() - line_start + 1, "")
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
        place = _place(mark, "a syntax error") if mark else Place(1, 1, "a syntax error")
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
    return "YAML; look at indentation, brackets, quotes and the space after `:`", said


def _place(mark: Any, shown: str) -> Place:
    return Place(mark.line + 1, mark.column + 1, shown)


class _Composer:
    def __init__(self, tree: Tree, environment: Mapping[str, str]) -> None:
        self._tree = tree
        self._environment = environment
        self._open: list[_Open] = []
        self._documents = 0

    def read(self, events: Iterator[Any]) -> None:
        """Fold the events into the tree."""
        for event in events:
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
        path, is_plain = self._next_path(), event.implicit[0]
        value: Any = event.value
        shown = f"`{printable(value)}`" if value or not is_plain else "nothing"
        self._put(path, _place(event.start_mark, shown))
        if "$" in value:  # always text: what a variable holds must not decide the type
            try:
                value = expand(value, self._environment)
            except WantedError as error:
                self._tree.problem(path, self._tree.values[path], str(error))
                self._tree.broken.add(path)
        elif is_plain:
            value = plain(value)
        self._decoration(event, path)
        self._attach(value)

    def _alias(self, event: Any) -> None:
        if self._expects_key():
            self._refuse(event, "an alias", "a key of letters")
        path = self._next_path()
        self._put(path, _place(event.start_mark, "an alias"))
        self._tree.problem(path, self._tree.values[path], "the value itself")
        self._tree.broken.add(path)
        self._attach(None)

    def _start(self, event: Any, data: Any, shown: str) -> None:
        if self._expects_key():
            self._refuse(event, f"{shown} as a key", "a key of letters")
        if len(self._open) >= DEEPEST:
            self._refuse(event, "one more level", f"at most {DEEPEST} levels of nesting")
        path = self._next_path()
        self._put(path, _place(event.start_mark, shown))
        self._decoration(event, path)
        self._attach(data)
        self._open.append(_Open(path, data))

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
