"""Single decisions: complaints beside those that end a run (`core.forbidden_decisions`)."""

from __future__ import annotations

import numpy as np

from chaosbandit.core.forbidden_decisions import ALLOWED
from chaosbandit.core.model import Purpose, Stop
from chaosbandit.sim.conformance.decision_rules import (
    DECISION_RULES,
    complaint,
    keeps_to_max_samples,
    samples_left,
    sends_whole_blocks,
)
from tests.policy_steps import batch, changed, fold, opened, seen


def test_a_look_at_the_mildest_arm_is_no_reason_to_complain() -> None:
    climb = opened()
    assert complaint(climb, batch(climb)) is None
    assert complaint(climb, Stop("no time")) is None
    found = complaint(climb, batch(climb, 1))
    assert found == "found arm 1 as the first exposure, wanted arm 0"


def test_samples_in_flight_count_towards_the_limit() -> None:
    climb = changed(seen(opened(max_samples=30), 0, 10), unresolved=5)
    assert samples_left(climb) == 15
    assert keeps_to_max_samples(climb, batch(climb, samples=15)) is None
    found = keeps_to_max_samples(climb, batch(climb, samples=16))
    assert found == "found samples=16, wanted at most 15 (10 of 30 spent, 5 in flight)"


def test_blocks_are_whole_but_for_the_last() -> None:
    climb = seen(opened(block=8, max_samples=30), 0, 16)
    fits = [n for n in range(1, 30) if sends_whole_blocks(climb, batch(climb, samples=n)) is None]
    assert fits == [8, 14, 16, 24]


def test_where_there_is_an_answer_it_ends() -> None:
    climb = opened()
    sick = batch(climb, purpose=Purpose.BROKE, bets=(0.5,), samples=9)
    broken = fold(climb, sick, np.ones((9, 1), dtype=np.bool_))
    assert (complaint(broken, batch(broken)) or "").startswith("found 8 more samples, wanted a St")
    assert complaint(broken, Stop("tired")) is None


def test_they_begin_with_what_no_run_carries_out() -> None:
    assert DECISION_RULES[: len(ALLOWED)] == ALLOWED
