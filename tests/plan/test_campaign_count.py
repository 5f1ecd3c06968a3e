"""How long `plan` goes on: by a clock that the tests set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaosbandit.plan.campaign_count import (
    CAMPAIGNS_S,
    END_S,
    LEAST_CAMPAIGNS,
    LEAST_LOOKED_AT,
    LOOKS,
    MOST_CAMPAIGNS,
    Pace,
)
from chaosbandit.plan.campaigns import Cost
from tests.plan.test_forecast_records import cost


@dataclass(slots=True)
class Clock:
    """Seconds since the command began."""

    time_s: float = 0.0

    def __call__(self) -> float:
        return self.time_s


def spread_out(number: int) -> list[Cost]:
    """Costs of 1 to 100, again and again."""
    return [cost(1 + n % 100) for n in range(number)]


def alike(number: int) -> list[Cost]:
    return [cost(7)] * number


def test_campaigns_end_with_their_time_yet_never_with_too_few() -> None:
    clock = Clock()
    pace = Pace(clock, None)
    assert pace.numbers == range(MOST_CAMPAIGNS)
    assert pace.more(spread_out(LEAST_CAMPAIGNS))
    clock.time_s = CAMPAIGNS_S
    assert not pace.more(spread_out(LEAST_CAMPAIGNS))
    assert pace.more(spread_out(LEAST_CAMPAIGNS - 1))


def test_campaigns_end_when_the_means_are_narrow() -> None:
    pace = Pace(Clock(), None)
    assert not pace.more(alike(LEAST_CAMPAIGNS))
    assert pace.more(spread_out(50)) and not pace.more(spread_out(200))


def test_looks_share_what_time_is_left() -> None:
    clock = Clock(END_S - 6.0)
    pace = Pace(clock, None)
    many = alike(LEAST_LOOKED_AT)
    for _ in range(LOOKS):
        pace.look()
        assert pace.look_on(many)
        clock.time_s += 1.001
        assert not pace.look_on(many) and pace.look_on(many[1:])
    pace.look()  # nothing is left
    assert not pace.look_on(many)


def test_so_many_as_were_asked_for_take_what_time_they_take() -> None:
    clock = Clock(1000.0)
    pace = Pace(clock, 40)
    assert pace.numbers == range(40)
    pace.look()
    assert pace.more(alike(39)) and pace.look_on(alike(20))


def test_progress_never_goes_back() -> None:
    def watched(pace: Pace, clock: Clock) -> Sequence[float]:
        seen = [pace.done]
        for _ in range(40):
            pace.more(alike(1))
            clock.time_s += 0.5
            seen.append(pace.done)
        for _ in range(LOOKS):
            pace.look()
            for _ in range(24):
                pace.look_on(alike(1))
                seen.append(pace.done)
        return seen

    for asked in (None, 40):
        clock = Clock()
        seen = watched(Pace(clock, asked), clock)
        assert list(seen) == sorted(seen) and seen[0] == 0.0 and seen[-1] == 1.0
