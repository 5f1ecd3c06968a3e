from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.core.growing_sequence import Series


def grown(items: range) -> Series[int]:
    series: Series[int] = Series()
    for item in items:
        series = series.plus(item)
    return series


def test_a_series_is_a_sequence() -> None:
    series = grown(range(5))
    assert len(series) == 5
    assert list(series) == [0, 1, 2, 3, 4] == series
    assert (series[0], series[-1], series[1:3], series[-2:]) == (0, 4, [1, 2], [3, 4])
    assert 3 in series and 5 not in series
    assert series == (0, 1, 2, 3, 4) and series != (0, 1)
    assert repr(series) == "Series([0, 1, 2, 3, 4])"
    assert not Series[int]()


@pytest.mark.parametrize("index", [5, -6])
def test_there_is_nothing_outside(index: int) -> None:
    longer = grown(range(5)).plus(5)
    assert longer[5] == 5
    with pytest.raises(IndexError):
        grown(range(5))[index]


def test_an_older_version_does_not_see_what_came_after_it() -> None:
    older = grown(range(3))
    newer = older.plus(3)
    other = older.plus(9)  # no longer the newest: a copy
    assert (list(older), list(newer), list(other)) == ([0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 9])
    assert older[-1:] == [2]
    with pytest.raises(IndexError):
        older[3]
    assert list(newer.plus(4)) == [0, 1, 2, 3, 4]
    assert list(other) == [0, 1, 2, 9]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers()), max_size=40))
def test_whichever_version_is_appended_to_all_stay_as_they_were(
    appended: list[tuple[int, int]],
) -> None:
    versions: list[tuple[Series[int], list[int]]] = [(Series(), [])]
    for which, item in appended:
        series, items = versions[which % len(versions)]
        versions.append((series.plus(item), [*items, item]))
    for series, items in versions:
        assert list(series) == items
        assert series[:] == items
        assert len(series) == len(items)


def test_a_list_that_was_given_may_change_afterwards() -> None:
    given_items = [1, 2]
    series = Series(given_items)
    given_items.append(3)
    assert list(series) == [1, 2]


def seconds(length: int, more: int = 2_000) -> float:
    """For appending so many items to a series of that length."""
    series = Series(range(length))
    began = time.process_time()
    for item in range(more):
        series = series.plus(item)
    return time.process_time() - began


def test_appending_costs_the_same_however_long_it_is() -> None:
    few_s, many_s = (min(seconds(length) for _ in range(9)) for length in (100, 200_000))
    assert many_s < 1.5 * few_s
