"""A result as text for a tired operator: the answer first, then what it cost and what is left.

Only the records are read here; numbers are never computed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from chaosbandit.core.model import Dose, Phase, Route, VerdictKind
from chaosbandit.report.phrases import count, duration, plural, share, window
from chaosbandit.report.records import (
    BudgetResult,
    Cleanliness,
    ExposureResult,
    GateOutcome,
    LadderResult,
    Result,
    RouteResult,
)

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
_MOST_ARMS = 3
_NARROWEST = 40


def to_text(result: Result, width: int = WIDTH) -> str:
    """The final text: the answer, then a block of `key: value` lines, wrapped at `width`."""
    lines = [result.answer]
    if result.clean in _ALARMING:
        lines = [*_alarm(result), result.answer]
    previous = ""
    lines.append("")
    for key, value in _pairs(result):
        lines += _pair(key if key != previous else "", value, max(width, _NARROWEST))
        previous = key
    return "\n".join(lines) + "\n"


def exposure_line(exposure: ExposureResult, unit: str, *, named: bool = False) -> str:
    """One exposure in one line: `exposure 3: 190 ms, 120 requests, 1 bad (latency), ...`.

    With `named` it says of which ladder: `exposure 3: slow-inventory 190 ms, ...`.
    """
    dose = f"{exposure.ladder} {exposure.severity_text}" if named else exposure.severity_text
    parts = [dose, plural(exposure.samples, "request"), _bad_text(exposure.bad)]
    if exposure.dose.delivered is not None or exposure.dose.felt is not None:
        parts.append(_dose_text(exposure.dose, unit))
    if not exposure.valid:
        parts.append(f"void: {exposure.why}")
    return f"exposure {exposure.n}: " + ", ".join(parts)


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
    if not result.answered:
        yield from (("found", line) for line in _undecided(result))
    if result.requests:
        sent = ", ".join(_route_text(route) for route in result.requests)
        yield "requests", sent + (f", {result.lost:,} lost in flight" if result.lost else "")
    if result.exposures:
        yield "cut", _cut_text(result.connections_cut)
    for budget in result.budgets:
        yield "budget", _budget_text(budget)
    named = len(result.ladders) > 1
    for ladder in result.ladders:
        name = f"{ladder.ladder} " if named else ""
        yield from (("dose", f"{name}{text}") for text in _doses(ladder))
    for ladder in result.ladders:
        if ladder.gate is not None:
            outcome = _GATES[ladder.gate.outcome]
            yield "gate", f"{ladder.ladder} > {ladder.gate.above_text}: {outcome}"
    for warning in result.warnings:
        yield "warning", warning
    removed = result.clean is Cleanliness.REMOVED
    yield "clean", result.clean_why if removed else str(result.clean)
    yield from (("clean", note) for note in result.clean_notes)
    yield "took", _took(result)
    if result.journal is not None:
        yield "journal", result.journal


_GATES = {
    GateOutcome.PASSED: "passed",
    GateOutcome.FAILED: "FAILED, it breaks at or below that",
    GateOutcome.UNPROVEN: "NOT SHOWN, nothing that high is certified to hold",
}


def _pair(key: str, value: str, width: int) -> list[str]:
    return textwrap.wrap(
        value,
        width=width,
        initial_indent=f"{key:>{_KEY}}: " if key else " " * (_KEY + 2),
        subsequent_indent=" " * (_KEY + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _undecided(result: Result) -> Iterator[str]:
    """Of each ladder the arms without a verdict that were looked at most, mildest first."""
    several = len(result.ladders) > 1
    for ladder in result.ladders:
        if several and ladder.bracket.closed:
            continue
        open_arms = [a for a in ladder.arms if a.verdict is VerdictKind.UNKNOWN and a.samples]
        most = sorted(open_arms, key=lambda arm: -arm.samples)[:_MOST_ARMS]
        name = f"{ladder.ladder} " if several else ""
        yield from (f"{name}{arm.sentence}" for arm in sorted(most, key=lambda arm: arm.severity))


def _doses(ladder: LadderResult) -> Iterator[str]:
    """What arrived and was felt at the two ends of the bracket."""
    between = ladder.bracket
    for end, at, dose in (
        ("held", between.held_text, ladder.dose_held),
        ("broke", between.broke_text, ladder.dose_broke),
    ):
        if dose is not None:
            yield f"{end} at {at}: {_dose_text(dose, between.unit)}"


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


def _bad_text(bad: Mapping[str, int]) -> str:
    """`none bad`, `3 bad (latency)`, `3 bad (availability), 4 bad (latency)`."""
    found = [f"{number:,} bad ({name})" for name, number in bad.items() if number]
    return ", ".join(found) or "none bad"


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


def _dose_text(dose: Dose, unit: str) -> str:
    if unit == "share":
        known = dose.felt if dose.felt is not None else dose.delivered
        return "not measured" if known is None else f"{share(known)} of requests broken"
    delivered = "delivery not measured" if dose.delivered is None else _signed(dose.delivered)
    felt = "effect not measured" if dose.felt is None else _signed(dose.felt)
    return ", ".join(
        value if "not measured" in value else f"{value} {word}"
        for value, word in ((delivered, "delivered"), (felt, "felt"))
    )


def _signed(difference_s: float) -> str:
    """Differences of medians may fall below zero by noise."""
    return duration(difference_s) if difference_s >= 0 else f"-{duration(-difference_s)}"


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
