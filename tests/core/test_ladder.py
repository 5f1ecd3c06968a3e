from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.core.doses._spacing import STEPS_PER_RESOLUTION
from chaosbandit.core.doses.errors import Errors
from chaosbandit.core.doses.latency import Latency
from chaosbandit.core.doses.number import Number
from chaosbandit.core.evidence import within
from chaosbandit.core.ladder import Ladder


def latency(mild_ms: int, harsh_ms: int, resolution: float = 0.10, jitter: float = 0.0) -> Ladder:
    dose = Latency(jitter)
    return Ladder("slow", "inventory", dose, mild_ms / 1000, harsh_ms / 1000, resolution)


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
    grid = Ladder("errors", "inventory", Errors(), mild, harsh, 0.1).severities
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


def test_the_name_of_a_dose_stands_for_it_with_its_usual_settings() -> None:
    named = Ladder("slow", "inventory", "latency", 0.1, 0.2, 0.1)
    assert named == latency(100, 200)
    assert (named.dose, named.kind, named.stream) == (Latency(), "latency", "downstream")
    assert named != latency(100, 200, jitter=0.1)
    with pytest.raises(ValueError, match="wanted one of: errors, latency, number"):
        Ladder("slow", "inventory", "latencies", 0.1, 0.2, 0.1)


def test_the_stream_is_that_of_its_toxics() -> None:
    assert Ladder("errors", "inventory", Errors("upstream"), 0.01, 0.5, 0.1).stream == "upstream"
    assert Ladder("simulated", "inventory", Number(), 1.0, 9.0, 0.1).stream == ""


def test_a_changed_ladder_has_the_grid_of_its_change() -> None:
    assert replace(latency(100, 110), harsh=0.2) == latency(100, 200)


def test_severities_are_said_by_the_dose() -> None:
    assert latency(100, 110).text(0.107) == "107 ms"
    assert Ladder("errors", "inventory", "errors", 0.01, 0.5, 0.1).text(0.031) == "3.1 %"
