from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.random import Generator
from scipy.stats import binom

from chaosbandit.core.campaign import Arm
from chaosbandit.core.monotone import ALPHA, LOOK_FACTOR, SPAN, next_look, not_monotone

TAU = 0.01
GRID = tuple(0.01 * 1.1 ** (j / 4) for j in range(194))  # 10 ms to 1 s
UNSEEN = Arm(bad=(0,))


def arms(*counts: tuple[int, int]) -> list[Arm]:
    """(samples, bad) of one SLO, an arm each."""
    return [Arm(samples, (bad,), bad) for samples, bad in counts]


@pytest.mark.parametrize(
    ("counts", "pairs"),
    [
        ([(900, 0), (20, 10), (900, 0)], [(1, 2)]),
        ([(20, 10), (10, 5), (0, 0), (1300, 1)], [(0, 3), (1, 3)]),
        ([(20, 10), (900, 0), (900, 0)], [(0, 1)]),
    ],
)
def test_a_broken_arm_under_a_held_one_is_found(
    counts: list[tuple[int, int]], pairs: list[tuple[int, int]]
) -> None:
    assert not_monotone(arms(*counts), [TAU]) == pairs


@pytest.mark.parametrize(
    "counts",
    [
        [(0, 0), (0, 0)],
        [(500, 0), (500, 0), (20, 10)],  # as it should be
        [(20, 10), (5, 0)],  # too little seen above
        [(5, 1), (900, 0)],  # too little seen below
        [(900, 9), (900, 0)],  # at tau itself
        [(2000, 4), (2000, 0)],  # worse below, and both well under tau: no matter to the SLO
        [(50, 45), (50, 20)],  # both broken
    ],
)
def test_what_is_no_finding(counts: list[tuple[int, int]]) -> None:
    assert not_monotone(arms(*counts), [TAU]) == []


def test_each_slo_is_looked_at_by_itself() -> None:
    lower, upper = Arm(900, (0, 90), 90), Arm(900, (90, 0), 90)
    assert not_monotone([lower, upper], [TAU, TAU]) == []  # the upper arm breaks the first SLO
    assert not_monotone([lower, upper], [0.2, TAU]) == [(0, 1)]
    assert not_monotone([lower, upper], [0.2, 0.2]) == []


def test_what_is_certified_needs_no_own_proof() -> None:
    seen = arms((20, 10), (300, 0), (20, 0), (1200, 0))
    assert not_monotone(seen, [TAU]) == [(0, 3)]
    assert not_monotone(seen, [TAU], held=1) == [(0, 1)]
    assert not_monotone(arms((300, 0), (3, 1), (300, 0)), [TAU], held=2) == []
    assert not_monotone(arms((300, 0), (3, 1), (1200, 0)), [TAU], broke=1) == [(1, 2)]


def test_longer_ladders_ask_for_more() -> None:
    """Each arm is one more chance to err: what suffices for two of them is little among many."""
    pair = arms((6, 3), (900, 0))
    assert not_monotone(pair, [TAU]) == [(0, 1)]
    assert not_monotone([*pair, *[UNSEEN] * 400], [TAU]) == []


def test_blocks_ask_for_more() -> None:
    counts = [(40, 20), (1500, 0)]
    assert not_monotone(arms(*counts), [TAU]) == [(0, 1)]
    assert not_monotone(arms(*counts), [TAU], block=20) == []
    many = [(20 * n, 20 * bad) for n, bad in counts]
    assert not_monotone(arms(*many), [TAU], block=20) == [(0, 1)]


@pytest.mark.parametrize("at", ["all exactly at tau", "a step of tau from 0.9 tau to 1.1 tau"])
def test_monotone_responses_are_seldom_called_otherwise(at: str) -> None:
    """Looking after every sample, at the arm that looks most suspicious."""
    rng, tau, runs = np.random.default_rng(4), 0.1, 150
    step = 0.0 if at.startswith("all") else 0.1
    truth = [tau * (1 - step)] * 3 + [tau * (1 + step)] * 3
    wrong = 0
    for _ in range(runs):
        seen = [UNSEEN] * 6
        for n in range(600):
            arm = n % 6 if n < 60 else _most_suspicious(seen)
            seen[arm] = _after(seen[arm], rng.random() < truth[arm])
            if n % 10 == 9 and not_monotone(seen, [tau]):
                wrong += 1
                break
    assert wrong <= binom.ppf(0.999, runs, ALPHA)


def _most_suspicious(seen: Sequence[Arm]) -> int:
    """Bad ones below, good ones above: what an adversary would go on with."""
    share = [arm.any_bad / arm.samples for arm in seen]
    return max(range(6), key=lambda j: share[j] if j < 3 else -share[j] + 0.2)


def _after(arm: Arm, bad: bool) -> Arm:
    return replace(arm, samples=arm.samples + 1, bad=(arm.bad[0] + bad,), any_bad=arm.any_bad + bad)


def test_looks_are_a_span_apart_and_then_there_are_enough() -> None:
    held, seen, looked = 150, [UNSEEN] * len(GRID), []
    while (look := next_look(GRID, seen, [TAU], held)) is not None:
        arm, samples = look
        assert arm < held
        assert seen[arm].samples == 0, "a look without bad samples is long enough at once"
        looked.append(arm)
        seen[arm] = Arm(samples, (0,), 0)
        assert (1 - LOOK_FACTOR * TAU) ** samples <= 0.05
    assert looked == sorted(looked, reverse=True)
    assert looked[-1] == 0
    ends = [held, *looked]
    ratios = [GRID[upper] / GRID[lower] for upper, lower in pairwise(ends)]
    assert max(ratios) <= SPAN * (1 + 1e-9)
    assert len(looked) == math.ceil(math.log(GRID[held] / GRID[0]) / math.log(SPAN))


def test_a_suspicious_look_goes_on_until_it_is_decided() -> None:
    seen = [UNSEEN] * len(GRID)
    first = next_look(GRID, seen, [TAU], 20)
    assert first is not None
    arm, samples = first
    seen[arm] = Arm(samples, (1,), 1)
    again = next_look(GRID, seen, [TAU], 20)
    assert again is not None and again[0] == arm and again[1] < samples
    seen[arm] = Arm(samples, (12,), 12)  # plainly broken
    following = next_look(GRID, seen, [TAU], 20)
    assert following is None or following[0] != arm


def test_there_is_nothing_below_the_mildest() -> None:
    assert next_look(GRID, [UNSEEN] * len(GRID), [TAU], 0) is None


@pytest.mark.parametrize(
    ("height", "width", "power"),
    [(0.95, 2.0, 1.0), (0.2, 2.0, 1.0), (0.05, 2.0, 0.85), (0.05, 4.0, 0.9)],
)
def test_bumps_below_a_held_arm_are_found(height: float, width: float, power: float) -> None:
    found, runs, rng = 0, 60, np.random.default_rng(9)
    for _ in range(runs):
        first = GRID[0] * (GRID[150] / GRID[0] / width) ** rng.random()
        seen = [UNSEEN] * len(GRID)
        seen[150] = Arm(1100, (1,), 1)
        after_looks(seen, lambda s, x=first: height if x <= s < x * width else 0.001, rng)  # type: ignore[misc]
        found += bool(not_monotone(seen, [TAU], held=150))
    assert found >= power * runs


def after_looks(seen: list[Arm], response: Callable[[float], float], rng: Generator) -> None:
    """Take all the looks there are."""
    for _ in range(200):
        look = next_look(GRID, seen, [TAU], 150)
        if look is None:
            return
        arm, samples = look
        bad = seen[arm].bad[0] + int(rng.binomial(samples, response(GRID[arm])))
        seen[arm] = Arm(seen[arm].samples + samples, (bad,), bad)
    raise AssertionError("looking never ends")
