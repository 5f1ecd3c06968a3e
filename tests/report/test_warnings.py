from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosbandit.core.growing_sequence import Series
from chaosbandit.core.model import Outcome, Route
from chaosbandit.report.warnings import cautions, control_failing

if TYPE_CHECKING:
    from tests.report.conftest import Tell


def test_warnings(tell: Tell) -> None:
    assert cautions(tell("answered").campaign) == ()
    void, lost = cautions(tell("interrupted").campaign)
    assert void == "1 of 2 exposures void: interrupted with 4 requests in flight"
    assert lost == "4 requests lost in flight, charged to the budget as bad"


@pytest.mark.parametrize(
    ("story", "line"),
    [
        (
            "clumps",
            "evidence is weighed in blocks of 24 since a clump of 6: about 24 times the req",
        ),
        (
            "late",
            "all 12 bad answers at 101 ms came from 3.36 s after the injection on, none of 150",
        ),
        ("early", "all 4 bad answers at 101 ms came within 60 ms of the injection, none of 200"),
        (
            "too soon",
            "12 of 12 bad answers that show 206 ms to break came back sooner than the dose",
        ),
    ],
)
def test_what_a_run_should_make_one_wary_of(tell: Tell, story: str, line: str) -> None:
    (found,) = cautions(tell(story).campaign)
    assert found.startswith(line)


def test_no_more_early_failures_than_late_ones_are_no_matter(tell: Tell) -> None:
    assert cautions(tell("half of it too soon").campaign) == ()


def test_a_declared_block_is_told_with_its_price(tell: Tell) -> None:
    campaign = tell("clumps").campaign
    declared = replace(campaign.scenario, search=replace(campaign.scenario.search, block=24))
    (found,) = cautions(replace(campaign, scenario=declared))
    assert found == (
        "evidence is weighed in blocks of 24 as search.block says: about 24 times the requests"
    )


def test_a_control_that_fails_is_told_with_what_it_answers(tell: Tell) -> None:
    found = control_failing(tell("dead").campaign)
    assert found is not None
    assert found.text == (
        "the control fails too: 503 from the control route (8 of 50 requests bad)"
    )
    assert (found.samples, found.bad, found.most_seen) == (50, 8, "503")
    assert not any("control route missed" in line for line in cautions(tell("dead").campaign))


@pytest.mark.parametrize("story", ["answered", "not steady", "interrupted", "many"])
def test_a_control_that_is_well_is_not_spoken_of(tell: Tell, story: str) -> None:
    assert control_failing(tell(story).campaign) is None


def test_kept_connections_that_were_closed_are_told_with_what_avoids_them(tell: Tell) -> None:
    campaign = tell("answered").campaign
    usual = campaign.steady_samples[Route.CANARY][:2]
    closed = Series([replace(sample, outcome=Outcome.KEPT_CLOSED) for sample in usual])
    (found,) = cautions(replace(campaign, steady_samples={Route.CANARY: closed}))
    assert found.startswith("2 requests met a kept connection that the server closed just then")
    assert "`traffic.connections: per-request`" in found
