from __future__ import annotations

from typing import TYPE_CHECKING

from chaosbandit.core.model import Purpose
from chaosbandit.report.ladder_text import basis_lines, undecided_lines
from chaosbandit.report.result import result_of
from tests.report.conftest import Story

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def test_the_arms_nearest_to_the_answer_are_listed() -> None:
    """Not those that were sampled most."""
    story = Story().start().steady().expose(0.02, Purpose.SEARCH, 40)
    for severity in (0.1, 0.19, 0.25):
        story.expose(severity, Purpose.SEARCH, 9)
    story.expose(0.3, Purpose.SEARCH, 0, 2)
    (ladder,) = result_of(story.campaign).ladders
    listed = [text.split(":")[0] for _, text in undecided_lines(ladder, named=False)]
    assert listed == ["192 ms", "249 ms", "302 ms"]


def test_an_estimate_is_said_once(tell: Tell) -> None:
    for story, again in (("answered", True), ("open", True), ("interrupted", False)):
        keys = [key for key, _ in basis_lines(result_of(tell(story).campaign).ladders)]
        assert ("estimate" in keys) is again


def test_beyond_an_end_the_answer_says_all(tell: Tell) -> None:
    keys = [key for key, _ in basis_lines(result_of(tell("held at the cap").campaign).ladders)]
    assert keys == ["hold", "rests on"]


def test_blocks_are_part_of_what_it_rests_on() -> None:
    story = Story(block=4).start().steady().expose(0.1, Purpose.HELD, 400)
    lines = dict(basis_lines(result_of(story.campaign).ladders))
    assert lines["rests on"] == (
        "400 requests at 101 ms (0 bad) in 1 exposure, in blocks of 4; other severities follow by "
        "monotonicity"
    )
