from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.model import Dose
from chaosbandit.report.result import result_of
from chaosbandit.report.text import exposure_line, to_text

if TYPE_CHECKING:
    from tests.report.conftest import Tell

ANSWERED = """\
slow-inventory holds at 192 ms and breaks at 206 ms (95 % confidence).

  requests: 197 canary (12 bad: 12 measured), 70 control (0 bad), 9 check
       cut: 0 connections by us
    budget: availability 0 of 100 bad, 0 % of the 30-day error budget
            latency 12 of 100 bad, 0.6 % of the 30-day error budget (burn rate 0.61)
      dose: held at 192 ms: 193 ms delivered, 192 ms felt
            broke at 206 ms: 207 ms delivered, 206 ms felt
      gate: slow-inventory > 150 ms: passed
     clean: verified
      took: 5.52 s, 3 exposures, seed 7, run 3fa9c1
   journal: /runs/a.jsonl
"""


def test_the_whole_text_of_an_answer(tell: Tell) -> None:
    assert to_text(result_of(tell("answered").campaign, journal=Path("/runs/a.jsonl"))) == ANSWERED


TWO = """\
slow-inventory holds at 192 ms and breaks at 206 ms (95 % confidence).
slow-prices holds at 20 ms and breaks at 22 ms (95 % confidence).

  requests: 284 canary (24 bad: 24 measured), 80 control (0 bad), 12 check
       cut: 0 connections by us
    budget: availability 0 of 100 bad, 0 % of the 30-day error budget
            latency 24 of 100 bad, 1.2 % of the 30-day error budget (burn rate 0.85)
      dose: slow-inventory held at 192 ms: 193 ms delivered, 192 ms felt
            slow-inventory broke at 206 ms: 207 ms delivered, 206 ms felt
            slow-prices held at 20 ms: 21 ms delivered, 20 ms felt
            slow-prices broke at 22 ms: 23 ms delivered, 22 ms felt
      gate: slow-inventory > 150 ms: passed
     clean: verified
      took: 7.52 s, 4 exposures, seed 7, run 3fa9c1
"""


def test_the_whole_text_of_two_ladders(tell: Tell) -> None:
    assert to_text(result_of(tell("two ladders").campaign)) == TWO


def test_what_is_open_says_of_which_ladder_it_is(tell: Tell) -> None:
    text = " ".join(to_text(result_of(tell("one of three").campaign)).split())
    assert "found: slow-prices 202 ms: unknown, 0 of 10 requests bad" in text
    assert "slow-search was not tested" in text


@pytest.mark.parametrize(
    ("story", "wanted"),
    [
        ("held at the cap", ["holds at 1 s, the harshest", "clean: verified", "gate: "]),
        ("broke at once", ["breaks already at 10 ms", "FAILED, it breaks at or below that"]),
        (
            "out of budget",
            [
                "stopped: the error budget of this run has 1 bad request left",
                "next: Raise budget.spend",
                "found: 192 ms: unknown, 1 of 31 requests bad",
                "249 ms: unknown, 3 of 13 requests bad",
                "NOT SHOWN",
            ],
        ),
        ("guardrail", ["where it breaks is not known", "stopped: 120 ms is above guardrails"]),
        ("not exercised", ["was not exercised", "next: Check that", "found: "]),
        ("not steady", ["was not tested", "Nothing was injected."]),
        ("interrupted", ["4 lost in flight", "warning: 1 of 2 exposures void", "1 void"]),
    ],
)
def test_other_ends(tell: Tell, story: str, wanted: list[str]) -> None:
    result = result_of(tell(story).campaign)
    text = to_text(result)
    assert text.splitlines()[0] == result.answer
    assert [part for part in wanted if part not in " ".join(text.split())] == []


@pytest.mark.parametrize(
    ("story", "first"),
    [
        ("not clean", "CLEAN-UP NOT CONFIRMED."),
        ("cut off", "CLEAN-UP NOT KNOWN: a fault may still be in place."),
    ],
)
def test_leftovers_come_before_the_answer(tell: Tell, story: str, first: str) -> None:
    result = result_of(tell(story).campaign)
    text = to_text(result)
    assert text.splitlines()[0] == first
    assert result.answer in text
    assert "clean: verified" not in text


def test_manual_commands_keep_their_lines(tell: Tell) -> None:
    text = to_text(result_of(tell("not clean").campaign))
    assert "\n    curl -X DELETE http://...\n" in text
    assert text.count("curl") == 1


def test_lines_keep_to_the_width(tell: Tell) -> None:
    for width in (60, 80, 100):
        text = to_text(result_of(tell("out of budget").campaign), width)
        assert max(map(len, text.splitlines())) <= width


def test_a_path_is_never_broken(tell: Tell) -> None:
    path = "/long-" * 30 + "a.jsonl"
    text = to_text(result_of(tell("answered").campaign, journal=Path(path)))
    assert f"journal: {path}\n" in text


def test_one_line_an_exposure(tell: Tell) -> None:
    first, second = result_of(tell("interrupted").campaign).exposures
    assert exposure_line(first, "s") == (
        "exposure 1: 101 ms, 80 requests, none bad, 102 ms delivered, 101 ms felt"
    )
    assert exposure_line(second, "s") == (
        "exposure 2: 302 ms, 7 requests, 2 bad (latency), 303 ms delivered, 302 ms felt, "
        "void: interrupted with 4 requests in flight"
    )


def test_the_line_of_an_exposure_names_its_ladder_where_asked(tell: Tell) -> None:
    exposure = result_of(tell("two ladders").campaign).exposures[1]
    line = exposure_line(exposure, "s", named=True)
    assert line.startswith("exposure 2: slow-prices 20 ms, 80 requests, none bad, ")


@pytest.mark.parametrize(
    ("dose", "unit", "part"),
    [
        (Dose(0.1, 0.1, None), "s", "100 ms delivered, effect not measured"),
        (Dose(0.1, None, -0.002), "s", "delivery not measured, -2 ms felt"),
        (Dose(0.1, 0.12, 0.12), "share", "12 % of requests broken"),
    ],
)
def test_doses(tell: Tell, dose: Dose, unit: str, part: str) -> None:
    exposure = result_of(tell("answered").campaign).exposures[0]
    assert exposure_line(replace(exposure, dose=dose), unit).endswith(part)


def test_what_else_there_is_to_know_of_the_proxies_is_told(tell: Tell) -> None:
    note = "run a3 is watched until 12:03:10Z, since a call to Toxiproxy went unanswered"
    result = replace(result_of(tell("held at the cap").campaign), clean_notes=(note,))
    assert f"     clean: verified\n            {note}" in to_text(result)
