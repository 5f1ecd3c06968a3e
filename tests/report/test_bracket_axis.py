from __future__ import annotations

import pytest

from chaosbandit.report.bracket_axis import ASCII, Marks, Row, Scale, bar, ends, labels, line


def plain(row: Row) -> str:
    return "".join(text for text, _ in row)


SCALE = Scale(0.001, 10.0, 21)  # five columns a decade


def test_columns_are_even_in_the_logarithm() -> None:
    assert [SCALE.column(s) for s in (0.001, 0.01, 0.1, 1.0, 10.0)] == [0, 5, 10, 15, 20]


def test_what_lies_beyond_is_drawn_at_the_ends() -> None:
    assert (SCALE.column(1e-9), SCALE.column(99.0)) == (0, 20)


def test_a_ladder_of_one_severity_has_one_column() -> None:
    assert Scale(0.1, 0.1, 20).column(0.1) == 0


@pytest.mark.parametrize(
    ("marks", "drawn"),
    [
        (Marks(), "---------------------"),
        (Marks(held=0.01), "=====]---------------"),
        (Marks(broke=1.0), "---------------[====="),
        (Marks(held=0.01, broke=1.0), "=====]---------[====="),
        (Marks(held=0.01, broke=1.0, believed=0.1), "=====]----?----[====="),
        (Marks(held=0.01, broke=1.0, believed=0.1, now=0.1), "=====]----@----[====="),
        (Marks(held=0.1, broke=0.101), "=========][=========="),
        (Marks(held=0.001, broke=0.00101), "][==================="),
    ],
)
def test_line(marks: Marks, drawn: str) -> None:
    assert plain(line(SCALE, marks, ASCII)) == drawn


def test_sides_have_their_colours() -> None:
    assert line(SCALE, Marks(held=0.01, broke=1.0), ASCII) == [
        ("=====]", "green"),
        ("---------", "yellow"),
        ("[=====", "red"),
    ]


@pytest.mark.parametrize(
    ("wanted", "drawn"),
    [
        ([(10, "now", "")], "         now"),
        ([(0, "held", ""), (20, "broke", "")], "held           broke"),
        ([(10, "held", ""), (11, "now", "")], "        held  now"),
        ([(20, "broke", ""), (19, "held", ""), (18, "now", "")], "    now  held  broke"),
        ([(5, "a" * 12, ""), (6, "b" * 12, "")], "a" * 12),
        ([], ""),
    ],
)
def test_labels_never_touch_and_never_leave_the_row(
    wanted: list[tuple[int, str, str]], drawn: str
) -> None:
    row = plain(labels(20, wanted))
    assert row == drawn
    assert len(row) <= 20


def test_ends_fill_the_row() -> None:
    assert plain(ends(20, "1 ms", "10 s")) == "1 ms            10 s"


@pytest.mark.parametrize(
    ("share", "drawn"),
    [
        (0.0, "........"),
        (0.001, "#......."),
        (0.5, "####...."),
        (0.999, "#######."),
        (1.0, "########"),
        (1.7, "########"),
    ],
)
def test_a_bar_is_empty_or_full_only_when_it_is(share: float, drawn: str) -> None:
    assert plain(bar(8, share, "green", ASCII)) == drawn
