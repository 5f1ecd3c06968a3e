"""How fast this machine can send."""

from __future__ import annotations

import asyncio

import pytest

from chaosbandit.doctor import ceiling
from chaosbandit.doctor.ceiling import Ceiling, findings, judged, measured, wanted_per_s
from tests.doctor.looking import levels
from tests.simulated import scenario


@pytest.mark.parametrize(
    ("rate_per_s", "found", "level"),
    [
        (50.0, Ceiling(2000), "ok"),  # with control requests 60/s
        (50.0, Ceiling(200, 400, "late"), "ok"),
        (90.0, Ceiling(200, 400, "late"), "warn"),
        (190.0, Ceiling(200, 400, "late"), "fail"),
        (1.0, Ceiling(0, 50, "late"), "fail"),
    ],
)
def test_half_of_it_stays_free(rate_per_s: float, found: Ceiling, level: str) -> None:
    said = judged(found, 0.02, scenario(rate_per_s=rate_per_s))
    assert levels([said]) == [level]
    assert f"{found.kept_per_s:,} requests/s leave within 20 ms" in said.found


def test_without_a_scenario_it_is_only_told() -> None:
    assert levels([judged(Ceiling(50, 100, "late"), 0.02, None)]) == ["ok"]
    assert wanted_per_s(scenario(rate_per_s=50)) == 60


def test_it_rises_until_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "STEP_S", 0.1)
    monkeypatch.setattr(ceiling, "RATES_PER_S", (50, 100))
    assert asyncio.run(measured(60.0, 0.0)) == Ceiling(100)  # a minute late is in time
    none = asyncio.run(measured(0.0, 0.0))
    assert (none.kept_per_s, none.missed_per_s, "late" in none.missed_by) == (0, 50, True)


def test_a_whole_look() -> None:
    (found,) = asyncio.run(findings(None))
    assert "requests/s leave within 20 ms" in found.found
    assert found.do or found.level == "ok"
