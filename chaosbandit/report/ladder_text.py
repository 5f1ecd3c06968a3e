"""What was found out about a ladder, as lines of text: (key, words). Only records are read here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from chaosbandit.core.model import VerdictKind
from chaosbandit.report.exposure_line import dose_text
from chaosbandit.report.records import ArmResult, LadderResult

_MOST_ARMS = 3


def basis_lines(ladders: Sequence[LadderResult]) -> Iterator[tuple[str, str]]:
    """The estimates, how long what held stood, and what is certified rests on what."""
    for key, words in (("estimate", _estimate), ("hold", _hold), ("rests on", _rests_on)):
        for ladder in ladders:
            name = f"{ladder.ladder} " if len(ladders) > 1 else ""
            text = words(ladder)
            if text:
                yield key, f"{name}{text}"


def _estimate(ladder: LadderResult) -> str:
    """Not again where the answer has it, nor beyond an end: that says no more than the answer."""
    guess = ladder.estimate
    known = guess is None or guess.median is None or guess.text in ladder.answer
    return "" if known or guess is None else guess.text


def _hold(ladder: LadderResult) -> str:
    return "" if ladder.hold is None else ladder.hold.text


def _rests_on(ladder: LadderResult) -> str:
    ends = [end.text for end in (ladder.rests_held, ladder.rests_broke) if end is not None]
    if not ends:
        return ""
    blocks = f", in blocks of {ladder.block}" if ladder.block > 1 else ""
    return f"{' and '.join(ends)}{blocks}; other severities follow by monotonicity"


def undecided_lines(ladder: LadderResult, *, named: bool) -> Iterator[tuple[str, str]]:
    """The arms without a verdict that are nearest to the answer, mildest first."""
    if named and ladder.bracket.closed:
        return
    open_arms = [a for a in ladder.arms if a.verdict is VerdictKind.UNKNOWN and a.samples]
    near = sorted(open_arms, key=lambda arm: _distance(ladder, arm))[:_MOST_ARMS]
    name = f"{ladder.ladder} " if named else ""
    for arm in sorted(near, key=lambda arm: arm.severity):
        yield "found", f"{name}{arm.sentence}"


def dose_lines(ladder: LadderResult, *, named: bool) -> Iterator[tuple[str, str]]:
    """What arrived and was felt at the two ends of the bracket."""
    between, name = ladder.bracket, f"{ladder.ladder} " if named else ""
    for end, at, dose in (
        ("held", between.held_text, ladder.dose_held),
        ("broke", between.broke_text, ladder.dose_broke),
    ):
        if dose is not None:
            yield "dose", f"{name}{end} at {at}: {dose_text(dose, between.unit)}"


def _distance(ladder: LadderResult, arm: ArmResult) -> float:
    """From the estimate, or the certified side, in the logarithm."""
    between, guess = ladder.bracket, ladder.estimate
    middle = guess.median if guess is not None else None
    answer = middle or between.held or between.broke
    return abs(math.log(arm.severity / answer)) if answer else -arm.severity
