"""Cases: what they say of themselves is true, and they repeat themselves."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from chaosbandit.sim.conformance.cases import (
    Answer,
    Case,
    anywhere,
    at_the_objective,
    cases,
    long_ladder,
)
from chaosbandit.sim.response_curves import cliff, smooth

EVERY = (*cases(), at_the_objective(1), anywhere(1), anywhere(2), long_ladder())


def breaks(case: Case, ladder: str, severity: float) -> bool:
    """Whether any SLO has more bad requests there than it allows."""
    taus = [slo.bad_ratio for slo in case.scenario.slos]
    ratios = [curve(severity) for curve in case.curves[ladder]]
    return any(ratio > tau for ratio, tau in zip(ratios, taus, strict=True))


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_the_answer_is_the_true_one(case: Case) -> None:
    for ladder in case.scenario.ladders:
        cap = case.scenario.guardrails.max_severity or math.inf
        broke = [breaks(case, ladder.name, s) for s in ladder.severities if s <= cap]
        if case.answer is Answer.CAP:
            assert broke and not any(broke)
        elif case.answer is Answer.MILDEST:
            assert all(broke)
        elif case.answer is Answer.BRACKET:
            assert case.crossing is not None and not broke[0] and broke[-1]
            ends = [s for s, b in zip(ladder.severities, broke, strict=True) if b]
            assert min(ends) >= case.crossing > max(set(ladder.severities) - set(ends))


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_failures_are_drawn_by_its_curves(case: Case) -> None:
    for ladder in case.scenario.ladders:
        variant = ladder.variant(len(ladder.severities) - 1)
        bad = case.draw(variant, 4000, np.random.default_rng(1))
        again = case.draw(variant, 4000, np.random.default_rng(1))
        assert bad.shape == (4000, len(case.scenario.slos)) and bool((bad == again).all())
        wanted = [curve(variant.severity) for curve in case.curves[ladder.name]]
        assert bad.mean(axis=0) == pytest.approx(wanted, abs=0.04)


def test_names_tell_cases_apart() -> None:
    assert len({case.name for case in EVERY[:-3]}) == len(EVERY) - 3
    assert {case.answer for case in EVERY} == set(Answer)


def test_curves_cross_the_objective_where_they_say() -> None:
    curve = smooth(9.0, 0.1)
    assert curve(9.0) == pytest.approx(0.05)
    assert all(a <= b for a, b in pairwise(curve(s) for s in (1.0, 8.0, 9.0, 10.0, 1e9)))
    assert (cliff(5.0)(4.999), cliff(5.0)(5.0)) == (0.1 * 0.05, 0.95)


def test_places_differ_by_seed() -> None:
    found = [anywhere(seed).crossing for seed in range(30)]
    assert len(set(found)) == 30
    assert found == [anywhere(seed).crossing for seed in range(30)]
    assert all(1.2 <= at <= 26.0 for at in found if at is not None)
    assert len(long_ladder().scenario.ladder.severities) == pytest.approx(400, abs=3)
