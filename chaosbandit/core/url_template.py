"""Text that differs from request to request: `{n}`, `{n:1..8}` and `{uuid}` in URLs and bodies.

`{n}` counts on. `{n:1..8}` is one of a few, each as often, in an order that no period of the run
(every sixth request goes to the control) can fall in step with. `{uuid}` was never sent before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# The same in `hidden_values`, which may import nothing.
PLACEHOLDER = re.compile(r"\{n\}|\{n:([0-9]{1,12})\.\.([0-9]{1,12})\}|\{uuid\}")
_ALONE = r"\{n(?::[0-9]{1,12}\.\.[0-9]{1,12})?\}|\{uuid\}"
_NEVER = "00000000-0000-4000-8000-000000000000"


def wrong_range(template: str) -> bool:
    """Whether a range has its ends the wrong way round."""
    ends = (found.groups() for found in PLACEHOLDER.finditer(template))
    return any(low is not None and int(low) > int(high) for low, high in ends)


def literals(template: str) -> list[str]:
    """What stands around the placeholders: one more than there are of these."""
    return re.split(_ALONE, template)


def fillers(template: str, unique: Callable[[], str]) -> Sequence[Callable[[int], str]]:
    """For each placeholder in order, its text from the number of a sample (0 or more)."""
    return [_filler(found, unique) for found in PLACEHOLDER.finditer(template)]


def example(template: str) -> str:
    """The URL of the first sample, to see whether there is anything."""
    texts = iter(fillers(template, lambda: _NEVER))
    return PLACEHOLDER.sub(lambda _: next(texts)(0), template)


def _filler(found: re.Match[str], unique: Callable[[], str]) -> Callable[[int], str]:
    if found[1] is not None:
        low, count = int(found[1]), int(found[2]) - int(found[1]) + 1
        return lambda seq: str(low + _scattered(seq) % count)
    return (lambda _: unique()) if found[0] == "{uuid}" else str


def _scattered(seq: int) -> int:
    """64 bits that look like chance, the same for the same number: the mixer of SplitMix64."""
    bits = (seq + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return bits ^ bits >> 31
