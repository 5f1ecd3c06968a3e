from __future__ import annotations

import math
from collections import Counter
from itertools import groupby

import pytest

from chaosbandit.core.model import Outcome, Route, Sample
from chaosbandit.sim.targets import (
    Asked,
    Breaker,
    Bursts,
    Failing,
    Pile,
    Service,
    Symptom,
    always,
    deployed,
    during,
    independent,
    lognormal,
    setting_in,
    watched,
)
from tests.simulated import cliff, generator, sample

SICK = Asked(severity=0.5, now_s=3.0, in_flight=0)
HEALTHY = Asked(severity=0.0, now_s=3.0, in_flight=0)


def never(asked: Asked, drawn: float) -> bool:
    return False


def share(failing: Failing, asked: Asked, n: int = 20_000) -> float:
    draws = generator(1).random(n)
    return sum(failing(asked, float(drawn)) for drawn in draws) / n


def test_independent_failures_follow_the_curve() -> None:
    failing = independent(cliff(0.1, below=0.0, above=0.3))
    assert share(failing, HEALTHY) == 0.0
    assert share(failing, SICK) == pytest.approx(0.3, abs=0.015)


def test_a_dose_may_be_borne_for_a_while() -> None:
    failing = setting_in(4.0, always, never)
    assert not failing(Asked(0.5, 90.0, 0, 3.9), 0.5)
    assert failing(Asked(0.5, 90.0, 0, 4.0), 0.5)


def test_a_deploy_changes_who_fails() -> None:
    failing = deployed(5.0, never, always)
    assert not failing(Asked(0.5, 4.9, 0), 0.5)
    assert failing(Asked(0.5, 5.0, 0), 0.5)


def test_there_are_spells_of_another_kind() -> None:
    failing = during(lambda asked: 5.0 <= asked.now_s < 7.0, always, never)
    assert [failing(Asked(0.0, now_s, 0), 0.5) for now_s in (4.9, 5.0, 6.9, 7.0)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_breaker_trips_after_failures_in_a_row_and_stays_open_without_a_dose() -> None:
    breaker = Breaker(independent(cliff(0.1, below=0.0, above=1.0)), open_s=20.0, row=3)
    told = [breaker(Asked(severity, 3.0, 0), 0.5) for severity in (0.5, 0.5, 0.0, 0.5, 0.5)]
    assert told == [True, True, False, True, True]
    assert not breaker(HEALTHY, 0.5), "two in a row are not three"
    assert all(breaker(SICK, 0.5) for _ in range(3))
    assert breaker(Asked(0.0, 22.9, 0), 0.5)
    assert not breaker(Asked(0.0, 23.0, 0), 0.5)


def test_a_deadly_dose_kills_for_good() -> None:
    mortal = Breaker(never, math.inf, deadly=lambda severity: severity >= 0.5)
    assert not mortal(Asked(0.4, 3.0, 0), 0.5)
    assert mortal(SICK, 0.5)
    assert mortal(Asked(0.0, 1e6, 0), 0.5)


@pytest.mark.parametrize("length", [3, 20])
def test_bursts_have_their_length_and_the_curve_s_ratio(length: int) -> None:
    failing, rng = Bursts(cliff(0.1, below=0.0, above=0.1), length), generator(2)
    bad = [failing(SICK, rng.random()) for _ in range(60_000)]
    assert sum(bad) / len(bad) == pytest.approx(0.1, abs=0.015)
    runs = [len(list(run)) for flag, run in groupby(bad) if flag]
    inner = Counter(runs[1:-1])
    assert inner[length] >= 0.7 * len(runs)  # others are bursts that follow one another
    assert all(run % length == 0 for run in inner)


def test_bursts_start_in_their_steady_state() -> None:
    """Else the first samples at a new severity would look better than the curve."""
    rng, first = generator(3), 0
    for _ in range(4000):
        failing = Bursts(lambda severity: 0.2, 20)
        first += failing(SICK, rng.random())
    assert first / 4000 == pytest.approx(0.2, abs=0.03)


def test_bursts_end_where_nothing_fails() -> None:
    failing = Bursts(cliff(0.1, below=0.0, above=1.0), 20)
    assert failing(SICK, 0.5)
    assert not failing(HEALTHY, 0.0)


def test_latencies_have_their_median_and_the_share_of_the_dose() -> None:
    latency, rng = lognormal(0.1, 0.5, passed_on=0.4), generator(4)
    for asked, median_s in ((HEALTHY, 0.1), (SICK, 0.3)):
        found = sorted(latency(asked, rng) for _ in range(4001))
        assert found[2000] == pytest.approx(median_s, rel=0.1)
        assert found[0] < found[2000] < found[-1]


def answers(service: Service, n: int = 4000) -> Counter[tuple[bool, bool]]:
    """How often the answers are (errors, slow)."""
    found: Counter[tuple[bool, bool]] = Counter()
    rng = generator(5)
    for _ in range(n):
        answer = service(SICK, rng)
        found[answer.status != 200, answer.latency_s > 0.3] += 1
    return found


def test_symptoms_show_by_themselves_or_together() -> None:
    half = independent(lambda severity: 0.5)
    symptoms = (Symptom(half, status=503), Symptom(half, latency_s=0.4))
    apart = answers(Service(symptoms, lognormal(0.02, 0.0)))
    assert all(count == pytest.approx(1000, abs=130) for count in apart.values())
    assert len(apart) == 4
    together = answers(Service(symptoms, lognormal(0.02, 0.0), together=True))
    assert set(together) == {(True, True), (False, False)}


def hung(seq: int, route: Route = Route.CANARY) -> Sample:
    return sample(seq, route=route, outcome=Outcome.TIMEOUT)


def test_a_pile_is_high_while_enough_of_the_newest_have_no_response() -> None:
    pile = Pile(limit=2, window=3)
    seen = [pile(each) for each in (hung(1), sample(2), hung(3), sample(4), sample(5))]
    assert seen == [False, False, True, False, False]


def test_a_pile_looks_at_the_canary_and_not_at_errors() -> None:
    pile = Pile(limit=1, window=3)
    assert not pile(hung(1, Route.CONTROL))
    assert not pile(sample(2, bad=True))
    assert pile(hung(3))


def test_who_is_only_watching_never_interrupts() -> None:
    pile = Pile(limit=1, window=3)
    assert not watched(pile)(hung(1))
    assert pile.high
