from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaosbandit.report.result import result_of
from chaosbandit.report.text import to_text

if TYPE_CHECKING:
    from tests.report.conftest import Tell

ANSWERED = """\
slow-inventory holds at 192 ms and breaks at 206 ms (95 % confidence).

  estimate: about 199 ms (90 % band 192 to 206 ms), an estimate, not certified
      hold: 192 ms stood 1.9 s; not looked at beyond 1.9 s
  rests on: 80 requests at 192 ms (0 bad) in 1 exposure and 12 requests at 206 ms (12 bad) in 1
            exposure; other severities follow by monotonicity
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

  estimate: slow-inventory about 199 ms (90 % band 192 to 206 ms), an estimate, not certified
            slow-prices about 21.5 ms (90 % band 20 to 22 ms), an estimate, not certified
      hold: slow-inventory 192 ms stood 1.9 s; not looked at beyond 1.9 s
            slow-prices 20 ms stood 1.9 s; not looked at beyond 1.9 s
  rests on: slow-inventory 80 requests at 192 ms (0 bad) in 1 exposure and 12 requests at 206 ms (12
            bad) in 1 exposure; other severities follow by monotonicity
            slow-prices 80 requests at 20 ms (0 bad) in 1 exposure and 12 requests at 22 ms (12 bad)
            in 1 exposure; other severities follow by monotonicity
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
                "next: All of the error budget is too little",
                "found: 192 ms: unknown, 1 of 31 requests bad",
                "249 ms: unknown, 3 of 13 requests bad",
                "UNDECIDED, 150 ms is certified neither to hold nor to break",
            ],
        ),
        ("guardrail", ["where it breaks is not certified", "stopped: 120 ms is above guardrails"]),
        ("not exercised", ["was not exercised", "next: Check that", "found: "]),
        ("not steady", ["was not tested", "Nothing was injected."]),
        ("interrupted", ["4 lost in flight", "warning: 1 of 2 exposures void", "1 void"]),
    ],
)
def test_other_ends(tell: Tell, story: str, wanted: list[str]) -> None:
    result = result_of(tell(story).campaign)
    text = to_text(result)
    assert " ".join(text.split()).startswith(result.answer)
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
    assert result.answer in " ".join(text.split())
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


def test_a_command_after_the_reason_of_the_end_can_be_pasted(tell: Tell) -> None:
    command = f"curl -sS -X POST {'x' * 100} -d '{{\"enabled\": true}}'"
    told = replace(
        result_of(tell("dead").campaign), stop_reason=f"it is off; enable it:\n  {command}"
    )
    indent = " " * 12
    assert f"stopped: it is off; enable it:\n{indent}  {command}\n" in to_text(told)


def test_what_else_there_is_to_know_of_the_proxies_is_told(tell: Tell) -> None:
    note = "run a3 is watched until 12:03:10Z, since a call to Toxiproxy went unanswered"
    result = replace(result_of(tell("held at the cap").campaign), clean_notes=(note,))
    assert f"     clean: verified\n            {note}" in to_text(result)


def test_a_dead_dependency_is_said_first(tell: Tell) -> None:
    first, blank, second = to_text(result_of(tell("dead").campaign)).splitlines()[:3]
    assert first == ("The control fails too: 503 from the control route (8 of 50 requests bad).")
    assert (blank, second) == ("", "slow-inventory: the breaking point is not known.")


def test_a_gate_that_did_not_stand_long_enough_says_so(tell: Tell) -> None:
    text = " ".join(to_text(result_of(tell("stood too short").campaign)).split())
    assert "hold: 192 ms stood only 1.9 s of the 15 s asked; not looked at beyond 1.9 s" in text
    assert "gate: slow-inventory > 150 ms: UNDECIDED, 192 ms stood only 1.9 s of the 15 s" in text
