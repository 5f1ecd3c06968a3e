from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import climbs
from chaosbandit.report import answer
from chaosbandit.report.estimates import estimated

if TYPE_CHECKING:
    from tests.report.conftest import Tell


@pytest.mark.parametrize(
    ("story", "sentence"),
    [
        ("answered", "slow-inventory holds at 192 ms and breaks at 206 ms (95 % confidence)."),
        (
            "open",
            "slow-inventory holds at 101 ms and breaks at 402 ms (95 % confidence); the gap was "
            "not closed.",
        ),
        (
            "held at the cap",
            "slow-inventory holds at 1 s, the harshest severity allowed (95 % confidence).",
        ),
        (
            "broke at once",
            "slow-inventory breaks already at 10 ms, its mildest severity (95 % confidence).",
        ),
        (
            "out of budget",
            "slow-inventory: nothing is certified; the breaking point is about 224 ms (90 % band "
            "41 ms to above 1 s), an estimate, not certified.",
        ),
        (
            "interrupted",
            "slow-inventory holds at 101 ms (95 % confidence); where it breaks is not certified: "
            "the breaking point is about 426 ms (90 % band 119 ms to above 1 s), an estimate, not "
            "certified.",
        ),
        (
            "not stood",
            "slow-inventory does not stand 192 ms: it held at first and fails from 3 s after the "
            "injection on; it breaks at 206 ms (95 % confidence).",
        ),
        (
            "not repeated",
            "slow-inventory holds at 101 ms (95 % confidence); where it breaks is not certified: "
            "the breaking point is about 213 ms (90 % band 114 ms to above 1 s), an estimate, not "
            "certified.",
        ),
        (
            "not exercised",
            "slow-inventory was not exercised: its faults arrived, but no request felt them.",
        ),
        ("not steady", "slow-inventory was not tested: the steady state is not met."),
        ("void", "slow-inventory: the breaking point is not known."),
        ("cut off", "slow-inventory: the breaking point is not known."),
    ],
)
def test_sentence(tell: Tell, story: str, sentence: str) -> None:
    campaign = tell(story).campaign
    climb = climbs(campaign)[0]
    between = bracket(climb)
    assert answer.sentence(climb, between, estimated(climb, between)) == sentence


def test_the_cap_of_the_guardrails_counts_as_the_harshest(tell: Tell) -> None:
    assert answer.harshest_allowed(climbs(tell("answered").campaign)[0]) == 1.0
    (guarded,) = climbs(tell("guardrail").campaign)
    assert answer.harshest_allowed(guarded) == pytest.approx(0.109, abs=0.002)
