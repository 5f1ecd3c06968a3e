"""When failures come, counted from the injection: pools empty and queues fill late.

Seconds throughout. Samples of all exposures of a severity are taken together, span by span.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from chaosbandit.core.campaign import AGES_S, Exposure
from chaosbandit.core.climb import Climb
from chaosbandit.core.judge import valid
from chaosbandit.core.ratio_tests import entropy_rate
from chaosbandit.report.numbers_in_words import duration
from chaosbandit.report.records import AgeResult, AgesResult

_FEWEST = 3  # bad samples whose ages say anything
_STRAYS = 0.05  # of them may be of another kind
_PART = 0.1  # of all samples must be nearly free of them
_CHANCE = 0.01  # of that, if they came at any time alike

_Seen = Sequence[tuple[float, bool]]
"""Age of each sample, and whether it is bad in any SLO; in order of age."""


def ages_at(climb: Climb, arm: int | None) -> AgesResult | None:
    """The bad ratio of an arm by age; None where nothing was measured there."""
    exposures = exposures_at(climb, arm)
    spans = _spans(exposures)
    if arm is None or not spans:
        return None
    severity, seen = climb.ladder.severities[arm], _seen(exposures)
    text = climb.ladder.text(severity)
    return AgesResult(
        severity=severity,
        severity_text=text,
        spans=spans,
        late_s=None if (late := _late(seen)) is None else late[0],
        text=_late_text(seen, text) or _early_text(seen, text),
    )


def latest(climb: Climb) -> AgesResult | None:
    """Of the arms whose failures come late or early only, the one with most of them."""
    arms = {each.arm for each in climb.exposures}
    told = [found for arm in arms if (found := ages_at(climb, arm)) is not None and found.text]
    return max(told, key=lambda each: sum(span.bad for span in each.spans), default=None)


def exposures_at(climb: Climb, arm: int | None) -> list[Exposure]:
    """The exposures of an arm that count, the open one included."""
    current = climb.current
    all_that_count = [*valid(climb.exposures), *([current] if current is not None else [])]
    return [each for each in all_that_count if each.arm == arm]


def _spans(exposures: Sequence[Exposure]) -> tuple[AgeResult, ...]:
    samples, bad = Counter[int](), Counter[int]()
    for exposure in exposures:
        for span, aged in exposure.by_age.items():
            samples[span] += aged.samples
            bad[span] += aged.any_bad
    ends_s = (*AGES_S[1:], None)
    return tuple(
        AgeResult(AGES_S[span], ends_s[span], samples[span], bad[span], bad[span] / samples[span])
        for span in sorted(samples)
    )


def _seen(exposures: Iterable[Exposure]) -> _Seen:
    return sorted(
        (sample.intended_s - each.first_s, any(sample.bad))
        for each in exposures
        if each.first_s is not None
        for sample in each.canary
    )


def _late(seen: _Seen) -> tuple[float, int, int] | None:
    """From which age on nearly all bad samples lie; and how many came before, how many of them bad.

    None where so few before may be chance.
    """
    bad_at = [number for number, (_, bad) in enumerate(seen) if bad]
    strays = int(_STRAYS * len(bad_at))
    if len(bad_at) < _FEWEST or not _telling(bad_at[strays], strays, seen, len(bad_at)):
        return None
    return seen[bad_at[strays]][0], bad_at[strays], strays


def _late_text(seen: _Seen, text: str) -> str:
    late = _late(seen)
    if late is None:
        return ""
    from_s, before, strays = late
    bad = sum(bad for _, bad in seen)
    return (
        f"{_share_of(bad, strays)} bad answers at {text} came from {duration(from_s)} after the "
        f"injection on, {strays or 'none'} of {before} requests before"
    )


def _early_text(seen: _Seen, text: str) -> str:
    """The same from the other end."""
    late = _late([(-age_s, bad) for age_s, bad in reversed(seen)])
    if late is None:
        return ""
    to_s, after, strays = late
    bad = sum(bad for _, bad in seen)
    return (
        f"{_share_of(bad, strays)} bad answers at {text} came within {duration(-to_s)} of the "
        f"injection, {strays or 'none'} of {after} requests after"
    )


def _share_of(bad: int, strays: int) -> str:
    return f"{bad - strays} of {bad}" if strays else f"all {bad}"


def _telling(without: int, strays: int, seen: _Seen, bad: int) -> bool:
    """Whether so few bad ones in a good part of all samples are no chance (Chernoff's bound)."""
    part, found = without / len(seen), strays / bad
    return part >= _PART and found < part and bad * entropy_rate(found, part) >= -math.log(_CHANCE)
