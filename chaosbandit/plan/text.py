"""A plan as text for a tired operator: one sentence, a small table, and advice where it is needed.

Only the records are read here; numbers are never computed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from chaosbandit.plan.outcome import MOST, Advice, LadderPlan, Plan, Spread
from chaosbandit.report.phrases import count, duration, plural, share, window

WIDTH = 100
_LIMITS = {
    "budget": "the error budget (budget.spend)",
    "max_duration": "search.max_duration",
    "max_samples": "search.max_samples",
    "other": "evidence that fits no breaking point",
}


def to_text(plan: Plan) -> str:
    """The headline, the table, what is found, and what to change."""
    parts = [textwrap.fill(headline(plan), WIDTH), "", *_table(plan), "", *_found(plan)]
    if plan.answered < MOST:
        parts += ["", *_advice(plan)]
    parts += ["", textwrap.fill(_basis(plan), WIDTH)]
    return "\n".join(parts) + "\n"


def headline(plan: Plan) -> str:
    """What to expect, in a sentence."""
    worst = max(plan.budgets, key=lambda budget: budget.window_share.mean)
    whose = f" of {worst.slo}" if len(plan.budgets) > 1 else ""
    return (
        f"A run will take about {_about(plan.duration_s.mean)} "
        f"(90 % of runs: at most {_about(plan.duration_s.p90)}) and cost "
        f"{_whole(plan.bad_requests.mean)} bad {_requests(plan.bad_requests.mean)} "
        f"(90 %: at most {_whole(plan.bad_requests.p90)}), "
        f"{share(worst.window_share.mean)} of the {window(worst.window_s)} error budget{whose}; "
        f"{_runs(plan.inconclusive)} of runs end without an answer."
    )


def _about(duration_s: float) -> str:
    """Minutes without seconds: nothing here is known that well."""
    if 60.0 <= duration_s < 3600.0:
        minutes = round(duration_s / 60.0, 1) if duration_s < 300.0 else round(duration_s / 60.0)
        return f"{minutes:g} minute" + ("" if minutes == 1 else "s")
    return duration(round(duration_s))


def _runs(fraction: float) -> str:
    """A share of simulated runs, which is not known to tenths of a percent."""
    if 0.0 < fraction < 0.01:
        return "under 1 %"
    if 0.99 < fraction < 1.0:
        return "over 99 %"
    return f"{fraction * 100:.0f} %"


def _requests(number: float) -> str:
    return "request" if round(number) == 1 else "requests"


def _whole(number: float) -> str:
    return count(round(number))


# --- the table ------------------------------------------------------------------------------------

Row = tuple[str, str, str, str, str]


def _table(plan: Plan) -> list[str]:
    """Columns under their heads; what is measured and its limit to the left, numbers right."""
    rows = [("", "expected", "half of runs", "90 % of runs", "limit"), *_rows(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}   {row[4]}".rstrip()
        for row in rows
    ]


def _rows(plan: Plan) -> Iterator[Row]:
    limit = f"{duration(plan.max_duration_s)}, search.max_duration"
    yield _row("time", plan.duration_s, duration, limit)
    yield _row("requests, all routes", plan.requests, _whole)
    yield _row("requests to the canary", plan.canary_requests, _whole)
    yield _row("exposures", plan.exposures, _whole)
    for budget in plan.budgets:
        yield _row(f"bad for {budget.slo}", budget.bad, _whole, f"{budget.allowed:,}, budget.spend")
        yield _row(f"  of its {window(budget.window_s)} budget", budget.window_share, share)


def _row(name: str, spread: Spread, say: Callable[[float], str], limit: str = "") -> Row:
    return name, say(spread.mean), say(spread.median), say(spread.p90), limit


# --- what is found, and advice --------------------------------------------------------------------


def _found(plan: Plan) -> Iterator[str]:
    for ladder in plan.ladders:
        ends = _ends(ladder)
        yield from _wrapped(f"{ladder.ladder} ends with ", ends)
    stops = (
        (getattr(plan.stopped_by, name), words)
        for name, words in _LIMITS.items()
        if getattr(plan.stopped_by, name)
    )
    reasons = [f"{words} ({_runs(number)})" for number, words in sorted(stops, reverse=True)]
    if reasons:
        yield from _wrapped("runs without an answer were stopped by ", reasons)


def _ends(ladder: LadderPlan) -> list[str]:
    """The ways to end, the likeliest first; none that never happened."""
    ends = sorted(
        (
            (ladder.bracket, "a bracket"),
            (ladder.above, f"held at {ladder.harshest_text}, the harshest"),
            (ladder.below, f"broke at {ladder.mildest_text}, the mildest"),
            (ladder.nothing, "no answer"),
        ),
        reverse=True,
    )
    return [f"{words} ({_runs(number)})" for number, words in ends if number]


def _wrapped(head: str, items: Sequence[str]) -> list[str]:
    return textwrap.wrap(head + ", ".join(items), WIDTH, subsequent_indent="  ")


def _advice(plan: Plan) -> list[str]:
    if not plan.advice:
        text = (
            "advice: no single change of budget.spend, search.max_duration, search.resolution or "
            "traffic.rate helps; plan a narrower ladder (from, to)"
        )
        return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    enough = any(advice.answered >= MOST for advice in plan.advice)
    goal = f"{_runs(MOST)} of runs" if enough else "more runs"
    choices = "" if len(plan.advice) == 1 else " one of"
    texts = [_changes(advice) for advice in plan.advice]
    width = max(map(len, texts))
    return [
        f"advice: for {goal} to end with an answer, set{choices}",
        *(
            f"  {text:<{width}}  then {_runs(advice.answered)} do"
            for text, advice in zip(texts, plan.advice, strict=True)
        ),
    ]


def _changes(advice: Advice) -> str:
    return " and ".join(f"{key}: {value}" for key, value in advice.changes.items())


def _basis(plan: Plan) -> str:
    return (
        f"From {plural(plan.campaigns, 'simulated campaign')} (seed {plan.seed}) against services "
        "that break anywhere on the ladder or half a decade beyond it, abruptly or gradually; "
        "nothing was sent. A service that breaks abruptly costs less than the mean, a gradual one "
        "more."
    )
