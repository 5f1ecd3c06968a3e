from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chaosbandit.core.evidence import Certificate
from chaosbandit.core.model import Expose, Purpose, Validity
from chaosbandit.core.samples_to_evidence import Weighed, Weighing, weighed_anew
from tests.simulated import ladder

TAU, Q_HELD, Q_BROKE = 0.01, 0.001, 0.9
GOOD, BAD = math.log((1 - Q_HELD) / (1 - TAU)), math.log(Q_HELD / TAU)
ARMS = ladder(0.1, 0.2)
VALID, VOID, BLIND = Validity(True), Validity(False, "void"), Validity(False, "c", blind=True)


def empty(block: int = 1) -> Weighing:
    certificate = Certificate.start(len(ARMS.severities), [TAU], math.log(20), block)
    return Weighing.start(certificate)


def bet(purpose: Purpose = Purpose.HELD, arm: int = 3, ends: int | None = None) -> Expose:
    q = {Purpose.HELD: (Q_HELD,), Purpose.BROKE: (Q_BROKE,)}.get(purpose, ())
    return Expose(ARMS.variant(arm), 50, purpose, q, ends)


def weighed(weighing: Weighing, number: int, decision: Expose, flags: str) -> Weighing:
    """`x` is a bad sample."""
    for flag in flags:
        weighing = weighing.plus(number, decision, (flag == "x",))
    return weighing


def own(weighing: Weighing, arm: int = 3) -> float:
    return weighing.certificate.own_held(arm)


@pytest.mark.parametrize("purpose", [Purpose.SEARCH, Purpose.HOLD])
def test_without_bets_nothing_is_evidence(purpose: Purpose) -> None:
    after = weighed(empty(4), 0, bet(purpose), "..x.....xxx").ended(VALID)
    assert (after.certificate.peak == 0.0).all()
    assert (after.certificate.held == 0.0).all()


def test_a_block_counts_once_it_is_whole() -> None:
    for n, worth in ((3, 0.0), (4, GOOD), (7, GOOD), (8, 2 * GOOD)):
        assert own(weighed(empty(4), 0, bet(), "." * n)) == pytest.approx(worth)


@pytest.mark.parametrize("flags", ["..", ".x"])
@pytest.mark.parametrize("decided", [2, 50])
@pytest.mark.parametrize("ends", [None, 1])
def test_a_held_block_that_was_cut_is_charged_its_rest_as_bad(
    flags: str, decided: int, ends: int | None
) -> None:
    """Whatever cut it: a guardrail, its bad samples, or time where slow answers kept others back.

    One that ends with the samples that were decided was not cut.
    """
    decision = replace(bet(ends=ends), samples=decided)
    after = weighed(empty(4), 0, decision, flags).ended(VALID)
    bad = flags.count("x")
    sent = ((len(flags) - bad) * GOOD + bad * BAD) / 4
    charge = 2 * BAD / 4 if decided > len(flags) else 0.0
    assert own(after) == pytest.approx(min(0.0, sent + charge))


def test_so_it_is_when_another_decision_follows() -> None:
    first = weighed(empty(4), 0, bet(ends=1), ".x")
    after = weighed(first, 1, bet(), "....")
    assert own(after) == pytest.approx((GOOD + 3 * BAD) / 4 + GOOD)


def test_a_broke_block_that_was_cut_is_charged_no_more() -> None:
    decision = bet(Purpose.BROKE, ends=1)
    after = weighed(empty(4), 0, decision, ".x").ended(VALID)
    worth = (math.log(Q_BROKE / TAU) + math.log((1 - Q_BROKE) / (1 - TAU))) / 4
    assert after.certificate.own_broke(3) == pytest.approx(min(0.0, worth))


@pytest.mark.parametrize(
    ("validity", "flags", "kept"),
    [
        (VALID, "....", 8 * GOOD),
        (VOID, "....", 4 * GOOD),
        (BLIND, "....", 4 * GOOD),
        (VALID, "x", 4 * GOOD + BAD),
        (VOID, "x", 4 * GOOD + BAD),
        (BLIND, "x", 4 * GOOD),
    ],
)
def test_what_stays_of_an_exposure(validity: Validity, flags: str, kept: float) -> None:
    before = weighed(empty(), 0, bet(), "....").ended(VALID)
    after = weighed(before, 1, bet(), flags).ended(validity)
    assert own(after) == pytest.approx(kept)


def test_the_numbers_of_decisions_tell_two_apart_though_they_are_equal() -> None:
    together = weighed(empty(4), 0, bet(), "....")
    two = replace(bet(), samples=2)
    apart = weighed(weighed(empty(4), 0, two, ".."), 1, two, "..")
    assert own(together) == pytest.approx(GOOD)
    assert own(apart.ended(VALID)) == 0.0


@pytest.mark.parametrize("block", [1, 4])
def test_many_at_once_are_as_good_as_one_by_one(block: int) -> None:
    flags = np.random.default_rng(2).random(101) < 0.05
    one_by_one = weighed(empty(block), 0, bet(), "".join("x" if f else "." for f in flags))
    one_by_one = one_by_one.ended(VALID)
    at_once = empty(block).many(0, bet(), flags[:, None]).ended(VALID)
    assert at_once.certificate.log_e == pytest.approx(one_by_one.certificate.log_e)
    assert at_once.certificate.peak == pytest.approx(one_by_one.certificate.peak)


@pytest.mark.parametrize("longer", [1, 3, 8])
@pytest.mark.parametrize("seed", range(6))
def test_a_history_is_weighed_anew_as_the_fold_would_have_had_it(longer: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    entries: list[Weighed | Validity] = []
    decisions: dict[int, Expose] = {}
    folded = empty(longer)
    for number in range(30):
        purpose = (Purpose.HELD, Purpose.BROKE, Purpose.SEARCH, Purpose.HOLD)[rng.integers(4)]
        ends = None if rng.random() < 0.5 else 2
        decisions[number] = bet(purpose, int(rng.integers(8)), ends)
        for flag in rng.random(rng.integers(1, 30)) < 0.03:
            entries.append(Weighed(number, (bool(flag),)))
            folded = folded.plus(number, decisions[number], (bool(flag),))
        if rng.random() < 0.6:
            closed = (VALID, VOID, BLIND)[rng.integers(3)]
            entries.append(closed)
            folded = folded.ended(closed)
    again = weighed_anew(empty(longer).certificate, entries, decisions)
    assert again.certificate.log_e == pytest.approx(folded.certificate.log_e)
    assert again.certificate.peak == pytest.approx(folded.certificate.peak)
    assert again.pending == folded.pending
    assert (again.number, again.opens, again.sent) == (folded.number, folded.opens, folded.sent)


def test_a_new_decision_opens_and_its_other_samples_do_not() -> None:
    """At its opening half of the cash may be staked anew, and only then."""
    spoilt = weighed(empty(), 0, bet(), "xxx")
    staked = spoilt.plus(1, replace(bet(), samples=60), (False,))
    cash = staked.certificate.ledger.cash
    assert cash[0, 3] == pytest.approx(math.log(0.1 / 2))
    more = weighed(staked, 1, replace(bet(), samples=60), "...")
    assert more.certificate.ledger.cash[0, 3] == cash[0, 3]
