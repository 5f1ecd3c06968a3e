from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import sys

import pytest

from chaosbandit.core.events import (
    Decided,
    Event,
    EvidenceExpired,
    ExposureStarted,
    Observed,
    RunStarted,
    SteadyStateMeasured,
    Stopped,
)
from chaosbandit.core.model import (
    Cause,
    Expose,
    Outcome,
    Phase,
    Purpose,
    Route,
    Sample,
    Stop,
    Variant,
)
from chaosbandit.errors import UsageError
from chaosbandit.faults.fault import Toxic
from chaosbandit.store.event_line import NotJsonError, event_of, line_of

EXPOSED = ExposureStarted(1, 3, 0.19, "cb.3fa9c1.1800000090.1.inventory", 14.0)
VARIANT = Variant("slow", "inventory", 3, 0.19, (Toxic("latency", {"latency": 190}),))
SAMPLE = Sample(7, Route.CANARY, 1 / 3, 1 / 3 + 1e-9, 0.1 + 0.2, Outcome.TIMEOUT, None, (True,))
OBSERVED = Observed(Phase.MEASURE, 1, (SAMPLE, SAMPLE))
STARTED = RunStarted(
    run="3fa9c1",
    name="storefront",
    seed=7,
    version="0.1.0",
    epoch_s=1.8e9,
    now_s=12.5,
    source="größe: ≤ 3\n",
    server="http://127.0.0.1:8474",
    server_version="2.12.0",
)
GOOD = line_of(EXPOSED).decode()


def there_and_back(event: Event) -> Event:
    return event_of(line_of(event).rstrip(), "here")


@pytest.mark.parametrize(
    "event",
    [
        STARTED,
        EXPOSED,
        OBSERVED,
        Observed(Phase.WASHOUT, None, ()),
        SteadyStateMeasured(False, "no", (), 1, math.inf, -math.inf, {"a": 1 / 7, "b": 0.0}, 1.0),
        Decided(1, Expose(VARIANT, 40, Purpose.HELD, (0.01, 0.02), 3, "halves", 0.1), 0, 13.5),
        Decided(2, Stop("closed", True, Cause.BRACKETED), 3, 18.0),
        Stopped("closed", True, 0, True, "back", 20.0, None, ("one", "two"), Cause.TIME),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert there_and_back(event) == event


def test_a_line_is_one_json_object_with_version_and_type_first() -> None:
    for line in (line_of(EXPOSED), line_of(OBSERVED)):
        assert line.endswith(b"}\n")
        assert line.count(b"\n") == 1
        record = json.loads(line)
        assert list(record)[:2] == ["v", "type"]
        assert record["v"] == 3


@pytest.mark.parametrize(
    "number", [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e22, 123456789.123456789]
)
def test_floats_come_back_to_the_last_bit(number: float) -> None:
    back = there_and_back(EvidenceExpired("old", number))
    assert isinstance(back, EvidenceExpired)
    assert struct.pack("d", back.now_s) == struct.pack("d", number)


def test_what_json_has_no_number_for_is_a_constant() -> None:
    assert b'"now_s":-Infinity' in line_of(EvidenceExpired("old", -math.inf))
    assert b'"now_s":NaN' in line_of(EvidenceExpired("old", math.nan))
    back = there_and_back(EvidenceExpired("old", math.nan))
    assert isinstance(back, EvidenceExpired)
    assert math.isnan(back.now_s)


def test_other_hands_may_have_formatted_a_line() -> None:
    spaced = json.dumps(json.loads(line_of(OBSERVED)), sort_keys=True, indent=1).encode()
    assert event_of(spaced, "here") == OBSERVED


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD.replace('"arm":3', '"arm":3.5'), "ExposureStarted: field arm: found 3.5, wanted a"),
        (GOOD.replace('"arm":3', '"arm":"3"'), "ExposureStarted: field arm: found '3', wanted a"),
        (GOOD.replace('"arm":3,', ""), "a.jsonl:4: ExposureStarted: field arm: missing"),
        (GOOD.replace(',"ladder":""', ""), "a.jsonl:4: ExposureStarted: field ladder: missing"),
        (GOOD.replace('"arm"', '"leg":1,"arm"'), "ExposureStarted: field leg: unknown"),
        ('{"level": "info"}', "wanted a journal of a run"),
        ("[]", "wanted a journal of a run"),
        (GOOD.replace("ExposureStarted", "Exploded"), "event type 'Exploded', wanted one of RunSt"),
    ],
)
def test_what_is_no_event_is_refused_with_place_and_field(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        event_of(text.rstrip().encode(), "a.jsonl:4")


@pytest.mark.parametrize(
    ("event", "old", "new", "sentence"),
    [
        (OBSERVED, ',"status":null', "", "Observed: field samples.0.status: missing"),
        (OBSERVED, '"seq":7', '"seq":7,"x":1', "Observed: field samples.0.x: unknown"),
        (OBSERVED, '"timeout"', '"slow"', "field samples.0.outcome: found 'slow', wanted 'resp"),
        (
            Decided(2, Stop("closed", True, Cause.TIME), 3, 18.0),
            '"cause":"time"',
            '"cause":"tea"',
            "Decided: field decision.Stop.cause: found 'tea', wanted 'bracketed'",
        ),
        (
            Decided(1, Expose(VARIANT, 40, Purpose.HELD, (0.01,)), 0, 13.5),
            ',"toxicity":1.0',
            "",
            "Decided: field decision.variant.toxics.0.toxicity: missing",
        ),
    ],
)
def test_records_within_are_held_to_the_same(
    event: Event, old: str, new: str, sentence: str
) -> None:
    changed = line_of(event).decode().replace(old, new, 1)
    assert changed != line_of(event).decode()
    with pytest.raises(UsageError, match=re.escape(sentence)):
        event_of(changed.rstrip().encode(), "here")


@pytest.mark.parametrize("cut", [1, 10, 40, -3])
def test_half_a_line_is_told_apart(cut: int) -> None:
    with pytest.raises(NotJsonError):
        event_of(line_of(EXPOSED).rstrip()[:cut], "here")


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("1", "found format version 1, wanted 3: evidence was weighed by other rules"),
        ("2", "run the scenario again, or read this journal with chaosbandit 0.1.0 that wrote it"),
        ("4", "found format version 4, wanted 3: a newer chaosbandit wrote this journal; update"),
        ('"x"', "found format version 'x', wanted 3"),
    ],
)
def test_another_version_is_refused_with_what_to_do(version: str, sentence: str) -> None:
    text = line_of(STARTED).decode().replace('"v":3', f'"v":{version}')
    with pytest.raises(UsageError, match=re.escape(sentence)):
        event_of(text.rstrip().encode(), "a.jsonl:1")


def test_pydantic_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, chaosbandit.store.journal; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
