"""How fast this machine can send."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from chaosbandit.doctor import sending_ceiling
from chaosbandit.doctor.sending_ceiling import (
    Ceiling,
    findings,
    judged,
    measured,
    refuse_above_half,
)
from chaosbandit.errors import HarnessError
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
        (1000.0, Ceiling(2400), "ok"),
        (1000.0, Ceiling(1600, 2400, "late"), "fail"),  # as the run does
    ],
)
def test_half_of_it_stays_free(rate_per_s: float, found: Ceiling, level: str) -> None:
    said = judged(found, 0.02, scenario(rate_per_s=rate_per_s))
    assert levels([said]) == [level]
    assert f"{found.kept_per_s:,} requests/s leave within 20 ms" in said.found


def test_without_a_scenario_it_is_only_told() -> None:
    assert levels([judged(Ceiling(50, 100, "late"), 0.02, None)]) == ["ok"]
    assert scenario(rate_per_s=50).traffic.sent_per_s == 60


def test_it_rises_until_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending_ceiling, "STEP_S", 0.1)
    rates = (50, 100)
    assert asyncio.run(measured(60.0, 50.0, rates)) == Ceiling(100)  # a minute late is in time
    none = asyncio.run(measured(0.0, 50.0, rates))
    assert (none.kept_per_s, none.missed_per_s, "late" in none.missed_by) == (0, 50, True)


def test_what_a_busy_machine_misses_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    async def missed(bound_s: float, rate_per_s: float) -> Ceiling:
        return Ceiling(0, 50, "late")

    monkeypatch.setattr(sending_ceiling, "measured", missed)
    for busy, level in ((False, "fail"), (True, "warn")):
        monkeypatch.setattr(sending_ceiling, "is_busy", partial(bool, busy))
        assert levels(asyncio.run(findings(scenario()))) == [level]


def test_a_whole_look() -> None:
    (found,) = asyncio.run(findings(None))
    assert "requests/s leave within 20 ms" in found.found
    assert found.do or found.level == "ok"


def test_a_fast_run_is_refused_above_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, object]] = []

    async def missed(bound_s: float, rate_per_s: float, rates: object = None) -> Ceiling:
        asked.append((rate_per_s, rates))
        return Ceiling(1600, 2400, "1 % leave 300 ms late or more")

    monkeypatch.setattr(sending_ceiling, "measured", missed)
    asyncio.run(refuse_above_half(scenario(rate_per_s=200)))
    assert asked == []
    with pytest.raises(HarnessError) as raised:
        asyncio.run(refuse_above_half(scenario(rate_per_s=1000)))
    assert asked == [(1000, (2400,)), (1000, None)]
    assert str(raised.value) == (
        "this machine is too slow for traffic.rate (1000/s), so nothing was injected: found that "
        "1,600 requests/s leave within 100 ms, not 2,400/s (1 % leave 300 ms late or more), wanted "
        "a ceiling of 2,400/s, twice the 1,200/s of a run; lower traffic.rate, or run on a machine "
        "with a faster or idler core"
    )


def test_a_fast_run_is_measured_with_its_own_prober(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending_ceiling, "STEP_S", 0.1)
    slow_is_fine = scenario(rate_per_s=300)
    slow_is_fine = replace(slow_is_fine, traffic=replace(slow_is_fine.traffic, timeout_s=60.0))
    asyncio.run(refuse_above_half(replace(slow_is_fine, slos=())))  # three seconds late is in time
