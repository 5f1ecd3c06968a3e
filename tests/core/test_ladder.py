from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.core.evidence import within
from chaosbandit.core.ladder import STEPS_PER_RESOLUTION, Ladder, text_of


def latency(mild_ms: int, harsh_ms: int, resolution: float = 0.10, jitter: float = 0.0) -> Ladder:
    return Ladder(
        "slow", "inventory", "latency", mild_ms / 1000, harsh_ms / 1000, resolution, jitter
    )


latency_ladders = st.builds(
    lambda mild, factor, resolution: latency(mild, round(mild * factor), resolution),
    st.integers(1, 5000),
    st.floats(1.0, 2000.0),
    st.floats(0.01, 1.0),
)


@given(latency_ladders)
def test_latency_grids_are_distinct_whole_milliseconds_with_both_ends(ladder: Ladder) -> None:
    in_ms = [severity * 1000 for severity in ladder.severities]
    assert [round(each) for each in in_ms] == pytest.approx(in_ms, abs=1e-6)
    assert all(low < high for low, high in itertools.pairwise(in_ms))
    assert ladder.severities[0] == pytest.approx(ladder.mild)
    assert ladder.severities[-1] == pytest.approx(ladder.harsh)


@given(latency_ladders)
def test_every_arm_has_a_partner_that_closes_a_bracket(ladder: Ladder) -> None:
    grid = ladder.severities
    step = (1 + ladder.resolution) ** (1 / STEPS_PER_RESOLUTION)
    for arm in range(len(grid) - 1):
        assert within(grid, arm, arm + 1, ladder.resolution)
        rounded = (grid[arm] + 0.0005) * step + 0.0005
        assert grid[arm + 1] <= max(rounded, grid[arm] + 0.001) + 1e-9


@given(st.floats(1e-4, 0.5), st.floats(1.0, 100.0))
def test_error_grids_are_distinct_shares(mild: float, factor: float) -> None:
    harsh = min(1.0, mild * factor)
    grid = Ladder("errors", "inventory", "errors", mild, harsh, 0.1).severities
    assert all(low < high for low, high in itertools.pairwise(grid))
    assert grid[0] == pytest.approx(mild, abs=1e-6)
    assert grid[-1] == pytest.approx(harsh, abs=1e-6)
    assert all(0.0 < share <= 1.0 for share in grid)


@pytest.mark.parametrize(
    ("ladder", "expected_ms"),
    [
        (latency(1, 5), [1, 2, 3, 4, 5]),
        (latency(7, 7), [7]),
        (latency(100, 110), [100, 102, 105, 107, 110]),
        (latency(100, 200, resolution=1.0), [100, 119, 141, 168, 200]),
    ],
)
def test_grids_in_numbers(ladder: Ladder, expected_ms: list[int]) -> None:
    assert [round(severity * 1000) for severity in ladder.severities] == expected_ms


def test_a_finer_resolution_gives_more_arms() -> None:
    assert len(latency(10, 1000, 0.05).severities) > len(latency(10, 1000, 0.10).severities)


def test_latency_becomes_whole_milliseconds_and_jitter_a_share_of_them() -> None:
    variant = latency(100, 200, jitter=0.25).variant(0)
    (toxic,) = variant.toxics
    assert (variant.arm, variant.severity, variant.proxy) == (0, 0.1, "inventory")
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("latency", "downstream", 1.0)
    assert toxic.attributes == {"latency": 100, "jitter": 25}
    assert toxic.name == ""  # it gets one when it is put on a proxy


def test_errors_close_connections_with_that_probability() -> None:
    ladder = Ladder("errors", "inventory", "errors", 0.01, 0.5, 0.1, stream="upstream")
    (toxic,) = ladder.variant(len(ladder.severities) - 1).toxics
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("limit_data", "upstream", 0.5)
    assert toxic.attributes == {"bytes": 0}


@pytest.mark.parametrize(
    ("kind", "severity", "text"),
    [
        ("latency", 0.001, "1 ms"),
        ("latency", 0.19, "190 ms"),
        ("latency", 0.9994, "999.4 ms"),
        ("latency", 1.0, "1 s"),
        ("latency", 2.414, "2.414 s"),
        ("errors", 0.031, "3.1 %"),
        ("errors", 1.0, "100 %"),
    ],
)
def test_severities_in_words(kind: str, severity: float, text: str) -> None:
    assert text_of(kind, severity) == text
