from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.model import Phase, Purpose, Route
from chaosbandit.report.failure_times import ages_at, latest
from tests.report.conftest import Story

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def only(campaign: Campaign) -> Climb:
    (climb,) = climbs(campaign)
    return climb


def test_spans_add_up_over_the_exposures_of_an_arm(tell: Tell) -> None:
    climb = only(tell("not repeated").campaign)
    arm = climb.exposures[-1].arm
    found = ages_at(climb, arm)
    assert found is not None
    assert sum(span.samples for span in found.spans) == 66
    assert sum(span.bad for span in found.spans) == 6
    assert [span.from_s for span in found.spans] == [0.0, 1.0]
    assert all(span.bad_ratio == span.bad / span.samples for span in found.spans)


def test_an_arm_that_was_not_measured_has_no_ages(tell: Tell) -> None:
    climb = only(tell("answered").campaign)
    assert ages_at(climb, None) is None
    assert ages_at(climb, 0) is None
    assert ages_at(only(tell("void").campaign), 34) is None


def test_an_arm_that_always_fails_fails_neither_early_nor_late(tell: Tell) -> None:
    climb = only(tell("answered").campaign)
    found = ages_at(climb, climb.exposures[-1].arm)
    assert found is not None
    assert (found.text, found.late_s) == ("", None)


def test_late_failures_are_dated(tell: Tell) -> None:
    found = latest(only(tell("late").campaign))
    assert found is not None
    assert found.late_s == pytest.approx(3.36)


def test_early_failures_are_not_late(tell: Tell) -> None:
    found = latest(only(tell("early").campaign))
    assert found is not None
    assert found.late_s is None


def mixed(bad: list[bool]) -> Climb:
    """One exposure whose samples are bad as listed."""
    story = Story().start().steady().inject(0.1, Purpose.SEARCH, len(bad))
    for each in bad:
        story.send(Phase.MEASURE, Route.CANARY, int(not each), int(each))
    return only(story.end(0.1).campaign)


def test_one_failure_of_another_kind_does_not_hide_those_that_come_late() -> None:
    found = latest(mixed([False] * 10 + [True] + [False] * 200 + [True] * 40))
    assert found is not None
    assert found.late_s is not None
    assert found.late_s > 4.0
    assert found.text.startswith("39 of 41 bad answers at 101 ms came from 4.24 s after")


def test_failures_at_any_time_are_hardly_ever_taken_for_late_or_early() -> None:
    rng = np.random.default_rng(7)
    told = sum(latest(mixed((rng.random(200) < 0.05).tolist())) is not None for _ in range(100))
    assert told <= 8  # each end errs in at most 1 % of runs: more than 8 of 100 in under 1e-3
