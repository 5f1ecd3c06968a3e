"""How fast this machine can send."""

from __future__ import annotations

import asyncio
from functools import partial

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


def test_what_a_busy_machine_misses_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    async def missed(bound_s: float, wanted: float) -> Ceiling:
        return Ceiling(0, 50, "late")

    monkeypatch.setattr(ceiling, "measured", missed)
    for busy, level in ((False, "fail"), (True, "warn")):
        monkeypatch.setattr(ceiling, "is_busy", partial(bool, busy))
        assert levels(asyncio.run(findings(scenario()))) == [level]


def test_a_whole_look() -> None:
    (found,) = asyncio.run(findings(None))
    assert "requests/s leave within 20 ms" in found.found
    assert found.do or found.level == "ok"
