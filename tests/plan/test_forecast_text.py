"""The plan as people read it: a sentence, a table, and advice where it is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.plan.forecast_records import Advice, BudgetPlan, GatePlan, Price, Spread, StoppedBy
from chaosbandit.plan.forecast_text import WIDTH, headline, so_far, to_text
from tests.plan.test_forecast_records import made

BAD, SHARE = Spread(31.0, 20.0, 74.0), Spread(0.00156, 0.001, 0.0037)


def test_the_headline_says_it_all() -> None:
    plan = replace(
        made(),
        duration_s=Spread(362.0, 200.0, 840.0),
        bad_requests=Spread(31.2, 20.0, 74.0),
        budgets=(BudgetPlan("availability", BAD, 1000, SHARE, 2_592_000.0),),
        inconclusive=0.03,
        inconclusive_between=(0.01, 0.06),
        answered=0.97,
    )
    assert headline(plan) == (
        "A run will take about 6 minutes (90 % of runs: at most 14 minutes) and cost 31 bad "
        "requests (90 %: at most 74), 0.16 % of the 30-day error budget; 3 % of runs (1 to 6 %) "
        "end without an answer."
    )


@pytest.mark.parametrize(
    ("mean_s", "said"),
    [(42.4, "42 s"), (90.0, "1.5 minutes"), (60.0, "1 minute"), (4000.0, "1 h 06 min")],
)
def test_durations_are_said_as_roughly_as_they_are_known(mean_s: float, said: str) -> None:
    assert f"about {said} (90" in headline(replace(made(), duration_s=Spread(mean_s, 60.0, 9000.0)))


def test_the_worse_budget_is_named_where_there_are_several() -> None:
    assert (
        "0.055 % of the 30-day error budget of latency; 40 % of runs (12 to 74 %) end"
        in headline(made())
    )


def test_the_table_is_aligned_and_fits() -> None:
    text = to_text(made())
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    head = next(line for line in lines if "expected" in line)
    for row in ("time ", "requests, all routes", "exposures", "bad for availability"):
        line = next(line for line in lines if line.startswith(row))
        cell = head.index("expected") + len("expected")
        assert line[cell - 1] != " " and line[cell : cell + 2] == "  "
    assert "\n  of 1,000, budget.spend " in text


def test_under_the_figures_is_said_how_well_they_are_known() -> None:
    few = Spread(600.0, 300.0, 1500.0, (450.0, 780.0), (200.0, 400.0), (1200.0, None))
    lines = to_text(replace(made(), duration_s=few)).splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("time "))
    assert "(8 to 13 minutes)" in lines[row + 1] and "(over 20 minutes)" in lines[row + 1]


def test_what_is_known_so_far_gives_no_advice() -> None:
    text = so_far(made())
    assert text.startswith("So far, after 10 simulated campaigns: A run will take about 6 minutes")
    assert "advice" not in text and "exit codes" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_it_is_said_how_runs_end_and_why() -> None:
    text = " ".join(to_text(made()).split())
    assert "slow ends with no answer (40 %), a bracket (40 %)" in text
    assert "broke at 10 ms, the mildest (10 %)" in text
    assert "stopped by the error budget (budget.spend) (20 %), search.max_duration (10 %)" in text


def test_advice_only_where_it_is_needed() -> None:
    assert "advice" not in to_text(replace(made(), answered=0.95))


def test_advice_names_keys_values_and_what_follows() -> None:
    then, now = Price(12_400.0, 210.0, 1080.0), Price(9000.0, 120.0, 660.0)
    raised = Advice(
        {"budget.spend": "4.6%", "search.max_duration": "48min"}, 0.914, then, now, 24, (0.85, 0.95)
    )
    coarser = Advice({"search.resolution": "50%"}, 0.78, then, now, 24, (0.7, 0.8))
    text = to_text(replace(made(), advice=(raised, coarser)))
    assert "advice: for 90 % of runs to end with an answer, set one of\n" in text
    assert (
        "  budget.spend: 4.6% and search.max_duration: 48min  then 91 % (85 to 95 %) do\n" in text
    )
    assert (
        "  search.resolution: 50%                             then 78 % (70 to 80 %) do\n" in text
    )
    price = "12,400 requests, 210 bad, 18 minutes instead of 9,000 requests, 120 bad, 11 minutes"
    assert text.count(f"    for {price}\n") == 2
    one = to_text(replace(made(), advice=(coarser,)))
    assert "advice: for more runs to end with an answer, set\n" in one


def test_where_nothing_helps_it_says_so() -> None:
    assert "no single change" in to_text(made())


def test_nothing_is_said_of_limits_that_stopped_no_run() -> None:
    fine = replace(made(), stopped_by=StoppedBy(0.0, 0.0, 0.0, 0.0))
    assert "stopped by" not in to_text(fine)


def test_it_is_said_what_holding_takes_and_costs() -> None:
    text = " ".join(to_text(made()).split())
    assert (
        "to hold takes at least 299 good requests at one severity (availability at 99 %, 95 % "
        "confidence) search.hold: 15 s costs an answer about 3.5 s of that time, 350 of the "
        "requests to the canary and 3.5 of the bad ones" in text
    )
    never = replace(made(), hold=replace(made().hold, possible=False, hold_s=0.0))
    text = " ".join(to_text(never).split())
    assert "so nothing can ever be shown to hold, only to break" in text
    assert "search.hold:" not in text


def test_what_is_cheaper_is_said_with_both_prices() -> None:
    then, now = Price(1240.0, 21.0, 90.0), Price(9000.0, 120.0, 660.0)
    gate = Advice({"search.stop": "gate"}, 1.0, then, now, 24, (0.86, 1.0))
    single = Advice({"search.block": "1"}, 0.9, then, now, 24, (0.7, 1.0))
    text = " ".join(to_text(replace(made(), alternatives=(gate, single))).split())
    assert (
        "cheaper: the gate alone (search.stop: gate, or --gate) costs 1,240 requests, 21 bad, 1.5 "
        "minutes instead of 9,000 requests, 120 bad, 11 minutes, and 100 % of runs (86 to 100 %) "
        "end with an answer" in text
    )
    assert "without search.block, valid only where failures come one by one, costs 1,240" in text


def test_gates_and_exit_codes_are_said() -> None:
    (one,) = made().ladders
    gated = replace(made(), ladders=(replace(one, gate=GatePlan("150 ms", 0.5, 0.3, 0.2)),))
    said = "the gate slow > 150 ms passes (50 %), fails (30 %), is undecided (20 %)"
    assert said in to_text(gated) and "slow ends with" in to_text(gated)
    alone = to_text(replace(gated, stop="gate"))
    assert said in alone and "slow ends with" not in alone
    assert "exit codes: 0 (60 %), 4 (10 %), 5 (30 %)" in alone
