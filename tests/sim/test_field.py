"""Attacks on the first version, a few campaigns each (long form: benchmarks/field.py).

Every lesson is shown twice: as the product is, and with its cure taken away, which must fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from numpy.random import Generator
from pytest import MonkeyPatch

from benchmarks.attacks import ATTACKS, Attack, Case
from benchmarks.field import Met, met, row_of
from chaosbandit.core import certified_claims, confirmation, steady_state
from chaosbandit.core.doses.latency import Latency
from chaosbandit.core.policies import _affordable_bracket, certify
from chaosbandit.core.samples_to_evidence import Weighing
from chaosbandit.core.scenario import Timing
from chaosbandit.core.steady_state import Look
from chaosbandit.engine.exposure import Exposer
from chaosbandit.errors import Exit
from chaosbandit.plan.intervals import of_share

Without = Callable[[MonkeyPatch, Attack], Attack]  # the attack on a product without the cure


def true(found: Met) -> bool:
    return not found.held_false and not found.broke_false


def bracketed(found: Met) -> bool:
    return true(found) and found.sides == 2


def partly(found: Met) -> bool:
    return true(found) and found.sides >= 1


# --- cures taken away -----------------------------------------------------------------------------


def asking(attack: Attack, change: Callable[[Case], Case]) -> Attack:
    """The same world, asked otherwise."""

    def build(rng: Generator) -> Case:
        return change(attack.build(rng))

    return replace(attack, build=build)


def no_hold(patch: MonkeyPatch, attack: Attack) -> Attack:
    def at_once(case: Case) -> Case:
        return replace(case, asked=replace(case.asked, search=replace(case.asked.search, hold_s=0)))

    return asking(attack, at_once)


def all_or_nothing(patch: MonkeyPatch, attack: Attack) -> Attack:
    patch.setattr(_affordable_bracket, "narrowest", lambda reading, plan: (plan, False))
    return attack


def refused_is_over(patch: MonkeyPatch, attack: Attack) -> Attack:
    patch.setattr(certify, "_or_held", lambda reading, batch: batch)
    return attack


def one_exposure_condemns(patch: MonkeyPatch, attack: Attack) -> Attack:
    of_all = confirmation._at
    patch.setattr(
        confirmation,
        "_at",
        lambda climb, arm: sorted(of_all(climb, arm), key=lambda each: -max(each.bad))[:1],
    )
    return attack


def two_are_a_clump(patch: MonkeyPatch, attack: Attack) -> Attack:
    patch.setattr(steady_state, "is_clump", lambda run, samples, ratio: run >= 2)
    return attack


def one_look(patch: MonkeyPatch, attack: Attack) -> Attack:
    async def recovered(self: Exposer, n: int) -> Look:
        return await self.baseline.wash_out(n, self.scenario.timing.washout_s)

    patch.setattr(Exposer, "_recovered", recovered)
    return attack


def long_warm_up(patch: MonkeyPatch, attack: Attack) -> Attack:
    def as_before(case: Case) -> Case:
        return replace(case, asked=replace(case.asked, timing=Timing(2.0, 100)))

    patch.setattr("chaosbandit.core.guardrail.hopeless", lambda warmed: False)
    return asking(attack, as_before)


def noise_vouches(patch: MonkeyPatch, attack: Attack) -> Attack:
    patch.setattr(certified_claims, "tells", lambda campaign, exposure: True)
    return attack


def any_dose_will_do(patch: MonkeyPatch, attack: Attack) -> Attack:
    patch.setattr(Latency, "delivery", lambda *seen: None)
    return attack


def fixed_windows(patch: MonkeyPatch, attack: Attack) -> Attack:
    patch.setattr(steady_state, "window", lambda scenario: 10)
    patch.setattr(steady_state, "limit_s", lambda scenario, wanted_s: wanted_s)
    return attack


def cut_blocks_are_dropped(patch: MonkeyPatch, attack: Attack) -> Attack:
    patch.setattr(Weighing, "_block_closed", _only_whole)
    return attack


def _only_whole(weighing: Weighing) -> Weighing:
    """A block that was cut counts for nothing, whatever cut it."""
    whole = len(weighing.pending) == weighing.certificate.block
    return weighing._with(weighing.pending) if whole else replace(weighing, pending=())


# --- lessons --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesson:
    """Seeded campaigns, what each of them must come to, and what that owes to."""

    attack: str
    kept: Callable[[Met], bool]
    without: Without
    runs: int = 2

    def __str__(self) -> str:
        return self.attack


LESSONS = [
    Lesson("1 hold, 100% fail from 10 s on", true, no_hold),
    Lesson("1 hold, 15% fail from 20 s on", true, no_hold),
    Lesson("2 limits, width 0.1, 500 requests", partly, all_or_nothing),
    Lesson("2 limits, cliff, 40 bad", partly, refused_is_over, runs=3),
    Lesson("3 hiccup, machine, late", bracketed, one_exposure_condemns),
    Lesson(
        "4 clumps, 0.5 tau, two in a row at first",
        lambda found: bracketed(found) and found.block == 1 and found.requests < 10_000,
        two_are_a_clump,
    ),
    Lesson("5 recovery, breaker, 20 s open", bracketed, one_look),
    Lesson(
        "6 warm-up, cliff at 50/s",
        lambda found: bracketed(found) and found.bad <= 50,
        long_warm_up,
    ),
    Lesson("7 dose, path not used", lambda found: found.sides == 0, noise_vouches),
    Lesson("7 dose, 400 ms more arrive", true, any_dose_will_do),
    Lesson("7 dose, checks refused", true, any_dose_will_do),
    Lesson("8 rates, 30/min, 30 min", partly, fixed_windows),
    Lesson(
        "8 rates, 30/min, interrupted",
        lambda found: found.exit_code == Exit.SIGINT,
        fixed_windows,
        runs=4,
    ),
    Lesson("11 policy, quits, block 8", true, cut_blocks_are_dropped),
]


@pytest.mark.parametrize("lesson", LESSONS, ids=str)
def test_the_field_s_lessons_are_learnt(lesson: Lesson) -> None:
    attack = ATTACKS[lesson.attack]
    found = [met(attack, seed) for seed in range(1, lesson.runs + 1)]
    assert all(lesson.kept(each) for each in found), found


@pytest.mark.parametrize("lesson", LESSONS, ids=str)
def test_each_lesson_owes_to_its_cure(lesson: Lesson, monkeypatch: MonkeyPatch) -> None:
    attack = lesson.without(monkeypatch, ATTACKS[lesson.attack])
    found = [met(attack, seed) for seed in range(1, lesson.runs + 1)]
    assert not all(lesson.kept(each) for each in found), found


def test_rows_sum_up_their_campaigns() -> None:
    attack = ATTACKS["7 dose, checks refused"]
    row = row_of(attack, [met(attack, seed) for seed in (1, 2)])
    assert (row["runs"], row["false"], row["two"], row["one"], row["unknown"]) == (2, 0, 0, 0, 2)
    assert (row["false_low"], row["false_high"]) == of_share(0, 2)
    assert row["exits"] == "6:2"
