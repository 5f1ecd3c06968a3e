from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import climbs
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Bracket, Purpose
from chaosbandit.report.estimates import estimated
from chaosbandit.report.records import EstimateResult
from tests.report.conftest import Story

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def told(tell: Tell, story: str) -> EstimateResult | None:
    (climb,) = climbs(tell(story).campaign)
    return estimated(climb, bracket(climb))


def test_a_band_in_words(tell: Tell) -> None:
    found = told(tell, "answered")
    assert found is not None
    assert found.text == "about 199 ms (90 % band 192 to 206 ms), an estimate, not certified"
    assert found.band == 0.9


def test_an_end_that_is_not_known_says_beyond_what(tell: Tell) -> None:
    found = told(tell, "interrupted")
    assert found is not None
    assert found.high is None
    assert found.text.startswith("about 426 ms (90 % band 119 ms to above 1 s)")


def test_a_ladder_that_holds_breaks_above_it(tell: Tell) -> None:
    found = told(tell, "held at the cap")
    assert found is not None
    assert (found.median, found.low, found.high) == (None, None, None)
    assert found.text == "above 1 s, an estimate, not certified"


def test_a_ladder_that_breaks_at_once_breaks_below_it(tell: Tell) -> None:
    found = told(tell, "broke at once")
    assert found is not None
    assert found.median is None
    assert found.text.startswith("below 10 ms (90 % band below 10 ms to 10 ms), an estimate")


@pytest.mark.parametrize("story", ["not steady", "void", "not exercised", "not stood", "dead"])
def test_there_is_none_where_nothing_was_measured_that_it_could_rest_on(
    tell: Tell, story: str
) -> None:
    assert told(tell, story) is None


def test_a_belief_never_widens_a_certificate() -> None:
    (climb,) = climbs(Story().start().steady().expose(0.1, Purpose.SEARCH, 3).campaign)
    wide, narrow = estimated(climb, Bracket()), estimated(climb, Bracket(0.15, 0.16))
    assert wide is not None
    assert narrow is not None
    assert (wide.low or 0.0) < 0.15
    assert (narrow.low, narrow.high) == (0.15, 0.16)
    assert narrow.median is not None
    assert 0.15 <= narrow.median <= 0.16


def test_shares_are_said_as_shares() -> None:
    errors = Ladder("errors", "inventory", "errors", 0.01, 0.5, 0.10)
    story = Story(ladders=(errors,)).start().steady()
    (climb,) = climbs(story.expose(0.1, Purpose.SEARCH, 30, ladder=errors).campaign)
    found = estimated(climb, Bracket(0.2, 0.22))
    assert found is not None
    assert "90 % band 20 to 22 %" in found.text
