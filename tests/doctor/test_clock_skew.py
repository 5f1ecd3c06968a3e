"""Clocks compared by the dates of answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.doctor.clock_skew import finding, skew_of
from chaosbandit.doctor.http_request import Answer
from tests.doctor.looking import URL, answer, levels


@pytest.mark.parametrize(
    ("ahead_s", "level"),
    [(0, "ok"), (1, "ok"), (-1, "ok"), (5, "warn"), (-5, "warn"), (40, "fail"), (-3600, "fail")],
)
def test_expiries_need_clocks_that_agree(ahead_s: float, level: str) -> None:
    found = finding(URL, answer(ahead_s=ahead_s), expiries=True)
    assert levels([found]) == [level]
    if level != "ok":
        assert ("ahead of" in found.found) == (ahead_s > 0)
        assert "NTP" in found.do


def test_a_targets_clock_is_worth_a_note() -> None:
    assert levels([finding(URL, answer(ahead_s=3600), expiries=False)]) == ["note"]


def test_an_answer_without_a_date_says_nothing() -> None:
    found = finding(URL, replace(answer(), date_epoch_s=None), expiries=True)
    assert (levels([found]), "not known" in found.found) == (["note"], True)


@pytest.mark.parametrize(
    ("date_s", "took_s", "ahead_s", "uncertain_s"),
    [(100.0, 0.0, 0.5, 0.5), (110.0, 4.0, 8.5, 2.5), (90.0, 0.2, -9.6, 0.6)],
)
def test_half_the_way_is_allowed_for(
    date_s: float, took_s: float, ahead_s: float, uncertain_s: float
) -> None:
    skew = skew_of(Answer(200, "", date_s, 100.0, 100.0 + took_s))
    assert skew is not None
    assert skew.ahead_s == pytest.approx(ahead_s)
    assert skew.uncertain_s == pytest.approx(uncertain_s)
