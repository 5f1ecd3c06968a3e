"""Whether time, requests and budget suffice for any answer, and which number would.

Checks between sections, as those of `section_checks`; only what can never work is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from chaosbandit.core.ratio_tests import in_a_row
from chaosbandit.core.slo import SLO, ErrorBudget
from chaosbandit.scenario.contradictions import Finding, Shown
from chaosbandit.scenario.file_keys import Document


def _bounds_below_timeout(document: Document, shown: Shown) -> Iterator[Finding]:
    for index, slo in enumerate(document.slos):
        bound_s = slo.good.latency_s
        if bound_s is not None and bound_s >= document.traffic.timeout:
            wanted = (
                f"a latency bound below traffic.timeout ({shown(('traffic', 'timeout'))}): "
                "slower answers are never seen"
            )
            yield Finding(("slos", index, "good"), wanted)


def _budget_leaves_something(document: Document, shown: Shown) -> Iterator[Finding]:
    keys = document.budget
    for index, allowed in enumerate(_allowed(document)):
        if allowed > 0:
            continue
        requests, spend = shown(("budget", "requests")), shown(("budget", "spend"))
        objective = shown(("slos", index, "objective"))
        product = keys.requests * (1.0 - document.slos[index].objective) * keys.spend
        wanted = (
            f"room for one bad sample of slos[{index}]: requests {requests} x (1 - objective "
            f"{objective}) x spend {spend} is {product:.2g}, less than 1"
        )
        yield Finding(("budget", "requests"), wanted)


def _exposure_has_room(document: Document, shown: Shown) -> Iterator[Finding]:
    timing, traffic, most_s = document.timing, document.traffic, document.guardrails.max_exposure
    by_count_s = timing.warmup_samples / traffic.rate
    warmup_s = max(timing.warmup, by_count_s)
    first = "warmup" if timing.warmup >= by_count_s else "warmup_samples at traffic.rate"
    path, hold_s = ("guardrails", "max_exposure"), document.search.hold
    whole_s = hold_s + warmup_s + traffic.timeout
    if warmup_s + traffic.timeout >= most_s:
        yield Finding(
            path,
            f"more than the warm-up ({first}) and one traffic.timeout together, or nothing is "
            "measured",
        )
    elif hold_s and whole_s > most_s:
        hold, timeout = shown(("search", "hold")), shown(("traffic", "timeout"))
        yield Finding(
            path,
            f"at least {_up(whole_s, 3)}s: search.hold ({hold}), the warm-up ({first}, "
            f"{warmup_s:.3g} s) and one traffic.timeout ({timeout}) together; or a search.hold of "
            f"at most {_down(most_s - warmup_s - traffic.timeout, 3)}s",
        )


def _time_to_hold(document: Document, shown: Shown) -> Iterator[Finding]:
    search, steady = document.search, document.timing.steady_samples
    index, objective = max(enumerate(_objectives(document)), key=lambda item: item[1])
    good = in_a_row(objective, -math.log1p(-search.confidence))
    sent = document.traffic.rate * search.max_duration
    if sent >= good + steady:
        return
    wanted = (
        f"at least {_up((good + steady) / document.traffic.rate)}s: at traffic.rate "
        f"({shown(('traffic', 'rate'))}) that is the time for timing.steady_samples and the "
        f"{good:,} good requests that show slos[{index}].objective to hold; or a traffic.rate of "
        f"{_rate((good + steady) / search.max_duration)}"
    )
    left = math.floor(sent) - steady
    can = _down(100.0 * (1.0 - search.confidence) ** (1.0 / left), 2) if left > 0 else "0"
    wanted += f", or an objective of at most {can}%" if float(can) else ""
    yield Finding(("search", "max_duration"), wanted)


def _samples_to_answer(document: Document, shown: Shown) -> Iterator[Finding]:
    search, objectives = document.search, _objectives(document)
    enough = -math.log1p(-search.confidence)
    good = max(in_a_row(objective, enough) for objective in objectives)
    bad = min(in_a_row(1.0 - objective, enough) for objective in objectives)
    allowed = min(_allowed(document))
    least = min(good, bad) if allowed >= bad else good
    if search.max_samples is not None and search.max_samples < least:
        wanted = (
            f"at least {least}, or nothing can be shown: to hold takes {good:,} good requests, to "
            f"break {bad:,} bad ones, of which the budget allows {allowed:,}"
        )
        yield Finding(("search", "max_samples"), wanted)


def _allowed(document: Document) -> list[int]:
    """Bad samples that a run may cause, per SLO."""
    keys = document.budget
    budget = ErrorBudget(keys.window, keys.requests, keys.spend)
    slos = (SLO(keys.name, keys.good, keys.objective) for keys in document.slos)
    return [budget.allowed(slo) for slo in slos]


def _objectives(document: Document) -> list[float]:
    return [slo.objective for slo in document.slos]


def _rate(per_s: float) -> str:
    return f"{_up(per_s)}/s" if per_s >= 1.0 else f"{_up(per_s * 60)}/min"


def _up(number: float, digits: int = 0) -> str:
    """Rounded up, so that what is proposed is enough."""
    return f"{math.ceil(number * 10**digits - 1e-6) / 10**digits:.12g}"


def _down(number: float, digits: int) -> str:
    """Rounded down, so that what is proposed is not too much."""
    return f"{math.floor(number * 10**digits + 1e-6) / 10**digits:.12g}"


Check = Callable[[Document, Shown], Iterator[Finding]]
CHECKS: dict[Check, tuple[str, ...]] = {
    _bounds_below_timeout: ("slos", "traffic"),
    _budget_leaves_something: ("slos", "budget"),
    _exposure_has_room: ("guardrails", "search", "timing", "traffic"),
    _time_to_hold: ("slos", "search", "timing", "traffic"),
    _samples_to_answer: ("slos", "search", "budget"),
}
