"""Data as YAML in one style of many: block and flow, every way of quoting, comments, line ends.

It knows nothing of scenarios; what must stand unquoted, or may, is said by the type of a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

_PLAIN = re.compile(r"(?!(?:null|true|false)\Z)[a-z][a-z0-9_-]*", re.IGNORECASE)


class Quantity(str):
    """Text that means the same with and without quotes."""

    __slots__ = ()


class Unquoted(str):
    """Text that means something else, or nothing, in quotes."""

    __slots__ = ()


def as_yaml(rng: Random, data: Any) -> str:
    """The data as a document, with what may stand before and after one."""
    before = rng.choice(["", "", "\ufeff", "---\n", "%YAML 1.1\n---\n", "# odd: {[\n\n"])
    after = rng.choice(["", "\n", "\n...\n", "\n# the end"])
    text = before + "\n".join(_block(rng, data, "")) + after
    return text.replace("\n", rng.choice(["\n", "\n", "\n", "\r\n", "\r"]))


def flow(rng: Random, data: Any) -> str:
    """A scalar, or a collection in one line."""
    if isinstance(data, dict):
        inside = (f"{quoted(rng, key)}: {flow(rng, value)}" for key, value in data.items())
        return "{" + ", ".join(inside) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(flow(rng, value) for value in data) + "]"
    return quoted(rng, data) if isinstance(data, str) else json.dumps(data)


def quoted(rng: Random, text: str) -> str:
    """A scalar in one of the styles that leave it what it is."""
    if isinstance(text, Unquoted):
        return text
    if rng.random() < 0.6 and (isinstance(text, Quantity) or _PLAIN.fullmatch(text)):
        return text
    if text.isprintable() and rng.random() < 0.5:
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text, ensure_ascii=False)


def _block(rng: Random, data: Any, indent: str) -> Iterator[str]:
    """Lines of a block collection; what is in it may be of either style."""
    if not isinstance(data, dict | list) or not data:
        yield indent + flow(rng, data)
        return
    step = indent + " " * rng.randint(1, 4)
    for key, value in data.items() if isinstance(data, dict) else ((None, item) for item in data):
        if rng.random() < 0.05:
            yield rng.choice(["", f"{indent}# a comment"])
        head = f"{indent}-" if key is None else f"{indent}{quoted(rng, key)}:"
        if isinstance(value, dict | list) and value and rng.random() < 0.7:
            yield head
            yield from _block(rng, value, step)
        else:
            yield f"{head} {flow(rng, value)}" + rng.choice(["", "", "  # why"])
