"""A file's data and the place of every key and value in it, with all that is wrong with them.

Made by `yaml_to_tree`; it knows nothing of YAML nor of what a scenario contains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from chaosbandit.errors import Problem

Path = tuple[str | int, ...]

_CREDENTIALS = re.compile(r"//[^/\s]*@")
_CUT_CREDENTIALS = re.compile(r"//[^/\s]*\Z")  # where the text was cut, an @ may have followed
_LOOKED_AT = 1000  # characters of a value; a message may need a thousand of them
_SHOWN = 48  # characters of a value that a message repeats
_KEY_SHOWN = 120


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


def dotted(path: Path) -> str:
    """A path as people say it: `slos[0].objective`."""
    if not path:
        return "scenario"
    whole = ""
    for part in path:
        whole += f"[{part}]" if isinstance(part, int) else f".{printable(part)}"
        if len(whole) > _KEY_SHOWN + 1:  # one is the dot before the first key
            break
    whole = whole.removeprefix(".") or "''"
    return whole if len(whole) <= _KEY_SHOWN else whole[: _KEY_SHOWN - 1] + "…"


def printable(text: str) -> str:
    """Text that is safe and short enough for one line of a terminal."""
    if len(text) > _LOOKED_AT:
        text = _CUT_CREDENTIALS.sub("//***", text[:_LOOKED_AT])
    text = _CREDENTIALS.sub("//***@", text)
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
        )
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
