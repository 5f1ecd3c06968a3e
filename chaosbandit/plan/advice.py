"""What to change when too few simulated campaigns end with an answer: computed, never guessed.

Campaigns that found none are simulated once more: without their limits, which shows what limits
they need, with a coarser resolution, and with more requests a second. All else about them (the
service, its luck) stays the same, so the difference is the change's doing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chaosbandit.core.scenario import Scenario
from chaosbandit.plan.campaigns import Cost, Ended
from chaosbandit.plan.outcome import MOST, Advice, Plan, quantile

Run = Callable[[Scenario, Sequence[int]], list[Cost]]
"""Simulates campaigns of a scenario by their numbers."""

LOOKED_AT = 24  # campaigns without an answer that are simulated again
LIFTED = 5.0  # times search.max_duration and search.max_samples; the budget is lifted altogether
COARSER = (0.25, 0.5)  # resolutions to try
FASTER, FASTEST_PER_S = 4.0, 200.0  # times the rate; what this prober is made for
HELPS = 0.03  # of all campaigns must be answered in addition, where no change is enough


@dataclass(frozen=True, slots=True)
class Need:
    """The limits with which one campaign would have ended with an answer."""

    spend: float
    duration_s: float
    samples: float


def advised(plan: Plan, scenario: Scenario, costs: Sequence[Cost], run: Run) -> Plan:
    """The plan with what would help, if too few of its campaigns are answered."""
    if plan.answered >= MOST:
        return plan
    unanswered = [cost.number for cost in costs if cost.ended is not Ended.ANSWERED][:LOOKED_AT]

    def answered_with(changed: Scenario) -> float:
        again = run(changed, unanswered)
        return _overall(plan, sum(map(_is_answered, again)) / len(again))

    found = [
        *_limits(plan, scenario, run(lifted(scenario), unanswered)),
        *_coarser(scenario, answered_with),
        *(_faster(scenario, answered_with) if _short_of_time(plan) else ()),
    ]
    enough = tuple(each for each in found if each.answered >= MOST)
    helpful = tuple(each for each in found if each.answered >= plan.answered + HELPS)
    return replace(plan, advice=enough or helpful)


def lifted(scenario: Scenario) -> Scenario:
    """The same with a budget that cannot be spent, and time and samples for several campaigns.

    No longer than evidence counts: what takes longer never ends.
    """
    search, budget = scenario.search, scenario.budget
    samples = search.max_samples
    longest_s = min(LIFTED * search.max_duration_s, search.evidence_ttl_s)
    return replace(
        scenario,
        budget=replace(budget, spend=1e6),
        search=replace(
            search,
            max_duration_s=max(longest_s, search.max_duration_s),
            max_samples=None if samples is None else round(LIFTED * samples),
        ),
    )


def _limits(plan: Plan, scenario: Scenario, again: Sequence[Cost]) -> list[Advice]:
    """The smallest limits, taken together, with which enough of these campaigns are answered."""
    needs = [_need(scenario, cost) for cost in again if _is_answered(cost)]
    wanted = math.ceil((MOST - plan.answered) / (1.0 - plan.answered) * len(again) - 1e-9)
    wanted = min(wanted, len(needs))
    if wanted == 0:
        return []
    for number in range(wanted, len(needs) + 1):
        limits = _at_least(needs, number / len(needs))
        met = sum(_fits(need, limits) for need in needs)
        if met >= wanted:
            break
    changes = _changes(scenario, limits)
    if changes is None:
        return []
    return [Advice(changes, _overall(plan, met / len(again)))]


def _need(scenario: Scenario, cost: Cost) -> Need:
    """Its worst SLO's bad requests and what the guardrails keep in reserve for another exposure."""
    in_reserve = scenario.timing.warmup_samples + 2 * scenario.guardrails.max_unresolved + 1
    window = scenario.budget.requests
    spend = max(
        (bad + in_reserve) / (window * slo.bad_ratio)
        for bad, slo in zip(cost.bad, scenario.slos, strict=True)
    )
    return Need(spend, cost.duration_s, cost.samples)


def _at_least(needs: Sequence[Need], q: float) -> Need:
    """Limits that each suffice for a share q of the campaigns, rounded up as people write them."""
    return Need(
        _rounded_up(quantile([need.spend for need in needs], q)),
        60.0 * math.ceil(quantile([need.duration_s for need in needs], q) / 60.0),
        _rounded_up(quantile([need.samples for need in needs], q)),
    )


def _fits(need: Need, limits: Need) -> bool:
    return (
        need.spend <= limits.spend
        and need.duration_s <= limits.duration_s
        and need.samples <= limits.samples
    )


def _changes(scenario: Scenario, limits: Need) -> dict[str, str] | None:
    """The keys that have to be raised; None when a budget of 100 % is too little."""
    search, changes = scenario.search, {}
    if limits.spend > 1.0:
        return None
    if limits.spend > scenario.budget.spend:
        changes["budget.spend"] = f"{limits.spend * 100:.10g}%"
    if limits.duration_s > search.max_duration_s:
        changes["search.max_duration"] = f"{limits.duration_s / 60.0:.0f}min"
    if search.max_samples is not None and limits.samples > search.max_samples:
        changes["search.max_samples"] = f"{limits.samples:.0f}"
    return changes or None


def _coarser(scenario: Scenario, answered_with: Callable[[Scenario], float]) -> list[Advice]:
    """The first coarser resolution that is enough, else the coarsest."""
    for resolution in (each for each in COARSER if each > 1.2 * scenario.search.resolution):
        changed = replace(
            scenario,
            search=replace(scenario.search, resolution=resolution),
            ladders=tuple(replace(each, resolution=resolution) for each in scenario.ladders),
        )
        advice = Advice({"search.resolution": f"{resolution:.0%}"}, answered_with(changed))
        if advice.answered >= MOST or resolution == COARSER[-1]:
            return [advice]
    return []


def _faster(scenario: Scenario, answered_with: Callable[[Scenario], float]) -> list[Advice]:
    """More requests a second, as far as the prober goes."""
    rate_per_s = min(FASTER * scenario.traffic.rate_per_s, FASTEST_PER_S)
    if rate_per_s <= 1.2 * scenario.traffic.rate_per_s:
        return []
    changed = replace(scenario, traffic=replace(scenario.traffic, rate_per_s=rate_per_s))
    return [Advice({"traffic.rate": f"{rate_per_s:g}/s"}, answered_with(changed))]


def _short_of_time(plan: Plan) -> bool:
    return plan.stopped_by.max_duration >= plan.stopped_by.budget


def _overall(plan: Plan, recovered: float) -> float:
    """The share of all campaigns that are answered when this share of the others is as well."""
    return round(plan.answered + (1.0 - plan.answered) * recovered, 6)


def _is_answered(cost: Cost) -> bool:
    return cost.ended is Ended.ANSWERED


def _rounded_up(value: float) -> float:
    """Two significant digits, never less than the value."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit - 1e-9) * unit
