"""A plan as text for a tired operator: one sentence, a small table, and advice where it is needed.

Only the records are read here; numbers are never computed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from chaosbandit.core.scenario import GATE
from chaosbandit.plan.forecast_records import (
    MOST,
    Advice,
    GatePlan,
    LadderPlan,
    Plan,
    Price,
    Spread,
)
from chaosbandit.plan.intervals import Between
from chaosbandit.report.numbers_in_words import (
    about,
    count,
    duration,
    plural,
    share,
    spanned,
    window,
)

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
    parts += ["", *_hold(plan), *_alternatives(plan)]
    if plan.answered < MOST:
        parts += ["", *_advice(plan)]
    parts += ["", textwrap.fill(_basis(plan), WIDTH)]
    return "\n".join(parts) + "\n"


def so_far(plan: Plan) -> str:
    """The same before all is simulated: no alternatives, no advice."""
    campaigns = plural(plan.campaigns, "simulated campaign")
    head = f"So far, after {campaigns}: {headline(plan)}"
    parts = [textwrap.fill(head, WIDTH), "", *_table(plan), "", *_found(plan)]
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
        f"{_runs(plan.inconclusive)} of runs ({_runs_between(plan.inconclusive_between)}) "
        "end without an answer."
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


def _runs_between(between: tuple[float, float]) -> str:
    return spanned(*map(_runs, between))


def _requests(number: float) -> str:
    return "request" if round(number) == 1 else "requests"


def _whole(number: float) -> str:
    return count(round(number))


# --- the table ------------------------------------------------------------------------------------

Row = tuple[str, str, str, str]


def _table(plan: Plan) -> list[str]:
    """Columns under their heads; what is measured to the left, numbers right."""
    rows = [("", "expected", "half of runs", "90 % of runs"), *_rows(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}".rstrip()
        for row in rows
    ]


def _rows(plan: Plan) -> Iterator[Row]:
    limit = f"of {duration(plan.max_duration_s)}, search.max_duration"
    yield from _known("time", plan.duration_s, duration, _about, limit)
    yield from _known("requests, all routes", plan.requests, _whole, about)
    yield from _known("requests to the canary", plan.canary_requests, _whole, about)
    yield from _known("exposures", plan.exposures, _whole, about)
    for budget in plan.budgets:
        limit = f"of {budget.allowed:,}, budget.spend"
        yield from _known(f"bad for {budget.slo}", budget.bad, _whole, about, limit)
        yield _row(f"  of its {window(budget.window_s)} budget", budget.window_share, share)


def _row(name: str, spread: Spread, say: Callable[[float], str]) -> Row:
    return name, say(spread.mean), say(spread.median), say(spread.p90)


def _known(
    name: str,
    spread: Spread,
    say: Callable[[float], str],
    roughly: Callable[[float], str],
    limit: str = "",
) -> Iterator[Row]:
    """The figures; under them the limit, and how well so many campaigns know them."""
    yield _row(name, spread, say)
    mean, p90 = (_between(each, roughly) for each in (spread.mean_between, spread.p90_between))
    yield f"  {limit}", mean, "", p90


def _between(between: Between, say: Callable[[float], str]) -> str:
    low, high = between
    return f"(over {say(low)})" if high is None else f"({spanned(say(low), say(high))})"


# --- what is found, and advice --------------------------------------------------------------------


def _found(plan: Plan) -> Iterator[str]:
    for ladder in plan.ladders:
        if plan.stop != GATE:
            yield from _wrapped(f"{ladder.ladder} ends with ", _ends(ladder))
        if ladder.gate is not None:
            head = f"the gate {ladder.ladder} > {ladder.gate.above_text} "
            yield from _wrapped(head, _outcomes(ladder.gate))
    stops = (
        (getattr(plan.stopped_by, name), words)
        for name, words in _LIMITS.items()
        if getattr(plan.stopped_by, name)
    )
    reasons = [f"{words} ({_runs(number)})" for number, words in sorted(stops, reverse=True)]
    if reasons:
        yield from _wrapped("runs without an answer were stopped by ", reasons)
    exits = [f"{code} ({_runs(number)})" for code, number in plan.exits.items()]
    yield from _wrapped("exit codes: ", exits)


def _outcomes(gate: GatePlan) -> list[str]:
    shares = ((gate.passed, "passes"), (gate.failed, "fails"), (gate.undecided, "is undecided"))
    return [
        f"{words} ({_runs(number)})" for number, words in sorted(shares, reverse=True) if number
    ]


def _hold(plan: Plan) -> Iterator[str]:
    """What holding takes at the very least, and what standing costs."""
    hold = plan.hold
    least = (
        f"to hold takes at least {hold.least_good:,} good requests at one severity "
        f"({hold.slo} at {share(hold.objective)}, {share(hold.confidence)} confidence)"
    )
    if not hold.possible:
        least += (
            "; fewer can be sent within search.max_samples and search.max_duration, so nothing can "
            "ever be shown to hold, only to break"
        )
    yield from textwrap.wrap(least, WIDTH, subsequent_indent="  ")
    if hold.hold_s and plan.answered:
        yield from textwrap.wrap(
            f"search.hold: {duration(hold.hold_s)} costs an answer about "
            f"{duration(round(hold.price.duration_s, 1))} of that time, "
            f"{_whole(hold.price.requests)} of the requests to the canary and "
            f"{count(hold.price.bad_requests)} of the bad ones",
            WIDTH,
            subsequent_indent="  ",
        )


def _alternatives(plan: Plan) -> Iterator[str]:
    for each in plan.alternatives:
        gate = each.changes.get("search.stop") == GATE
        which = (
            "the gate alone (search.stop: gate, or --gate)"
            if gate
            else "evidence without search.block, valid only where failures come one by one,"
        )
        yield from textwrap.wrap(
            f"cheaper: {which} costs {_price(each.price)} instead of {_price(each.instead_of)}, "
            f"and {_runs(each.answered)} of runs ({_runs_between(each.answered_between)}) end with "
            "an answer",
            WIDTH,
            subsequent_indent="  ",
        )


def _price(price: Price) -> str:
    requests, bad = _whole(price.requests), _whole(price.bad_requests)
    return f"{requests} requests, {bad} bad, {_about(price.duration_s)}"


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
    width = max(len(_changes(advice)) for advice in plan.advice)
    return [
        f"advice: for {goal} to end with an answer, set{choices}",
        *(line for advice in plan.advice for line in _advised(advice, width)),
        "  (means of the runs that end without an answer now)",
    ]


def _advised(advice: Advice, width: int) -> Iterator[str]:
    between = _runs_between(advice.answered_between)
    yield f"  {_changes(advice):<{width}}  then {_runs(advice.answered)} ({between}) do"
    yield f"    for {_price(advice.price)} instead of {_price(advice.instead_of)}"


def _changes(advice: Advice) -> str:
    return " and ".join(f"{key}: {value}" for key, value in advice.changes.items())


def _basis(plan: Plan) -> str:
    return (
        f"From {plural(plan.campaigns, 'simulated campaign')} (seed {plan.seed}; in brackets 95 % "
        "intervals) against services that break anywhere on the ladder or half a decade beyond it, "
        "abruptly or gradually; nothing was sent. A service that breaks abruptly costs less than "
        "the mean, a gradual one more."
    )
