"""A few campaigns of every kind of hostile world (long form: benchmarks/real_life.py)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from scipy.stats import binom

from benchmarks.hostile import ROWS
from benchmarks.real_life import DELTA, Result, campaign_of


@dataclass(frozen=True)
class Few:
    """Seeded campaigns of one row, and how often a naive analysis of them must lie."""

    situation: str
    policy: str = "bets-held"
    runs: int = 12
    naive: float = 0.0  # share of the runs, at least

    def __str__(self) -> str:
        return f"{self.situation}, {self.policy}"


FEW = [
    Few("bad requests hang, 200/s"),
    Few("bad requests hang, 200/s", "certify", runs=5),
    Few("the same, any number in flight", runs=3, naive=0.6),
    Few("pool full when requests hang", runs=8, naive=0.7),
    Few("late when requests hang", runs=8, naive=0.7),
    Few("dose check fails when requests hang", runs=8, naive=0.7),
    Few("Ctrl-C when requests hang", runs=8),
    Few("bursts of 20, block 80 declared", runs=2, naive=0.5),
    Few("three SLOs, independent", runs=4),
    Few("a night with a deploy, ttl 1 h", runs=6, naive=0.6),
    Few("stops after 2 bad in a row", runs=6),
    Few("slow drain, exposures of 1 s", "bets-broke", runs=6),
]


def results(few: Few) -> list[Result]:
    """One campaign a seed."""
    return [campaign_of(ROWS[few.situation], few.policy, seed) for seed in range(few.runs)]


@pytest.mark.parametrize("few", FEW, ids=str)
def test_false_claims_are_rare(few: Few) -> None:
    found = results(few)
    wrong = [result for result in found if result.held_false or result.broke_false]
    assert len(wrong) <= binom.ppf(0.999, few.runs, DELTA), wrong
    assert sum(bool(result.naive_false) for result in found) >= few.naive * few.runs
    assert all(result.samples for result in found)


def test_a_wide_bump_that_is_plainly_bad_is_not_passed_over() -> None:
    found = results(Few("bump 4x wide, 95% bad", "certify", runs=4))
    assert [result.below_bump for result in found] == [True] * 4


def test_a_low_bump_that_was_passed_over_is_found_by_looks_below_the_bracket() -> None:
    found = results(Few("bump 2x wide, 5% bad", "certify", runs=5))
    passed = [result for result in found if result.above_bump]
    assert len(passed) >= 2
    assert sum(result.found_bump for result in passed) >= 0.5 * len(passed)


@pytest.mark.parametrize(
    ("situation", "held", "broke"),
    [("never breaks", True, False), ("breaks at the lowest", False, True)],
)
def test_a_ladder_s_ends_are_claimed_alone(situation: str, held: bool, broke: bool) -> None:
    for result in results(Few(situation, "certify", runs=3)):
        assert result.one_sided and not result.closed
        assert not result.held_false and not result.broke_false
        assert ("held" in result.reason, "broke" in result.reason) == (held, broke)
