"""Certificates: exact numbers, validity under peeking, dependence, several SLOs, voiding."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from chaosbandit.core.evidence import (
    Certificate,
    claimed_bracket,
    interval,
    log_e_above,
    log_e_below,
)
from chaosbandit.core.model import Purpose

DELTA = 0.05
THRESHOLD = math.log(1 / DELTA)
TAU = 0.01
GOOD, BAD = (False,), (True,)


def at_most(share: float, runs: int) -> float:
    """The largest count that a share of so many runs plausibly gives (three deviations)."""
    return share * runs + 3 * math.sqrt(runs * share * (1 - share))


def draws(rng: Generator, n: int, *ratios: float) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = rng.random(n)[:, None] < np.array(ratios)
    return flags


def certify(
    certificate: Certificate, arm: int, purpose: Purpose, q: float, n: int, row: tuple[bool, ...]
) -> Certificate:
    return certificate.observe(arm, purpose, (q,) * len(row), [row] * n)


def test_evidence_adds_up_by_the_formula() -> None:
    start = Certificate.start(4, (TAU,), THRESHOLD)
    one = start.observe(1, Purpose.HELD, (0.002,), [GOOD, GOOD, BAD])
    both = one.observe(2, Purpose.BROKE, (0.15,), [BAD, GOOD])
    held = 2 * math.log(0.998 / 0.99) + math.log(0.2)
    broke = math.log(15) + math.log(0.85 / 0.99)
    assert both.log_e.tolist() == pytest.approx([held, held, 0.0, broke, broke])
    assert both.own_held(1) == pytest.approx(held)
    assert both.own_broke(2) == pytest.approx(broke)
    assert both.missing_held(1) == pytest.approx(THRESHOLD - held)
    assert both.missing_broke(2) == pytest.approx(THRESHOLD - broke)
    assert start.log_e.tolist() == [0.0] * 5  # the old one is untouched


def test_search_samples_change_nothing() -> None:
    start = Certificate.start(3, (TAU,), THRESHOLD)
    assert start.observe(1, Purpose.SEARCH, (), [BAD] * 50) is start


def test_arms_are_called_once_the_threshold_is_met() -> None:
    start = Certificate.start(5, (TAU,), THRESHOLD)
    q = 0.001
    needed = math.ceil(THRESHOLD / math.log((1 - q) / (1 - TAU)))
    nearly = certify(start, 1, Purpose.HELD, q, needed - 1, GOOD)
    held = certify(nearly, 1, Purpose.HELD, q, 1, GOOD)
    assert (start.held_arm, nearly.held_arm, held.held_arm) == (None, None, 1)
    broke = certify(held, 3, Purpose.BROKE, 0.21, 1, BAD)
    assert (held.broke_arm, broke.broke_arm) == (None, 3)
    assert broke.crossings.tolist() == [False, False, True, True, False, False]
    assert broke.missing_held(1) == 0.0 == broke.missing_broke(3)
    # Ruled out for good: later losses do not bring a crossing back.
    assert certify(broke, 1, Purpose.HELD, q, 5, BAD).held_arm == 1


def test_no_crossing_left_is_an_assumption_failure() -> None:
    start = Certificate.start(3, (TAU,), THRESHOLD)
    held = certify(start, 2, Purpose.HELD, 0.001, 400, GOOD)
    neither = certify(held, 0, Purpose.BROKE, 0.9, 3, BAD)
    assert neither.empty
    assert (neither.held_arm, neither.broke_arm) == (None, None)


@pytest.mark.parametrize("purpose", [Purpose.HELD, Purpose.BROKE])
@pytest.mark.parametrize("taus", [(TAU,), (TAU, 0.05)])
def test_a_bulk_is_as_exact_as_a_look_after_every_sample(
    purpose: Purpose, taus: tuple[float, ...]
) -> None:
    rng = default_rng(1)
    share = 0.3 if purpose is Purpose.HELD else 3.0
    ratios = [tau * (0.5 if purpose is Purpose.HELD else 4) for tau in taus]
    bets = [tau * share for tau in taus]
    for _ in range(20):
        bad = draws(rng, 700, *ratios)  # more than are examined at a time
        start = Certificate.start(4, taus, 1.0)
        bulk = start.observe(2, purpose, bets, bad)
        single = start
        for row in bad:
            single = single.observe(2, purpose, bets, row[None])
        assert bulk.log_e == pytest.approx(single.log_e)
        assert bulk.ruled_out.tolist() == single.ruled_out.tolist()


@pytest.mark.parametrize(
    ("purpose", "q"), [(Purpose.HELD, 0.002), (Purpose.HELD, 0.006), (Purpose.BROKE, 0.03)]
)
def test_a_ratio_at_the_objective_is_rarely_called_however_often_one_looks(
    purpose: Purpose, q: float
) -> None:
    rng, runs = default_rng(2), 2000
    start = Certificate.start(1, (TAU,), THRESHOLD)
    called = sum(
        int(start.observe(0, purpose, (q,), draws(rng, 3000, TAU)).ruled_out.sum())
        for _ in range(runs)
    )
    assert runs * DELTA / 5 < called <= at_most(DELTA, runs)


def test_several_slos_hold_only_together() -> None:
    start = Certificate.start(2, (TAU, 0.05), THRESHOLD)
    bets = (0.001, 0.005)
    held = start.observe(1, Purpose.HELD, bets, [(False, False)] * 400)
    assert held.held_arm == 1
    one_breaks = start.observe(1, Purpose.HELD, bets, [(False, i % 5 == 0) for i in range(400)])
    assert one_breaks.held_arm is None
    assert one_breaks.own_held(1) < 0


def test_several_slos_break_when_any_does_at_the_price_of_one_mean() -> None:
    start = Certificate.start(2, (TAU, 0.05), THRESHOLD)
    seen = start.observe(0, Purpose.BROKE, (0.2, 0.2), [(True, False)])
    assert seen.own_broke(0) == pytest.approx(math.log((20 + 0.8 / 0.95) / 2))
    assert seen.observe(0, Purpose.BROKE, (0.2, 0.2), [(True, False)]).broke_arm == 0


def test_several_slos_are_rarely_called_falsely() -> None:
    rng, runs = default_rng(3), 1000
    taus = (TAU, 0.02)
    start = Certificate.start(1, taus, THRESHOLD)
    held = broke = 0
    for _ in range(runs):
        # Only the second SLO breaks (at its objective exactly); then both are just met.
        bad = draws(rng, 2500, 0.0, 0.02)
        held += start.observe(0, Purpose.HELD, (0.001, 0.004), bad).held_arm is not None
        both = np.hstack([draws(rng, 1500, TAU), draws(rng, 1500, 0.02)])
        broke += start.observe(0, Purpose.BROKE, (0.03, 0.06), both).broke_arm is not None
    assert runs * DELTA / 5 < held <= at_most(DELTA, runs)
    assert 0 < broke <= at_most(DELTA, runs)


def test_blocks_keep_bursts_from_proving_anything() -> None:
    rng, runs, burst = default_rng(4), 300, 20
    false_held = {}
    for block in (1, burst):
        start = Certificate.start(1, (TAU,), THRESHOLD, block)
        false_held[block] = sum(
            start.observe(
                0, Purpose.HELD, (0.002,), np.repeat(draws(rng, 800, TAU), burst, axis=0)
            ).held_arm
            is not None
            for _ in range(runs)
        )
    assert false_held[burst] <= at_most(DELTA, runs)
    assert false_held[1] > 0.4 * runs


def test_an_incomplete_block_can_only_lose() -> None:
    start = Certificate.start(2, (TAU,), THRESHOLD, block=10)
    step = math.log(0.999 / 0.99) / 10
    full = certify(start, 0, Purpose.HELD, 0.001, 20, GOOD)
    assert full.own_held(0) == pytest.approx(20 * step)
    assert certify(start, 0, Purpose.HELD, 0.001, 25, GOOD).own_held(0) == pytest.approx(20 * step)
    assert certify(start, 0, Purpose.HELD, 0.001, 1, BAD).own_held(0) == pytest.approx(
        math.log(0.1) / 10
    )


def test_a_void_exposure_keeps_its_losses_and_loses_its_gains() -> None:
    before = certify(Certificate.start(3, (TAU,), THRESHOLD), 1, Purpose.HELD, 0.001, 100, GOOD)
    gained = certify(before, 1, Purpose.HELD, 0.001, 400, GOOD)
    lost = certify(before, 1, Purpose.HELD, 0.001, 3, BAD)
    mixed = certify(lost, 2, Purpose.BROKE, 0.2, 1, BAD)
    assert gained.held_arm == 1
    voided = gained.keep_losses(before)
    assert voided.held_arm is None
    assert voided.log_e.tolist() == before.log_e.tolist()
    assert lost.keep_losses(before).log_e.tolist() == lost.log_e.tolist()
    assert mixed.keep_losses(before).log_e.tolist() == lost.log_e.tolist()


GRID = (1.0, 1.05, 1.10, 1.2, 1.6, 1.7)


@pytest.mark.parametrize(
    ("held", "broke", "expected"),
    [
        (None, None, (None, None, False)),
        (1, None, (1, None, False)),
        (1, 4, (1, 4, False)),
        (0, 2, (0, 2, True)),  # 1.10 / 1.0: exactly the resolution
        (0, 3, (0, 3, False)),
        (3, 4, (3, 4, True)),  # neighbours, however far apart
    ],
)
def test_a_bracket_closes_at_the_resolution_or_between_neighbours(
    held: int | None, broke: int | None, expected: tuple[int | None, int | None, bool]
) -> None:
    certificate = Certificate.start(len(GRID), (TAU,), THRESHOLD)
    if held is not None:
        certificate = certify(certificate, held, Purpose.HELD, 0.001, 400, GOOD)
    if broke is not None:
        certificate = certify(certificate, broke, Purpose.BROKE, 0.3, 1, BAD)
    assert claimed_bracket(certificate, GRID, 0.10) == expected


def test_a_reported_arm_must_have_been_sampled_itself() -> None:
    start = Certificate.start(len(GRID), (TAU,), THRESHOLD)
    pooled = certify(start, 2, Purpose.HELD, 0.001, 200, GOOD)  # log E = 1.8
    pooled = certify(pooled, 1, Purpose.HELD, 0.001, 150, GOOD)  # + 1.4 reaches it for arm 1
    assert (pooled.held_arm, pooled.own_held(2) > math.log(3)) == (1, True)
    assert claimed_bracket(pooled, GRID, 0.1)[0] == 1
    upper_only = certify(start, 2, Purpose.HELD, 0.001, 400, GOOD)
    lost = replace(upper_only, held=np.zeros_like(upper_only.held))
    assert lost.held_arm == 2
    assert claimed_bracket(lost, GRID, 0.1)[0] is None
    assert lost.missing_held(2) == pytest.approx(math.log(3))


def test_the_test_of_one_ratio_rarely_errs_however_often_one_looks() -> None:
    rng, runs, n = default_rng(5), 600, 2000
    above = below = 0
    for _ in range(runs):
        at = np.flatnonzero(rng.random(n) < TAU)
        # Evidence for above peaks at a bad sample, evidence for below just before one.
        above += any(log_e_above(int(i) + 1, k + 1, TAU) >= THRESHOLD for k, i in enumerate(at))
        below += any(log_e_below(int(i), k, TAU) >= THRESHOLD for k, i in enumerate([*at, n]))
    assert 0 < above <= at_most(DELTA, runs)
    assert 0 < below <= at_most(DELTA, runs)


def test_the_test_of_one_ratio_finds_what_is_there() -> None:
    assert log_e_above(60, 6, TAU) > THRESHOLD
    assert log_e_below(500, 0, TAU) > THRESHOLD
    assert log_e_above(0, 0, TAU) == pytest.approx(0.0)
    assert log_e_above(500, 0, TAU) < 0 and log_e_below(60, 6, TAU) < 0


@pytest.mark.parametrize("p", [0.01, 0.3])
def test_the_interval_covers_at_all_times_at_once(p: float) -> None:
    rng, runs = default_rng(6), 300
    looks = [int(1.35**i) + 1 for i in range(25)]
    missed = 0
    for _ in range(runs):
        bad = np.cumsum(rng.random(looks[-1]) < p)
        bounds = (interval(n, int(bad[n - 1]), 0.1) for n in looks)
        missed += any(not low <= p <= high for low, high in bounds)
    assert missed <= at_most(0.1, runs)


@pytest.mark.parametrize(("n", "bad"), [(0, 0), (10, 0), (10, 10), (100, 1), (5000, 50)])
def test_the_interval_holds_the_ratio_seen_and_narrows(n: int, bad: int) -> None:
    low, high = interval(n, bad, DELTA)
    assert 0.0 <= low <= (bad / n if n else 0.0) <= high <= 1.0
    more_low, more_high = interval(10 * n, 10 * bad, DELTA)
    assert (more_high - more_low < high - low) == (n > 0)


def test_nothing_slow_is_imported() -> None:
    code = (
        "import sys, chaosbandit.core.policies.certify;"
        "print([m for m in ('scipy', 'pydantic', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
