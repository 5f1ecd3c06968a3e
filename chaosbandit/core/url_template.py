"""Text that differs from request to request: `{n}`, `{n:1..8}` and `{uuid}` in URLs and bodies.

`{n}` counts on. `{n:1..8}` is one of a few, each as often, in an order that no period of the run
(every sixth request goes to the control) can fall in step with. `{uuid}` was never sent before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# The same in `hidden_values`, which may not import this.
PLACEHOLDER = re.compile(r"\{(?:n(?::[0-9]{1,12}\.\.[0-9]{1,12})?|uuid)\}")
_NEVER = "00000000-0000-4000-8000-000000000000"


def wrong_range(template: str) -> bool:
    """Whether a range has its ends the wrong way round."""
    ranges = (_range(found) for found in PLACEHOLDER.findall(template))
    return any(ends is not None and ends[0] > ends[1] for ends in ranges)


def literals(template: str) -> list[str]:
    """What stands around the placeholders: one more than there are of these."""
    return PLACEHOLDER.split(template)


def fillers(template: str, unique: Callable[[], str]) -> Sequence[Callable[[int], str]]:
    """For each placeholder in order, its text from the number of a sample (0 or more)."""
    return [_filler(found, unique) for found in PLACEHOLDER.findall(template)]


def example(template: str) -> str:
    """The URL of the first sample, to see whether there is anything."""
    texts = iter(fillers(template, lambda: _NEVER))
    return PLACEHOLDER.sub(lambda _: next(texts)(0), template)


def _filler(placeholder: str, unique: Callable[[], str]) -> Callable[[int], str]:
    ends = _range(placeholder)
    if ends is not None:
        low, count = ends[0], ends[1] - ends[0] + 1
        return lambda seq: str(low + _scattered(seq) % count)
    return (lambda _: unique()) if placeholder == "{uuid}" else str


def _range(placeholder: str) -> tuple[int, int] | None:
    """The ends of `{n:1..8}`, None of the others."""
    low, dots, high = placeholder.strip("{}").removeprefix("n:").partition("..")
    return (int(low), int(high)) if dots else None


def _scattered(seq: int) -> int:
    """64 bits that look like chance, the same for the same number: the mixer of SplitMix64."""
    bits = (seq + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return bits ^ bits >> 31
