"""A result as text for a tired operator: the answer first, then what it cost and what is left.

Only the records are read here; numbers are never computed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from chaosbandit.core.model import Phase, Route
from chaosbandit.report.ladder_text import basis_lines, dose_lines, undecided_lines
from chaosbandit.report.numbers_in_words import count, duration, plural, share, window
from chaosbandit.report.records import BudgetResult, Cleanliness, Result, RouteResult

WIDTH = 100
_KEY = 10  # columns of the keys: ` requests: `
_ALARMING = (Cleanliness.NOT_CONFIRMED, Cleanliness.UNKNOWN)
_PHASES = {
    Phase.STEADY: "in steady state",
    Phase.WARMUP: "in warm-up",
    Phase.MEASURE: "measured",
    Phase.WASHOUT: "in wash-out",
}
_ROUTES = {Route.CANARY: "canary", Route.CONTROL: "control", Route.CHECK: "check"}
_NARROWEST = 40


def to_text(result: Result, width: int = WIDTH) -> str:
    """The final text: the answer, then a block of `key: value` lines, wrapped at `width`."""
    lines = _alarm(result) if result.clean in _ALARMING else []
    if result.control is not None:
        lines += [f"{result.control.text[0].upper()}{result.control.text[1:]}.", ""]
    lines += [*_wrapped(result.answer, width), ""]
    previous = ""
    for key, value in _pairs(result):
        lines += _pair(key if key != previous else "", value, max(width, _NARROWEST))
        previous = key
    return "\n".join(lines) + "\n"


def _alarm(result: Result) -> list[str]:
    """Leftovers outrank every answer."""
    if result.clean is Cleanliness.NOT_CONFIRMED:
        head = "CLEAN-UP NOT CONFIRMED."
    else:
        head = "CLEAN-UP NOT KNOWN: a fault may still be in place."
    return [head, *(f"  {line}" for line in result.clean_why.splitlines()), ""]


def _pairs(result: Result) -> Iterator[tuple[str, str]]:
    said = result.clean in _ALARMING and result.stop_reason == result.clean_why
    if not said and (result.next_step or not result.answered):
        yield "stopped", result.stop_reason
    if result.next_step:
        yield "next", result.next_step
    named = len(result.ladders) > 1
    yield from basis_lines(result.ladders)
    for ladder in result.ladders if not result.answered else ():
        yield from undecided_lines(ladder, named=named)
    if result.requests:
        sent = ", ".join(_route_text(route) for route in result.requests)
        yield "requests", sent + (f", {result.lost:,} lost in flight" if result.lost else "")
    if result.exposures:
        yield "cut", _cut_text(result.connections_cut)
    for budget in result.budgets:
        yield "budget", _budget_text(budget)
    for ladder in result.ladders:
        yield from dose_lines(ladder, named=named)
    for ladder in result.ladders:
        if ladder.gate is not None:
            yield "gate", f"{ladder.ladder} > {ladder.gate.above_text}: {ladder.gate.why}"
    for warning in result.warnings:
        yield "warning", warning
    removed = result.clean is Cleanliness.REMOVED
    yield "clean", result.clean_why if removed else str(result.clean)
    yield from (("clean", note) for note in result.clean_notes)
    yield "took", _took(result)
    if result.journal is not None:
        yield "journal", result.journal


def _wrapped(text: str, width: int) -> list[str]:
    """A line a ladder, and more where one is long."""
    lines = text.splitlines()
    return [part for line in lines for part in textwrap.wrap(line, max(width, _NARROWEST))]


def _pair(key: str, value: str, width: int) -> list[str]:
    return textwrap.wrap(
        value,
        width=width,
        initial_indent=f"{key:>{_KEY}}: " if key else " " * (_KEY + 2),
        subsequent_indent=" " * (_KEY + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _route_text(route: RouteResult) -> str:
    if route.route is Route.CHECK:
        return f"{route.sent:,} check"
    phases = [f"{bad:,} {_PHASES[Phase(phase)]}" for phase, bad in route.bad_by_phase.items()]
    where = f": {' + '.join(phases)}" if route.route is Route.CANARY and phases else ""
    return f"{route.sent:,} {_ROUTES[route.route]} ({route.any_bad:,} bad{where})"


def _cut_text(connections: int | None) -> str:
    if connections is None:
        return "connections were cut by us, how many could not be counted"
    return f"{plural(connections, 'connection')} by us"


def _budget_text(budget: BudgetResult) -> str:
    text = (
        f"{budget.slo} {budget.spent:,} of {budget.allowed:,} bad, "
        f"{share(budget.window_share)} of the {window(budget.window_s)} error budget"
    )
    if budget.spent:
        above = max(0.0, budget.excess_over_control)
        blamed = f"{count(above)} above control, " if above < budget.spent else ""
        text += f" ({blamed}burn rate {budget.burn_rate:.2g})"
    return text


def _took(result: Result) -> str:
    void = sum(not exposure.valid for exposure in result.exposures)
    parts = [duration(result.duration_s), plural(len(result.exposures), "exposure")]
    if void:
        parts.append(f"{void} void")
    if result.seed is not None:
        parts.append(f"seed {result.seed}")
    if result.run:
        parts.append(f"run {result.run}")
    return ", ".join(parts)
