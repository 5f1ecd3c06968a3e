from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from chaosbandit.report.json import to_json
from chaosbandit.report.records import Result
from chaosbandit.report.result import result_of

if TYPE_CHECKING:
    from tests.report.conftest import Tell


@pytest.mark.parametrize("story", ["answered", "out of budget", "not clean", "cut off"])
def test_it_is_one_json_object_in_the_order_of_the_fields(tell: Tell, story: str) -> None:
    data = json.loads(to_json(result_of(tell(story).campaign)))
    assert list(data) == [field.name for field in fields(Result)]
    assert data["schema"] == 2


def test_enums_and_numbers_are_plain(tell: Tell) -> None:
    data = json.loads(to_json(result_of(tell("answered").campaign)))
    assert data["clean"] == "verified"
    (ladder,) = data["ladders"]
    assert ladder["arms"][-1]["verdict"] == "broke"
    assert ladder["bracket"]["held"] == pytest.approx(0.192, abs=0.001)
    assert data["requests"][0]["bad"] == {"availability": 0, "latency": 12}
    assert ladder["gate"] == {
        "above": 0.15,
        "above_text": "150 ms",
        "outcome": "passed",
        "why": "passed",
    }
    assert data["cause"] == "bracketed"


def test_what_the_text_says_of_an_end_has_its_fields(tell: Tell) -> None:
    (ladder,) = json.loads(to_json(result_of(tell("not stood").campaign)))["ladders"]
    assert ladder["estimate"] is None
    assert ladder["hold"] is None
    assert ladder["rests_broke"]["exposures"] == 2
    assert ladder["ages_held"]["late_s"] == pytest.approx(3.02)
    assert [(span["from_s"], span["to_s"]) for span in ladder["ages_held"]["spans"]] == [
        (0.0, 1.0),
        (1.0, 2.0),
        (2.0, 4.0),
    ]
    assert [span["bad_ratio"] for span in ladder["ages_broke"]["spans"]] == [1.0]


def test_beyond_the_ladder_there_is_no_number(tell: Tell) -> None:
    (ladder,) = json.loads(to_json(result_of(tell("interrupted").campaign)))["ladders"]
    assert ladder["estimate"]["high"] is None
    assert ladder["estimate"]["median"] == pytest.approx(0.426, abs=0.001)


def test_the_same_run_gives_the_same_bytes(tell: Tell) -> None:
    campaign = tell("answered").campaign
    assert to_json(result_of(campaign)) == to_json(result_of(campaign))
