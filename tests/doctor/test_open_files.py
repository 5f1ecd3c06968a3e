"""Open files: counted for a run and for an embedded server, told with what to do."""

from __future__ import annotations

import pytest

from chaosbandit.core.scenario import Traffic
from chaosbandit.doctor.open_files import findings, in_flight
from tests.doctor.looking import levels, one

TRAFFIC = Traffic("http://h/", "http://h/", rate_per_s=50.0, timeout_s=2.0)  # 100 + 20 in flight
NO_LIMIT = -1


@pytest.mark.parametrize(
    ("soft", "level"), [(1024, "ok"), (184, "ok"), (183, "fail"), (NO_LIMIT, "ok"), (20, "fail")]
)
def test_each_request_in_flight_needs_a_file(soft: int, level: str) -> None:
    found = findings(TRAFFIC, embedded=False, limits=(soft, NO_LIMIT))
    assert levels(found) == [level]  # 64 + 120


def test_the_prober_never_has_more_in_flight_than_it_may() -> None:
    fast = Traffic("http://h/", "http://h/", 5000.0, 60.0, control_share=1.0)
    assert in_flight(fast) == 2000
    (found,) = findings(fast, embedded=False, limits=(1000, 5000))
    assert found.found == "at most 1,000, 5,000 if asked for"
    assert (found.level, found.do) == ("fail", "raise it: `ulimit -n 2064`")


def test_what_the_hard_limit_forbids_is_not_advised() -> None:
    (found,) = findings(TRAFFIC, embedded=False, limits=(100, 150))
    assert levels([found]) == ["fail"]
    assert "ulimit" not in found.do
    assert "LimitNOFILE" in found.do


def test_without_a_scenario_there_is_a_least() -> None:
    assert levels(findings(None, embedded=True, limits=(64, 64))) == ["ok"]
    assert levels(findings(None, embedded=True, limits=(40, 4096))) == ["fail"]


@pytest.mark.parametrize(
    ("hard", "level"), [(4096, "ok"), (404, "ok"), (403, "fail"), (NO_LIMIT, "ok")]
)
def test_an_embedded_server_needs_two_for_each(hard: int, level: str) -> None:
    found = one(findings(TRAFFIC, embedded=True, limits=(184, hard)), "server's open files")
    assert levels([found]) == [level]  # 2 x (120 + 2) + 160
    if level == "fail":
        assert found.found == "at most 403 for the embedded server"
        assert found.wanted.startswith("404: 2 for each of 120 connections")
