from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import (
    Decision,
    Dose,
    Expose,
    Outcome,
    Phase,
    Purpose,
    Route,
    Sample,
    Stop,
    Variant,
)
from chaosbandit.faults.fault import Toxic
from chaosbandit.store.codec import CodecError, decode, encode

TOXIC = Toxic("latency", {"latency": 190, "jitter": 0})
VARIANT = Variant("slow", "inventory", 3, 0.19, (TOXIC,))
SAMPLE = Sample(7, Route.CANARY, 1.25, 1.2500001, 0.1, Outcome.RESPONSE, 200)


@dataclass(frozen=True, slots=True)
class Crowded:
    counts: Mapping[int, tuple[int, ...]]
    routes: Mapping[Route, float]
    pair: tuple[int, str]
    either: int | str | None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, int | None),
        (3, int | None),
        (True, bool),
        (0.1 + 0.2, float),
        (5e-324, float),
        (math.inf, float),
        (-math.inf, float),
        ("größe ✓", str),
        (Phase.MEASURE, Phase),
        ((1, 2, 3), tuple[int, ...]),
        ((), tuple[Sample, ...]),
        ((SAMPLE, SAMPLE), tuple[Sample, ...]),
        ((1, "a"), tuple[int, str]),
        (Dose(0.19, None, 0.2), Dose),
        (VARIANT, Variant),
        (Expose(VARIANT, 40, Purpose.HELD, (0.01, 0.02), 3, "why"), Decision),
        (Stop("closed", answered=True), Decision),
        (Ladder("slow", "inventory", "latency", 0.001, 0.01, 0.1), Ladder),
        (Crowded({3: (1,)}, {Route.CHECK: 0.5}, (1, "x"), None), Crowded),
        (Crowded({}, {}, (1, "x"), "text"), Crowded),
    ],
)
def test_what_is_read_equals_what_was_written(value: Any, kind: Any) -> None:
    assert decode(json.loads(json.dumps(encode(value, kind), allow_nan=False)), kind) == value


def test_nan_survives() -> None:
    assert math.isnan(decode(json.loads(json.dumps(encode(math.nan, float))), float))


@given(
    st.lists(
        st.builds(
            Sample,
            st.integers(0, 10**9),
            st.sampled_from(Route),
            st.floats(allow_nan=False),
            st.floats(allow_nan=False),
            st.floats(allow_nan=False),
            st.sampled_from(Outcome),
            st.none() | st.integers(100, 599),
        ),
        max_size=5,
    ).map(tuple)
)
def test_samples_survive_to_the_last_bit(samples: tuple[Sample, ...]) -> None:
    kind = tuple[Sample, ...]
    assert decode(json.loads(json.dumps(encode(samples, kind))), kind) == samples


def test_a_batch_names_each_field_once() -> None:
    text = json.dumps(encode((SAMPLE,) * 1000, tuple[Sample, ...]))
    assert text.count("latency_s") == 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, str),
        (True, int),
        (1, bool),
        (True, float),
        ("0.1", float),
        (None, float),
        ([1], tuple[int, ...]),
        ((1, "a"), tuple[int, ...]),
        ((1,), tuple[int, str]),
        ("measure", Phase),
        ({1: 2}, Mapping[str, int]),
        (SAMPLE, Dose),
        (SAMPLE, Decision),
    ],
)
def test_a_value_of_another_type_is_not_written(value: Any, kind: Any) -> None:
    with pytest.raises(CodecError, match="wanted"):
        encode(value, kind)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (1.5, int),
        (True, int),
        (0, bool),
        ("much", float),
        (None, str),
        ("sideways", Route),
        ({"asked": 1.0}, Dose),
        ({"asked": 1.0, "delivered": None, "felt": None, "extra": 1}, Dose),
        ({"is": "Wait", "reason": "x"}, Decision),
        ([1, 2, 3], tuple[int, str]),
        ({"seq": [1]}, tuple[Sample, ...]),
        ({**encode((SAMPLE,), tuple[Sample, ...]), "seq": [1, 2]}, tuple[Sample, ...]),
        ([], Mapping[str, int]),
    ],
)
def test_data_of_another_shape_is_refused(data: Any, kind: Any) -> None:
    with pytest.raises(CodecError):
        decode(data, kind)
