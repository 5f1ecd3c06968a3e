"""Certificates: exact numbers, validity under peeking, dependence, several SLOs, voiding."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.stats import binom

from chaosbandit.core.evidence import RESERVE, Certificate, claimed_bracket
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


def with_cash(log_factor: float) -> float:
    """Log wealth once the stake has been multiplied and the cash lay still."""
    return math.log(RESERVE + (1.0 - RESERVE) * math.exp(log_factor))


def test_evidence_adds_up_by_the_formula() -> None:
    start = Certificate.start(4, (TAU,), THRESHOLD)
    one = start.observe(1, Purpose.HELD, (0.002,), [GOOD, GOOD, BAD])
    both = one.observe(2, Purpose.BROKE, (0.15,), [BAD, GOOD])
    held = 2 * math.log(0.998 / 0.99) + math.log(0.2)
    broke = math.log(15) + math.log(0.85 / 0.99)
    wealth = with_cash(held)
    assert both.log_e.tolist() == pytest.approx([wealth, wealth, 0.0, broke, broke])
    assert both.own_held(1) == pytest.approx(held)
    assert both.own_broke(2) == pytest.approx(broke)
    assert with_cash(held + both.missing_held(1)) == pytest.approx(THRESHOLD)
    assert both.missing_broke(2) == pytest.approx(THRESHOLD - broke)
    assert start.log_e.tolist() == pytest.approx([0.0] * 5)  # the old one is untouched


def test_search_samples_change_nothing() -> None:
    start = Certificate.start(3, (TAU,), THRESHOLD)
    assert start.observe(1, Purpose.SEARCH, (), [BAD] * 50) is start


def test_arms_are_called_once_the_threshold_is_met() -> None:
    start = Certificate.start(5, (TAU,), THRESHOLD)
    q = 0.001
    needed = math.ceil(start.missing_held(1) / math.log((1 - q) / (1 - TAU)))
    assert needed == 343  # 332 without a reserve
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


Batch = tuple[int, Purpose, tuple[float, ...], list[tuple[bool, ...]], bool]


class Looking:
    """The formulas of `Certificate`, number by number, with a look after every block."""

    def __init__(self, arms: int, taus: tuple[float, ...], block: int) -> None:
        self.taus, self.block, slos, crossings = taus, block, range(len(taus)), range(arms + 1)
        self.cash = [[RESERVE for _ in crossings] for _ in slos]
        self.stake = [[1.0 - RESERVE for _ in crossings] for _ in slos]
        self.broke = [[1.0 for _ in range(arms)] for _ in slos]
        self.peak = [1.0 for _ in crossings]

    def e(self, k: int) -> float:
        wealth = [cash[k] + stake[k] for cash, stake in zip(self.cash, self.stake, strict=True)]
        products = [math.prod(broke[:k]) for broke in self.broke]
        return min(wealth) * sum(products) / len(products)

    def observe(self, batch: Batch) -> None:
        arm, purpose, bets, rows, opens = batch
        held = purpose is Purpose.HELD
        for s in range(len(self.taus)) if held and opens else ():
            for k in range(arm + 1):
                if self.stake[s][k] < self.cash[s][k]:
                    self.cash[s][k] /= 2
                    self.stake[s][k] += self.cash[s][k]
        for start in range(0, len(rows), self.block):
            self._look_after(arm, held, bets, rows[start : start + self.block])

    def _look_after(
        self, arm: int, held: bool, bets: tuple[float, ...], rows: Sequence[tuple[bool, ...]]
    ) -> None:
        for s, (q, tau) in enumerate(zip(bets, self.taus, strict=True)):
            ratios = [q / tau if row[s] else (1 - q) / (1 - tau) for row in rows]
            factor = math.prod(ratios) ** (1 / self.block)
            factor = factor if len(rows) == self.block else min(factor, 1.0)
            for k in range(arm + 1) if held else ():
                self.stake[s][k] *= factor
            self.broke[s][arm] *= 1.0 if held else factor
        self.peak = [max(peak, self.e(k)) for k, peak in enumerate(self.peak)]


def random_batches(rng: Generator, arms: int, taus: tuple[float, ...]) -> list[Batch]:
    """Stays at an arm, turns of purpose, new decisions, bets changed on the way; hiccups as well.

    In some, one SLO breaks while the others are clean, which pulls their evidence apart.
    """
    batches, arm, held = list[Batch](), 0, True
    for _ in range(int(rng.integers(3, 40))):
        if rng.random() < 0.3:
            arm, held = int(rng.integers(arms)), bool(rng.random() < 0.6)
        odd = rng.random(len(taus)) < 0.3
        ratios = np.where(odd, rng.choice([0.0, 0.2, 1.0]), np.array(taus) * (0.3 if held else 3))
        low, high = (0.02, 0.9) if held else (1.1, 4.0)
        bets = tuple(tau * float(rng.uniform(low, high)) for tau in taus)
        n = int(rng.choice([1, 1, 3, 8, 40, 300]))
        rows = [tuple(row) for row in (rng.random((n, len(taus))) < ratios).tolist()]
        purpose = Purpose.HELD if held else Purpose.BROKE
        batches.append((arm, purpose, bets, rows, bool(rng.random() < 0.5)))
    return batches


@pytest.mark.parametrize("taus", [(TAU,), (0.05, 0.02), (0.05, 0.02, 0.1)])
@pytest.mark.parametrize("block", [1, 4])
def test_a_lazy_fold_is_a_look_after_every_block(taus: tuple[float, ...], block: int) -> None:
    rng, arms, ruled_out = default_rng(8), 4, 0
    for _ in range(40):
        lazy, eager = Certificate.start(arms, taus, THRESHOLD, block), Looking(arms, taus, block)
        unread = lazy  # nobody reads its arrays on the way
        for batch in random_batches(rng, arms, taus):
            eager.observe(batch)
            lazy, unread = lazy.observe(*batch), unread.observe(*batch)
            expected = [peak >= 1 / DELTA - 1e-7 for peak in eager.peak]
            assert lazy.ruled_out.tolist() == unread.ruled_out.tolist() == expected
            assert lazy.log_e == pytest.approx([math.log(eager.e(k)) for k in range(arms + 1)])
        ruled_out += sum(expected)
        assert unread.peak == pytest.approx(np.log(eager.peak))
        assert np.exp(unread.broke) == pytest.approx(np.array(eager.broke))
    assert 20 < ruled_out < 180


def test_what_a_new_decision_stakes_waits_for_its_first_samples() -> None:
    low = certify(Certificate.start(2, (TAU,), THRESHOLD), 1, Purpose.HELD, 0.001, 3, BAD)
    assert low.log_e[0] == pytest.approx(math.log(RESERVE + 0.9e-3))
    assert low.observe(1, Purpose.HELD, (0.001,), [], opens=True) is low
    gain = math.log(0.999 / 0.99)
    extended = low.observe(1, Purpose.HELD, (0.001,), [GOOD] * 50)
    opened = low.observe(1, Purpose.HELD, (0.001,), [GOOD] * 50, opens=True)
    cash, stake = RESERVE / 2, RESERVE / 2 + 0.9e-3
    assert extended.log_e[0] == pytest.approx(math.log(RESERVE + 0.9e-3 * math.exp(50 * gain)))
    assert opened.log_e[0] == pytest.approx(math.log(cash + stake * math.exp(50 * gain)))
    again = opened.observe(1, Purpose.HELD, (0.001,), [GOOD], opens=True)  # nothing is below
    assert again.log_e[0] == pytest.approx(math.log(cash + stake * math.exp(51 * gain)))
    assert low.missing_held(0) == pytest.approx(math.log((20 - cash) / stake))
    assert low.missing_held(1) == pytest.approx(math.log(3) - low.own_held(1))


@pytest.mark.parametrize("block", [1, 5])
@pytest.mark.parametrize("cuts", [[5], [10, 15, 60], list(range(5, 100, 5))])
def test_the_rows_of_a_decision_may_come_in_pieces(block: int, cuts: list[int]) -> None:
    rng, taus, bets = default_rng(9), (TAU, 0.05), (0.001, 0.01)
    spoilt = Certificate.start(3, taus, THRESHOLD, block)
    spoilt = spoilt.observe(2, Purpose.HELD, bets, [(True, True)] * 30)
    rows = draws(rng, 100, TAU, 0.05)
    whole = spoilt.observe(1, Purpose.HELD, bets, rows, opens=True)
    pieces = spoilt
    for number, piece in enumerate(np.split(rows, cuts)):
        pieces = pieces.observe(1, Purpose.HELD, bets, piece, opens=number == 0)
    assert pieces.log_e == pytest.approx(whole.log_e)
    assert pieces.peak == pytest.approx(whole.peak)


def hostile(rng: Generator, certificate: Certificate, true: int) -> tuple[int, Purpose, float, int]:
    """An arm, a purpose, a bet in shares of tau and a size, with the true crossing as the prey.

    It bets small after gains and all at once after losses, and opens decisions of a sample or two
    as soon as cash could be staked.
    """
    arms, log_e = certificate.held.shape[1], float(certificate.log_e[true])
    if rng.random() < 0.75 or true == 0:
        arm, share = (
            int(rng.integers(true, arms)),
            0.5 if log_e > 0 else float(rng.uniform(0.01, 0.3)),
        )
        poor = certificate.own_held(arm) < -1.0
        return arm, Purpose.HELD, share, int(rng.integers(1, 3)) if poor else 25
    enough = math.exp(min(THRESHOLD - log_e, 2.5))
    return int(rng.integers(true)), Purpose.BROKE, max(enough, 1.2), int(rng.integers(1, 20))


@pytest.mark.parametrize(
    ("taus", "below", "above"),
    [
        ((0.05,), (0.05,), (0.05,)),
        ((0.05, 0.02), (0.05, 0.02), (0.0, 0.02)),  # from the crossing on, the second one breaks
    ],
)
def test_the_true_crossing_is_rarely_lost_to_hostile_bets_and_fresh_stakes(
    taus: tuple[float, ...], below: tuple[float, ...], above: tuple[float, ...]
) -> None:
    rng, runs, true, lost, staked = default_rng(10), 400, 2, 0, 0
    for _ in range(runs):
        certificate = Certificate.start(4, taus, THRESHOLD)
        for _ in range(60):
            arm, purpose, share, n = hostile(rng, certificate, true)
            bets = tuple(min(share * tau, 0.9) for tau in taus)
            bad = draws(rng, n, *(below if arm < true else above))
            certificate = certificate.observe(arm, purpose, bets, bad, opens=True)
            if certificate.ruled_out[true]:
                break
        lost += bool(certificate.ruled_out[true])
        staked += bool((certificate.ledger.cash < math.log(RESERVE) - 0.1).any())
    assert runs * DELTA / 10 < lost <= binom.ppf(0.999, runs, DELTA)
    assert staked > runs / 3  # or the reserve was never asked


def test_a_hiccup_at_an_arm_does_not_poison_its_neighbour() -> None:
    q, spoilt = 0.002, 30
    gain, loss = math.log((1 - q) / (1 - TAU)), math.log(q / TAU)
    product = math.ceil((THRESHOLD - spoilt * loss) / gain)  # good samples that a product needs
    certificate = certify(Certificate.start(6, (TAU,), THRESHOLD), 3, Purpose.HELD, q, spoilt, BAD)
    needed = 0
    while claimed_bracket(certificate, GRID, 0.1)[0] is None:
        certificate = certificate.observe(2, Purpose.HELD, (q,), [GOOD] * 20, opens=True)
        needed += 20
    assert product > 6000
    assert needed < 800


@pytest.mark.parametrize("fresh", [False, True])
def test_a_void_exposure_leaves_the_poorer_wealth(fresh: bool) -> None:
    spoilt = certify(Certificate.start(3, (TAU,), THRESHOLD), 1, Purpose.HELD, 0.001, 9, BAD)
    gained = spoilt.observe(1, Purpose.HELD, (0.001,), [GOOD] * 200, opens=fresh)
    lost = spoilt.observe(1, Purpose.HELD, (0.001,), [BAD] * 2, opens=fresh)
    assert gained.keep_losses(spoilt).log_e.tolist() == spoilt.log_e.tolist()
    voided = lost.keep_losses(spoilt)
    assert voided.log_e.tolist() == lost.log_e.tolist()
    assert (voided.log_e <= spoilt.log_e + 1e-12).all()
    assert (voided.ledger.cash[0, 0] < spoilt.ledger.cash[0, 0]) is np.bool_(fresh)
    assert voided.peak.tolist() == spoilt.peak.tolist()
    more = (1, Purpose.HELD, (0.001,), [GOOD] * 30, True)
    assert voided.observe(*more).log_e == pytest.approx(lost.observe(*more).log_e)


@pytest.mark.parametrize(
    ("purpose", "bets"),
    [
        (Purpose.HELD, (TAU,)),
        (Purpose.HELD, (0.02,)),
        (Purpose.HELD, (0.0,)),
        (Purpose.HELD, (math.nan,)),
        (Purpose.BROKE, (TAU,)),
        (Purpose.BROKE, (0.001,)),
        (Purpose.BROKE, (1.0,)),
        (Purpose.HELD, (0.001, 0.001)),
        (Purpose.HELD, ()),
    ],
)
def test_a_bet_that_would_not_be_valid_is_refused(
    purpose: Purpose, bets: tuple[float, ...]
) -> None:
    valid = (0.001,) if purpose is Purpose.HELD else (0.1,)
    start = Certificate.start(2, (TAU,), THRESHOLD)
    for certificate in (start, start.observe(0, purpose, valid, [GOOD])):
        for rows in (1, 100):
            with pytest.raises(ValueError):
                certificate.observe(0, purpose, bets, [GOOD] * rows)


@pytest.mark.parametrize("rows", [1, 100])
def test_samples_of_another_number_of_slos_are_refused(rows: int) -> None:
    with pytest.raises(ValueError):
        Certificate.start(2, (TAU,), THRESHOLD).observe(
            0, Purpose.HELD, (0.001,), [(False, False)] * rows
        )


def test_a_bet_out_of_range_is_refused_without_assertions_too() -> None:
    code = (
        "from chaosbandit.core.evidence import Certificate\n"
        "from chaosbandit.core.model import Purpose\n"
        "try: Certificate.start(1, (0.01,), 3.0).observe(0, Purpose.HELD, (0.5,), [(True,)])\n"
        "except ValueError as refused: print(refused)"
    )
    command = [sys.executable, "-O", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "a bet on held lies between 0.0 and 0.01, not at 0.5"


def fastest_s(*actions: Callable[[], None], times: int = 15) -> list[float]:
    """The least of several measurements of each, in turns: other work then disturbs all alike."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(times):
        for action, mine in zip(actions, taken, strict=True):
            began = time.perf_counter()
            action()
            mine.append(time.perf_counter() - began)
    return [min(mine) for mine in taken]


@pytest.mark.parametrize(
    ("taus", "ratios"),
    [((TAU,), (TAU,)), ((TAU, 0.05), (TAU, 0.05)), ((TAU, 0.05), (0.0, 1.0))],
)
@pytest.mark.parametrize("purpose", [Purpose.HELD, Purpose.BROKE])
def test_a_sample_costs_the_same_however_many_came_before(
    taus: tuple[float, ...], ratios: tuple[float, ...], purpose: Purpose
) -> None:
    rng = default_rng(11)
    share = 0.3 if purpose is Purpose.HELD else 3.0
    bets = tuple(tau * share for tau in taus)
    rows = [[tuple(row)] for row in draws(rng, 100_000, *ratios).tolist()]
    seen = []
    certificate = Certificate.start(400, taus, 1e6)
    for row in rows:
        certificate = certificate.observe(200, purpose, bets, row)
        assert certificate.held_arm is None
        seen.append(certificate)

    def go_on(certificate: Certificate, start: int) -> None:
        for row in rows[start : start + 300]:
            certificate = certificate.observe(200, purpose, bets, row)
            assert certificate.held_arm is None

    early, late = seen[999], seen[99_000]
    late_s, early_s = fastest_s(lambda: go_on(late, 99_000), lambda: go_on(early, 1000))
    assert late_s <= 1.5 * early_s
    assert late.held[:, 200] == pytest.approx(
        Certificate.start(400, taus, 1e6)
        .observe(200, purpose, bets, np.array(rows[:99_001]).reshape(-1, len(taus)))
        .held[:, 200]
    )


def test_thousands_of_rows_at_once_cost_a_fraction_of_one_by_one() -> None:
    taus, bets = (TAU, 0.05), (0.003, 0.015)
    start, bad = Certificate.start(400, taus, 1e6), draws(default_rng(12), 5000, *taus)

    def one_by_one() -> None:
        certificate = start
        for row in bad[:500]:
            certificate = certificate.observe(200, Purpose.HELD, bets, row[None])

    def at_once() -> None:
        start.observe(200, Purpose.HELD, bets, bad)

    at_once_s, one_by_one_s = fastest_s(at_once, one_by_one, times=5)
    assert at_once_s < one_by_one_s  # for ten times as many


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
    lost = certify(upper_only, 2, Purpose.HELD, 0.001, 2, BAD)
    assert lost.held_arm == 2
    assert claimed_bracket(lost, GRID, 0.1)[0] is None
    assert lost.missing_held(2) == pytest.approx(math.log(3) - lost.own_held(2))


def test_nothing_slow_is_imported() -> None:
    code = (
        "import sys, chaosbandit.core.policies.certify;"
        "print([m for m in ('scipy', 'pydantic', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
