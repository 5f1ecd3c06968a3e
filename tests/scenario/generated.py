"""Scenario files of every kind that people, tools and enemies may hand over, at random.

`KINDS` are functions of a `Random`; each gives the bytes of a file and its environment. What is no
ordinary file (pipes, devices, folders) is in `PLACES`. What must come of them is in `judged`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from chaosbandit.core.scenario import Scenario
from tests.scenario.oddities import (
    BYTES,
    LETTERS,
    LOOKALIKES,
    ODD_KEYS,
    QUANTITIES,
    TEXTS,
    VALUES,
    VARIABLES,
    YAML,
)
from tests.scenario.styled import Unquoted, as_yaml
from tests.scenario.written import valid

SECRET = "q7Zq-s3cr3t"  # every environment holds it, no message may
Generator = Callable[[Random], "File"]

KINDS: dict[str, Generator] = {}


@dataclass(frozen=True, slots=True)
class File:
    """What a file holds and which environment it is read in."""

    raw: bytes
    environment: dict[str, str] = field(default_factory=dict)
    scenario: Scenario | None = None  # what it means, where that is known


def kind(generate: Generator) -> Generator:
    """Decorator: a kind of file, called as its function."""
    KINDS[generate.__name__.replace("_", " ").strip()] = generate
    return generate


@kind
def valid_ones(rng: Random) -> File:
    """A scenario in any style of YAML, variables included."""
    said = valid(rng)
    return File(as_yaml(rng, said.data).encode(), said.environment, said.scenario)


@kind
def edited_text(rng: Random) -> File:
    """A shipped scenario after cuts, repeats and insertions."""
    text = rng.choice(TEXTS)
    for _ in range(rng.randint(1, 6)):
        start = rng.randint(0, len(text))
        end = min(len(text), start + rng.randint(0, 40))
        pieces = [text[start:end] * 2, "", rng.choice(YAML), rng.choice(LETTERS)]
        text = text[:start] + rng.choice(pieces) + text[end:]
    return File(text.encode(errors="surrogatepass"), {"A": SECRET})


@kind
def wrong_types(rng: Random) -> File:
    """A value of another type, at any key."""
    return _changed(rng, lambda _: copy.deepcopy(rng.choice(VALUES)))


@kind
def wrong_quantities(rng: Random) -> File:
    """Numbers, durations, shares, rates and addresses in spellings of all sorts."""
    return _changed(rng, lambda _: rng.choice(QUANTITIES))


@kind
def wrong_keys(rng: Random) -> File:
    """Keys that are missing, misspelt, moved, unknown, empty or odd."""
    said = valid(rng)
    for _ in range(rng.randint(1, 4)):
        mappings = [value for value in _inside(said.data) if isinstance(value, dict) and value]
        mapping = rng.choice(mappings)
        key = rng.choice(list(mapping))
        value = mapping.pop(key) if rng.random() < 0.8 else mapping[key]
        if rng.random() < 0.7:
            rng.choice([mapping, *mappings])[_respelt(rng, key)] = copy.deepcopy(value)
    return File(as_yaml(rng, said.data).encode(errors="surrogatepass"), said.environment)


@kind
def transplants(rng: Random) -> File:
    """One part of a scenario where another belongs."""
    said = valid(rng)
    parts = [copy.deepcopy(part) for part in _inside(said.data)]
    return _changed(rng, lambda _: copy.deepcopy(rng.choice(parts)))


@kind
def odd_letters(rng: Random) -> File:
    """Unicode that is invisible, turned around, combined, look-alike or unprintable."""

    def odd(value: Any) -> Any:
        text = str(value) if isinstance(value, str) else "x"
        at = rng.randint(0, len(text))
        inserted = text[:at] + rng.choice(LETTERS) * rng.choice([1, 1, 3, 300]) + text[at:]
        return rng.choice([inserted, "".join(LOOKALIKES.get(letter, letter) for letter in text)])

    return _changed(rng, odd)


@kind
def variables(rng: Random) -> File:
    """Variables that are unset, empty, huge, recursive, misspelt or of any content."""
    file = _changed(rng, lambda value: str(value or "") + rng.choice(VARIABLES))
    held = [*map(str, QUANTITIES), *LETTERS, "${SECRET}", SECRET * 10_000, "x\ny", "\udcff", ""]
    environment = {"A": rng.choice(held) + SECRET, "B": rng.choice(held), "SECRET": SECRET}
    return File(file.raw, file.environment | environment)


@kind
def yaml_features(rng: Random) -> File:
    """Anchors, tags, directives, documents, block scalars, tabs and line ends of all sorts."""
    text = as_yaml(rng, valid(rng).data)
    for _ in range(rng.randint(1, 3)):
        line_ends = [at + 1 for at, letter in enumerate(text) if letter in ":\n, "] or [0]
        at = rng.choice(line_ends)
        text = text[:at] + rng.choice(YAML) + text[at:]
    if rng.random() < 0.2:
        text = text.replace("\n", rng.choice(["\x85", "\u2028", "\u2029", "\r", "\n\t", "\n \n"]))
    return File(text.encode(errors="surrogatepass"))


@kind
def deep_nests(rng: Random) -> File:
    """Ten to a hundred thousand levels, of flow and block collections, closed or not."""
    depth = rng.choice([10, 48, 49, 50, 51, 100, 1000, 10_000, 100_000])
    if rng.random() < 0.15:
        levels = range(min(depth, 600))  # the indentation grows with the square
        return File("".join(f"{' ' * level}a:\n" for level in levels).encode())
    opening, closing = rng.choice(
        [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("[{a: ", "}]"), ("!t [", "]")]
    )
    head = rng.choice(["", "a: ", "slos:\n  ", "proxies: ", "guardrails:\n  freeze: "])
    return File((head + opening * depth + "1" + closing * rng.choice([0, depth])).encode())


@kind
def huge_ones(rng: Random) -> File:
    """Up to megabytes: long scalars and names, many keys, items, lines, problems and variables."""
    size = rng.choice([2_000, 60_000, 250_000, 262_144, 262_145, 3_000_000])
    said = valid(rng)
    pieces = HUGE[rng.choice(list(HUGE))]
    text, number = "", 0
    while len(text) < size:
        text += "".join(pieces(at) for at in range(number, number + 1000))
        number += 1000
    head, _, tail = rng.choice(AROUND).partition("@")
    text = head + text[: size - len(head) - len(tail)] + tail
    before = as_yaml(rng, said.data).rstrip(".\r\n") + "\n" if rng.random() < 0.5 else ""
    return File((before + text).encode(), {"A": SECRET * 2000, **said.environment})


@kind
def odd_bytes(rng: Random) -> File:
    """Other encodings, cut and swapped bytes, binary files, nothing at all."""
    text = rng.choice([*TEXTS, as_yaml(rng, valid(rng).data)])
    way = rng.randint(0, 3)
    if way == 0:
        encoding = rng.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7"])
        return File(text.encode(rng.choice([encoding, "latin-1", "cp037"]), errors="replace"))
    if way == 1:
        return File(rng.choice([*BYTES, rng.randbytes(rng.choice([1, 100, 10_000, 300_000]))]))
    raw = bytearray(text.encode())
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(raw))
        raw[at : at + rng.randint(0, 3)] = rng.choice([*BYTES, rng.randbytes(1)])[:100]
    return File(bytes(raw[: rng.choice([len(raw), rng.randint(0, len(raw))])]))


# Pieces of huge files, by the number of the piece.
HUGE: dict[str, Callable[[int], str]] = {
    "letters": lambda _: "x",
    "wide letters": lambda _: "慢",
    "digits": lambda _: "9",
    "lines": lambda number: f"k{number}: 1\n",
    "long keys": lambda number: f"objectiv{'e' * 60}{number}: 1\n",
    "flow keys": lambda number: f"k{number}, ",
    "words": lambda _: "a, ",
    "mappings": lambda number: f"{{name: s{number}, good: latency <= 1s, objective: 99%}}, ",
    "named mappings": lambda number: f"k{number}: {{upstream: '127.0.0.1:1'}}, ",
    "empty lists": lambda _: "[], ",
    "comments": lambda number: f"# {number}\n",
    "blank lines": lambda _: "\n",
    "blanks": lambda _: " ",
    "problems": lambda _: "&a 1, ",
    "variables": lambda _: "${A}",
    "variables in items": lambda _: "'${A}', ",
    "defaults": lambda _: "${A:-",
    "slashes": lambda _: "//a",
    "quotes": lambda _: "''",
    "escapes": lambda _: "\\u0061",
    "items": lambda number: f"- {{toxic: latency, k{number}: 1}}\n",
    "again": lambda _: "version: 1\n",
}
# Where they stand: for the @.
AROUND = [
    "@", "a: '@'\n", 'a: "@"\n', "a: [@]\n", "a: {@}\n", "slos: [@]\n", "proxies: {@}\n",
    "traffic: {headers: {@}}\n", "require: {@}\n", "guardrails: {freeze: [@]}\n", "- @",
    "? @\n: 1\n", "proxies: {a: {bypass: [@]}}\n", "description: @\n", "name: |\n  @\n",
    "${@}: a\n", "a: ${@}\n", "ladders: [{toxic: @}]\n", "ladders: [{toxic: latency, @}]\n",
    "budget: {requests: @}\n", "%@\n---\n", "*@\n", "!@ a\n", "'@': {a, a, a}\n",
    "? @\n: {a, a, a, a, a, a, a, a}\n", "? " + "x" * 100_000 + "\n: [@]\n",
    "? " + "x" * 100_000 + "\n: {@}\n",
]  # fmt: skip


def _changed(rng: Random, change: Callable[[Any], Any]) -> File:
    """A valid scenario in which one to three values are others."""
    said = valid(rng)
    for _ in range(rng.randint(1, 3)):
        places = [
            (part, key)
            for part in _inside(said.data)
            if isinstance(part, dict | list)
            for key in (part if isinstance(part, dict) else range(len(part)))
        ]
        part, key = rng.choice(places)
        part[key] = change(part[key])
    return File(as_yaml(rng, said.data).encode(errors="surrogatepass"), said.environment)


def _inside(data: Any) -> Iterator[Any]:
    """The value and every value in it."""
    yield data
    for value in (
        data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    ):
        yield from _inside(value)


def _respelt(rng: Random, key: str) -> str:
    at = rng.randrange(len(key) + 1)
    unquoted = ["!!str a", "&a b", "? a", "null", "1", "~", f"? '{'y' * 5000}'\n"]
    return rng.choice(
        [
            key[:at] + key[at + 1 :],
            key[:at] + rng.choice(LETTERS) + key[at:],
            "".join(LOOKALIKES.get(letter, letter) for letter in key),
            rng.choice(ODD_KEYS),
            key.upper(),
            Unquoted(rng.choice(unquoted)),
        ]
    )


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _unreadable(path: Path) -> None:
    path.write_bytes(TEXTS[0].encode())
    path.chmod(0)


def _link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


# What may stand at the path of a file, and how it is put there.
PLACES: dict[str, Callable[[Path], None]] = {
    "a folder": _folder,
    "a pipe nobody writes into": _pipe,
    "a link to itself": _loop,
    "a link to nothing": _link_to("nothing-here"),
    "a file nobody may read": _unreadable,
    "zeros without end": _link_to("/dev/zero"),
    "noise without end": _link_to("/dev/urandom"),
    "the null device": _link_to("/dev/null"),
    "a full device": _link_to("/dev/full"),
    "the memory of the process": _link_to("/proc/self/mem"),
    "nothing": lambda _: None,
}
