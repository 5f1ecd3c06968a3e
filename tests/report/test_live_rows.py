from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaosbandit.report.bracket_axis import ASCII, UNICODE, Glyphs
from chaosbandit.report.live_rows import picture
from chaosbandit.report.run_progress import Scene, Stage, watch

if TYPE_CHECKING:
    from tests.report.conftest import Tell

STORIES = [
    "answered",
    "holding",
    "out of budget",
    "broke at once",
    "not steady",
    "cut off",
    "one of three",
]


def drawn(tell: Tell, story: str, width: int, glyphs: Glyphs = UNICODE) -> list[tuple[Scene, str]]:
    """Every moment of a story as its scene and its picture."""
    scene, frames = Scene(), []
    for event, campaign in tell(story).moments:
        scene = watch(scene, event, campaign)
        rows = picture(scene, campaign, width, 61.0, glyphs)
        text = "\n".join("".join(piece for piece, _ in row) for row in rows)
        frames.append((scene, text))
    return frames


@pytest.mark.parametrize("width", [32, 40, 80, 160])
@pytest.mark.parametrize("story", STORIES)
def test_no_row_is_wider_than_the_terminal(tell: Tell, story: str, width: int) -> None:
    for _, text in drawn(tell, story, width):
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 80, 160])
def test_what_is_going_on_can_be_read(tell: Tell, width: int) -> None:
    text = [
        text
        for scene, text in drawn(tell, "answered", width)
        if (scene.stage, scene.exposure, scene.seen) == (Stage.MEASURING, 3, 6)
    ][-1]
    for part in ("measuring 206 ms", "1:01", "halves the gap", "held 192 ms", "samples", "budget"):
        assert part in text
    if width >= 80:
        assert "to show it breaks · exposure 3" in text
        assert "6 of 12, 6 bad" in text
        assert "6 of 100 bad spent (latency)" in text
        assert "┥" in text
    assert "●" in text


@pytest.mark.parametrize("width", [40, 80])
def test_a_hold_says_how_long_of_how_long(tell: Tell, width: int) -> None:
    text = next(
        text
        for scene, text in reversed(drawn(tell, "holding", width))
        if scene.stage is Stage.HOLDING
    )
    assert "holding 192 ms: 4 of 15 s" in text
    (row,) = [row for row in text.splitlines() if row.split()[:1] == ["hold"]]
    assert row.endswith("4 of 15 s")
    assert "samples" not in text
    assert "●" in text


def test_the_axis_zooms_in_on_a_bracket(tell: Tell) -> None:
    frames = drawn(tell, "answered", 80)
    whole = next(text for scene, text in frames if scene.stage is Stage.INJECTING)
    assert any(row.split()[:2] == ["10", "ms"] for row in whole.splitlines())
    assert any("ms" in row and row.endswith("618 ms") for row in frames[-1][1].splitlines())
    assert "broke 206 ms" in frames[-1][1]


def test_the_model_is_quiet_until_it_has_seen_something(tell: Tell) -> None:
    frames = drawn(tell, "answered", 80)
    before = [text for scene, text in frames if scene.exposure == 0]
    after = [text for scene, text in frames if scene.exposure == 1]
    assert not any("believed" in text for text in before)
    assert any("believed" in text for text in after)


def test_a_dose_is_marked_only_while_it_is_in_place(tell: Tell) -> None:
    for scene, text in drawn(tell, "answered", 80):
        washing = scene.stage in {Stage.WASHING_OUT, Stage.CHOOSING, Stage.ENDED}
        if washing:
            assert "●" not in text
        if scene.stage is Stage.MEASURING:
            assert "●" in text


def test_ascii_terminals_get_ascii(tell: Tell) -> None:
    for _, text in drawn(tell, "answered", 80, ASCII):
        assert text.isascii()


# --- several ladders ------------------------------------------------------------------------------


def measuring(tell: Tell, story: str, exposure: int, width: int = 80) -> list[str]:
    """The last picture while an exposure was measured, row by row."""
    return next(
        text.splitlines()
        for scene, text in reversed(drawn(tell, story, width))
        if (scene.stage, scene.exposure) == (Stage.DRAINING, exposure)
    )


@pytest.mark.parametrize("width", [40, 80])
def test_the_ladder_worked_on_is_drawn_and_the_others_have_a_line(tell: Tell, width: int) -> None:
    rows = measuring(tell, "two ladders", 3, width)
    assert "  slow-inventory" in rows
    assert any("┥" in row and "●" in row for row in rows)
    assert [row.split() for row in rows if "slow-prices" in row] == [
        ["slow-prices", "held", "20", "ms"]
    ]
    rows = measuring(tell, "two ladders", 4, width)
    assert "  slow-prices" in rows
    (other,) = [row for row in rows if "held 192 ms, broke 206 ms" in row]
    assert other.startswith("  slow-inventory  " if width >= 80 else "  slow-inv")


def test_a_ladder_that_waits_says_so(tell: Tell) -> None:
    rows = measuring(tell, "one of three", 4)
    found = [" ".join(row.split()) for row in rows]
    assert found[found.index("slow-prices") + 5 :][:2] == [
        "slow-inventory held 192 ms, broke 206 ms",
        "slow-search not tried yet",
    ]


def test_one_ladder_is_not_named(tell: Tell) -> None:
    assert not any("slow-inventory" in text for _, text in drawn(tell, "answered", 80))


def test_many_ladders_are_not_all_shown(tell: Tell) -> None:
    campaign = tell("many").campaign
    rows = ["".join(p for p, _ in row) for row in picture(Scene(), campaign, 60, 0.0)]
    assert "  and 13 more" in rows
    assert sum("not tried yet" in row for row in rows) == 6
    assert max(map(len, rows)) <= 60
