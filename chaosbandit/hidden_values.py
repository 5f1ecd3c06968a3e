"""What `${VARIABLES}` of the scenario held in this process, kept out of all text that leaves it.

Whoever loads a scenario says here what its variables meant; whoever prints or writes passes text
through `masked`, which puts `${NAME}` in its place. One list for the process, since a value must
not slip out where somebody forgot to hand a list on. Standard library only: the watchdog uses it.

A value of fewer than four characters, a plain word (`staging`), a loopback address or a small
number with or without a unit (`50/s`, `9001`) is hidden only where the whole text of its key is
shown, as `http://shop/?key=abc`: replaced everywhere it would garble every sentence.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast
from urllib.parse import quote

T = TypeVar("T")
Hide = Callable[[str, str, Mapping[str, str]], None]  # as `hide`

SHORTEST = 4
_SHORTEST_PART = 6  # of a value, worth hiding by itself
_PLAIN = re.compile(
    r"[A-Za-z]{1,12}"
    r"|[<>= ]*[0-9][0-9._]{0,4} ?(%|/?[a-z]{1,3})?"
    r"|127\.0\.0\.1|0\.0\.0\.0|\[?::1\]?"
)
_PLAIN_PART = re.compile(r"[A-Za-z]{1,16}|[0-9.]{1,8}")
_FILLED = re.compile(
    r"\{(?:n(?::[0-9]{1,12}\.\.[0-9]{1,12})?|uuid)\}"
)  # as `core.url_template` has it
_URL = re.compile(r"\w+://(?:([^/?#@]*)@)?[^/?#]*(.*)", re.DOTALL)
_BETWEEN = re.compile(_FILLED.pattern + r"|[\s/?#&=:]+")
_NAME = re.compile(r"\$\{(\w+)\}")

_masks: dict[str, str] = {}  # what must not be seen, in lower case -> what is shown instead
_values: dict[str, str] = {}  # of variables by name: those that are hidden wherever they stand
_pattern: re.Pattern[str] | None = None


def hide(written: str, meant: str, variables: Mapping[str, str]) -> None:
    """From now on hide what these variables hold; `written` with them filled in is `meant`."""
    for name, value in variables.items():
        if _is_plain(value):
            _hide_whole(written, meant, value)
            continue
        _values[name] = value
        _put(value, f"${{{name}}}")
        for part in _parts(value):
            _put(part, f"${{{name}}}")
    _compile()


def masked(text: str) -> str:
    """The text with `${NAME}` wherever a hidden value stood."""
    return _pattern.sub(_mask, text) if _pattern else text


def masked_json(text: str) -> str:
    """The same of a JSON document: its strings and keys, never its numbers or its shape."""
    if not (_pattern and _pattern.search(text)):
        return text
    lines = text.count("\n") > 1
    content = masked_record(json.loads(text))
    compact = (",", ":") if not lines else None
    again = json.dumps(content, ensure_ascii=False, indent=2 if lines else None, separators=compact)
    return again + "\n" * text.endswith("\n")


def masked_record(record: T) -> T:
    """The same of every text in a record, before it is wrapped or cut to some width."""
    return cast(T, _masked_in(record)) if _pattern else record


def shell_word(word: str) -> str:
    """A word of a command to paste: hidden values as variables, which the shell must know."""
    if _pattern is None:
        return shlex.quote(word)
    quoted, at = "", 0
    for found in _pattern.finditer(word):
        literal = word[at : found.start()]
        quoted += shlex.quote(literal) if literal else ""
        quoted += '"' + _NAME.sub(r"${\1:?}", _mask(found)) + '"'
        at = found.end()
    rest = word[at:]
    return quoted + (shlex.quote(rest) if rest or not quoted else "")


def variables_in(text: str) -> dict[str, str]:
    """The variables whose value stands in a text, for another process that will show it."""
    return {name: value for name, value in _values.items() if value in text}


def forget() -> None:
    """Hide nothing any more."""
    _masks.clear()
    _values.clear()
    _compile()


def _is_plain(value: str) -> bool:
    return len(value) < SHORTEST or _PLAIN.fullmatch(value) is not None


def _hide_whole(written: str, meant: str, value: str) -> None:
    """Hide the text of a key, `{n}` in it being a number by the time it is shown."""
    shown, pieces = _FILLED.split(written), _FILLED.split(meant)
    if len(shown) != len(pieces):
        shown, pieces = [written], [meant]
    for mask, piece in zip(shown, pieces, strict=True):
        if value and value in piece and len(piece) > len(value) and not _is_plain(piece):
            _put(piece, mask)


def _parts(value: str) -> Iterator[str]:
    """Parts of a value that are told alone: what was before `{n}`, and credentials of a URL."""
    url = _URL.fullmatch(value)
    parts = _BETWEEN.split(f"{url[1] or ''} {url[2]}") if url else value.split()
    for part in (*_FILLED.split(value), *parts):
        if len(part) >= _SHORTEST_PART and not _PLAIN_PART.fullmatch(part):
            yield part


def _put(text: str, mask: str) -> None:
    """Every way in which a text is written in URLs, JSON, Python and shells."""
    spellings = {text, quote(text), quote(text, safe=""), repr(text)[1:-1]}
    spellings |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    spellings.add(text.replace("'", "'\"'\"'"))
    for spelling in spellings:
        _masks.setdefault(spelling.lower(), mask)


def _compile() -> None:
    global _pattern
    longest_first = sorted(_masks, key=len, reverse=True)
    _pattern = re.compile("|".join(map(_bounded, longest_first)), re.IGNORECASE) if _masks else None


def _bounded(text: str) -> str:
    """A number or an address is not looked for inside a longer one."""
    if re.fullmatch(r"[0-9.:]+", text):
        return rf"(?<![0-9]){re.escape(text)}(?![0-9])"
    return re.escape(text)


def _mask(found: re.Match[str]) -> str:
    return _masks.get(found[0].lower(), "${...}")


def _masked_in(value: Any) -> Any:
    if type(value) is str:
        return masked(value)
    if isinstance(value, Mapping):
        return {_masked_in(key): _masked_in(each) for key, each in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_masked_in(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        kept = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
        return replace(value, **{name: _masked_in(each) for name, each in kept.items()})
    return value
