from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from chaosbandit.core.model import Bracket, Cause, GateOutcome, Outcome, Purpose, Route, VerdictKind
from tests.simulated import sample


def test_records_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        sample(1).latency_s = 0.0  # type: ignore[misc]  # that is the point


def test_lag_is_how_much_later_than_intended_a_sample_was_sent() -> None:
    assert sample(50, lag_s=0.003).lag_s == pytest.approx(0.003)
    assert sample(50).lag_s == 0.0


def test_a_bracket_knows_nothing_at_first() -> None:
    assert Bracket() == Bracket(held=None, broke=None, closed=False, confidence=0.95)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Route, {"canary", "control", "check"}),
        (
            Outcome,
            {
                "response",
                "timeout",
                "connect-error",
                "transport-error",
                "kept-connection-closed",
                "no-http",
                "overload",
            },
        ),
        (Purpose, {"search", "held", "broke", "hold"}),
        (VerdictKind, {"held", "broke", "unknown"}),
        (GateOutcome, {"passed", "failed", "undecided"}),
        (
            Cause,
            {
                "bracketed",
                "held at the cap",
                "broke at the mildest",
                "gate decided",
                "inconclusive",
                "assumptions failed",
                "path not exercised",
                "not monotone",
                "did not stand",
                "did not repeat",
                "capped",
                "budget",
                "samples",
                "time",
                "frozen",
                "harness",
                "target",
                "steady state",
                "toxiproxy",
                "interrupted",
                "terminated",
                "not clean",
                "policy",
                "internal",
            },
        ),
    ],
)
def test_the_words_of_the_journal_are_stable(kind: type[Route], words: set[str]) -> None:
    assert {str(each) for each in kind} == words
