"""The plan as people read it: a sentence, a table, and advice where it is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosbandit.plan.outcome import Advice, BudgetPlan, Spread, StoppedBy
from chaosbandit.plan.text import WIDTH, headline, to_text
from tests.plan.test_outcome import made

BAD, SHARE = Spread(31.0, 20.0, 74.0), Spread(0.00156, 0.001, 0.0037)


def test_the_headline_says_it_all() -> None:
    plan = replace(
        made(),
        duration_s=Spread(362.0, 200.0, 840.0),
        bad_requests=Spread(31.2, 20.0, 74.0),
        budgets=(BudgetPlan("availability", BAD, 1000, SHARE, 2_592_000.0),),
        inconclusive=0.03,
        answered=0.97,
    )
    assert headline(plan) == (
        "A run will take about 6 minutes (90 % of runs: at most 14 minutes) and cost 31 bad "
        "requests (90 %: at most 74), 0.16 % of the 30-day error budget; 3 % of runs end without "
        "an answer."
    )


@pytest.mark.parametrize(
    ("mean_s", "said"),
    [(42.4, "42 s"), (90.0, "1.5 minutes"), (60.0, "1 minute"), (4000.0, "1 h 06 min")],
)
def test_durations_are_said_as_roughly_as_they_are_known(mean_s: float, said: str) -> None:
    assert f"about {said} (90" in headline(replace(made(), duration_s=Spread(mean_s, 60.0, 9000.0)))


def test_the_worse_budget_is_named_where_there_are_several() -> None:
    assert "0.055 % of the 30-day error budget of latency; 40 % of runs" in headline(made())


def test_the_table_is_aligned_and_fits() -> None:
    text = to_text(made())
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    head = next(line for line in lines if "expected" in line)
    for row in ("time ", "requests, all routes", "exposures", "bad for availability"):
        line = next(line for line in lines if line.startswith(row))
        cell = head.index("expected") + len("expected")
        assert line[cell - 1] != " " and line[cell : cell + 2] == "  "
    assert "18   1,000, budget.spend" in text


def test_it_is_said_how_runs_end_and_why() -> None:
    text = " ".join(to_text(made()).split())
    assert "slow ends with no answer (40 %), a bracket (40 %)" in text
    assert "broke at 10 ms, the mildest (10 %)" in text
    assert "stopped by the error budget (budget.spend) (20 %), search.max_duration (10 %)" in text


def test_advice_only_where_it_is_needed() -> None:
    assert "advice" not in to_text(replace(made(), answered=0.95))


def test_advice_names_keys_values_and_what_follows() -> None:
    raised = Advice({"budget.spend": "4.6%", "search.max_duration": "48min"}, 0.914)
    coarser = Advice({"search.resolution": "50%"}, 0.78)
    text = to_text(replace(made(), advice=(raised, coarser)))
    assert "advice: for 90 % of runs to end with an answer, set one of\n" in text
    assert "  budget.spend: 4.6% and search.max_duration: 48min  then 91 % do\n" in text
    assert "  search.resolution: 50%                             then 78 % do\n" in text
    one = to_text(replace(made(), advice=(coarser,)))
    assert "advice: for more runs to end with an answer, set\n" in one


def test_where_nothing_helps_it_says_so() -> None:
    assert "no single change" in to_text(made())


def test_nothing_is_said_of_limits_that_stopped_no_run() -> None:
    fine = replace(made(), stopped_by=StoppedBy(0.0, 0.0, 0.0, 0.0))
    assert "stopped by" not in to_text(fine)
