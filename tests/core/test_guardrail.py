from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.core import guardrail
from chaosbandit.core.campaign import Campaign, Tally, apply
from chaosbandit.core.climb import Climb
from chaosbandit.core.growing_sequence import Series
from chaosbandit.core.guardrail import Admitted, Refused, admit
from chaosbandit.core.model import Cause, Expose, Outcome, Purpose, Route, Sample
from chaosbandit.core.replay import opening
from chaosbandit.core.scenario import Guardrails, Scenario, Search, Timing
from tests.simulated import (
    AVAILABILITY,
    LATENCY,
    SLOPPY,
    header,
    knowing,
    ladder,
    only,
    sample,
    scenario,
)

TIMING = Timing(warmup_samples=20)


def campaign(asked: Scenario, spent: int = 0, bad_at: int | None = None) -> Campaign:
    """A campaign that spent some budget, and whose model saw an arm fail."""
    started = apply(opening(asked), header())
    bad = (spent,) * len(asked.slos)
    started = replace(started, tallies={Route.CANARY: Tally(spent, bad, spent)})
    if bad_at is None:
        safe = len(asked.ladder.severities) - 1
        beliefs = tuple(belief.observe(safe, 400, 0) for belief in only(started).beliefs)
    else:
        beliefs = tuple(belief.observe(bad_at, 0, 5) for belief in only(started).beliefs)
    return knowing(started, beliefs=beliefs)


def climbing(asked: Scenario, spent: int = 0, bad_at: int | None = None) -> Climb:
    return only(campaign(asked, spent, bad_at))


def expose(
    asked: Scenario,
    arm: int,
    samples: int,
    purpose: Purpose = Purpose.SEARCH,
    ends: int | None = None,
) -> Expose:
    return Expose(asked.ladder.variant(arm), samples, purpose, (), ends)


@pytest.mark.parametrize(
    ("spent", "samples", "admitted"),
    [
        (0, 50, 50),
        (900, 50, 50),
        # 1000 allowed, 25 kept for two wash-outs, 1 of overhead: the rest at four times 1 %
        (964, 1000, 250),
        (973, 1000, 25),
        (973, 10, 10),
    ],
)
def test_where_the_arm_is_believed_to_hold_samples_are_trimmed_to_four_times_the_objective(
    spent: int, samples: int, admitted: int
) -> None:
    asked = scenario(timing=TIMING)
    assert admit(expose(asked, 3, samples), climbing(asked, spent)) == Admitted(admitted)


@pytest.mark.parametrize(
    ("spent", "samples", "ends", "admitted"),
    [
        (0, 50, None, 50),
        (0, 5000, None, 950),  # 1000 - 20 warm-up - 5 unresolved - 25 for two wash-outs
        (0, 5000, 2, 5000),  # ends at the second bad one: cheap whatever its length
        (940, 50, None, 10),
        (940, 50, 10, 50),
        (940, 50, 11, 10),
        (949, 50, None, 1),
    ],
)
def test_where_the_arm_is_risky_every_sample_may_be_bad(
    spent: int, samples: int, ends: int | None, admitted: int
) -> None:
    asked = scenario(timing=TIMING)
    found = admit(expose(asked, 3, samples, Purpose.BROKE, ends), climbing(asked, spent, bad_at=3))
    assert found == Admitted(admitted)


@pytest.mark.parametrize(("spent", "bad_at"), [(974, None), (1000, None), (950, 3), (2000, 3)])
def test_without_room_for_the_worst_nothing_starts(spent: int, bad_at: int | None) -> None:
    asked = scenario(timing=TIMING)
    found = admit(expose(asked, 3, 5), climbing(asked, spent, bad_at))
    assert isinstance(found, Refused) and found.cause is Cause.BUDGET
    assert f"{max(0, 1000 - spent)} bad requests left" in found.reason


def test_the_scarcest_slo_decides() -> None:
    strict = replace(LATENCY, objective=0.999)  # 100 allowed
    asked = scenario(AVAILABILITY, strict, timing=TIMING)
    assert campaign(asked, 70).budget_left() == 30
    assert admit(expose(asked, 3, 1000), climbing(asked, 70)) == Admitted(100)


def test_the_most_tolerant_slo_decides_what_is_plausible() -> None:
    asked = scenario(AVAILABILITY, replace(LATENCY, objective=0.95), timing=TIMING)
    assert admit(expose(asked, 3, 1000), climbing(asked, 964)) == Admitted(50)


def test_lost_samples_count_as_bad() -> None:
    asked = scenario(timing=TIMING)
    assert replace(campaign(asked, 900), lost=94).budget_left() == 6
    found = admit(expose(asked, 3, 5), only(replace(campaign(asked, 900), lost=94)))
    assert isinstance(found, Refused)


def test_nothing_above_the_cap() -> None:
    asked = scenario(guardrails=Guardrails(max_severity=0.005))
    arms = asked.ladder.severities
    allowed = admit(expose(asked, arms.index(0.005), 5), climbing(asked))
    refused = admit(expose(asked, arms.index(0.006), 5), climbing(asked))
    assert allowed == Admitted(5)
    assert refused == Refused(Cause.CAPPED, "6 ms is above guardrails.max_severity 5 ms")


def test_nothing_after_the_time() -> None:
    asked = scenario(search=Search(max_duration_s=60.0))
    in_time, late = (replace(campaign(asked), asked_s=now_s) for now_s in (60.0, 60.1))
    assert admit(expose(asked, 0, 5), only(in_time)) == Admitted(5)
    found = admit(expose(asked, 0, 5), only(late))
    assert found == Refused(Cause.TIME, "search.max_duration of 60 s is over")


def test_an_arm_is_risky_once_the_model_doubts_it() -> None:
    asked = scenario()
    top = len(asked.ladder.severities) - 1
    seen = climbing(asked, bad_at=10)
    assert guardrail.risky(seen, 10)
    assert guardrail.risky(seen, top)
    assert not guardrail.risky(climbing(asked), 10)


@pytest.mark.parametrize(
    ("run", "stops"),
    [
        ([False] * 10, False),
        ([True] * 2, False),
        ([True, True, False, True, True], False),
        ([True] * 3, True),
        ([False, True, True, True], True),
    ],
)
def test_bad_samples_in_a_row_stop_the_sending(run: list[bool], stops: bool) -> None:
    asked = scenario(guardrails=Guardrails(abort_if_bad_in_a_row=3))
    measured = [sample(seq, bad=each) for seq, each in enumerate(run)]
    found = guardrail.check(climbing(asked), measured, 0)
    assert stops == (found == "3 bad requests in a row (guardrails.abort_if_bad_in_a_row)")


@pytest.mark.parametrize(
    ("spent", "unresolved", "stops"),
    [
        (0, 0, False),
        (970, 5, False),  # 30 left, 25 of them for two wash-outs
        (970, 6, True),
        (974, 0, False),
        (974, 1, False),
        (975, 0, True),
        (1000, 0, True),
    ],
)
def test_requests_in_flight_count_as_bad(spent: int, unresolved: int, stops: bool) -> None:
    asked = scenario()
    found = guardrail.check(climbing(asked, spent), [sample(1)], unresolved)
    assert stops == (found is not None)
    assert found is None or "error budget" in found


@pytest.mark.parametrize(
    ("budget", "left", "waiting", "gone", "affords"),
    [
        (1000, 1000, 4, 0.01, True),
        (1000, 950, 0, 0.1, True),
        (5, 5, 0, 0.0, True),
        (5, 4, 0, 0.2, True),
        (5, 1, 0, 0.9, True),
        (5, 5, 1, 0.1, False),  # one at a time while there is little to spend
        (5, 4, 0, 0.1, False),
        (5, 1, 1, 0.99, False),
        (5, 0, 0, 0.99, False),
        (0, 0, 0, 0.0, False),
    ],
)
def test_bad_answers_of_a_wash_out_are_spread_over_its_time(
    budget: int, left: int, waiting: int, gone: float, affords: bool
) -> None:
    assert affords == guardrail.affords_probe(budget, left, waiting, gone)


@pytest.mark.parametrize("status", [401, 403, 407, 429])
def test_an_answer_to_us_as_a_client_is_told_from_the_doses_doing(status: int) -> None:
    asked = scenario(SLOPPY, over=ladder())
    refused = sample(9, status=status)
    found = guardrail.refused_as_client(campaign(asked), refused)
    assert found is not None
    assert f"answered {status} on the canary route" in found
    once = Series([sample(1, status=status)])
    shown = replace(campaign(asked), steady_samples={Route.CANARY: once})
    assert guardrail.refused_as_client(shown, refused) is None
    elsewhere = replace(campaign(asked), steady_samples={Route.CONTROL: once})
    assert guardrail.refused_as_client(elsewhere, refused) is not None


@pytest.mark.parametrize("answer", [sample(1), sample(1, bad=True), sample(1, status=404)])
def test_other_answers_are_no_refusal(answer: Sample) -> None:
    assert guardrail.refused_as_client(campaign(scenario()), answer) is None
    timed_out = sample(1, outcome=Outcome.TIMEOUT, status=429)
    assert guardrail.refused_as_client(campaign(scenario()), timed_out) is None


@pytest.mark.parametrize(
    ("rate_per_s", "unresolved", "kept"), [(50.0, 5, 25), (50.0, 0, 20), (1.0, 5, 13), (0.5, 5, 13)]
)
def test_what_two_looks_at_the_path_may_cost_is_kept_back(
    rate_per_s: float, unresolved: int, kept: int
) -> None:
    limits = Guardrails(max_unresolved=unresolved)
    assert guardrail.reserve(scenario(rate_per_s=rate_per_s, guardrails=limits)) == kept


@pytest.mark.parametrize(
    ("flags", "hopeless"),
    [("", False), ("xx", False), ("xxx", True), ("xx.", False), ("xxxx", True), ("xxx.", False)],
)
def test_a_warm_up_is_hopeless_once_its_first_three_answers_are_bad(
    flags: str, hopeless: bool
) -> None:
    warmed = [sample(seq, bad=flag == "x") for seq, flag in enumerate(flags)]
    assert guardrail.hopeless(warmed) is hopeless


@pytest.mark.parametrize("rate_per_s", [0.5, 50.0, 500.0])
def test_a_warm_up_is_no_longer_at_a_high_rate(rate_per_s: float) -> None:
    assert guardrail.warmup_samples(scenario(rate_per_s=rate_per_s, timing=Timing())) == 5


@pytest.mark.parametrize(("rate_per_s", "share"), [(1.0, 0.2), (10.0, 0.2), (50.0, 0.04)])
def test_checks_are_two_a_second_and_never_more_than_a_fifth(
    rate_per_s: float, share: float
) -> None:
    assert guardrail.check_share(scenario(rate_per_s=rate_per_s)) == pytest.approx(share)


def test_blocks_put_the_limit_of_bad_ones_in_a_row_off() -> None:
    """A block of clumped failures counts only when it is whole."""
    asked = scenario(guardrails=Guardrails(abort_if_bad_in_a_row=3), search=Search(block=8))
    bad = [sample(seq, bad=True) for seq in range(8)]
    assert guardrail.check(climbing(asked), bad[:7], 0) is None
    assert guardrail.check(climbing(asked), bad, 0) is not None
