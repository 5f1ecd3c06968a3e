"""What to change, and what that costs: computed, never guessed.

Campaigns that found no answer are simulated once more: without their limits, which shows what
limits they need, with a coarser resolution, and with more requests a second. Some campaigns are
simulated for the gate alone, or without a declared block. All else about them (the service, its
luck) stays the same, so the difference is the change's doing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from chaosbandit.core import guardrail
from chaosbandit.core.scenario import BRACKET, GATE, Scenario
from chaosbandit.plan.campaigns import Cost
from chaosbandit.plan.forecast_records import MOST, Advice, Plan, Price, quantile
from chaosbandit.plan.intervals import of_share

Run = Callable[[Scenario, Sequence[int]], list[Cost]]
"""Simulates campaigns of a scenario by their numbers, or the first of them."""

LOOKED_AT = 24  # campaigns that are simulated again for a change
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


@dataclass(frozen=True, slots=True)
class Again:
    """Campaigns without an answer, and how many others there are."""

    plan: Plan
    unanswered: Sequence[Cost]
    run: Run

    def with_(self, changed: Scenario) -> list[Cost]:
        """The same campaigns of a changed scenario, or the first of them."""
        return self.run(changed, [cost.number for cost in self.unanswered])

    def advice(self, changes: dict[str, str], then: Sequence[Price], answered: int) -> Advice:
        """A change after which so many of the first ones are answered, each at its price."""
        now = self.unanswered[: len(then)]
        low, high = of_share(answered, len(then))
        return Advice(
            changes,
            _overall(self.plan, answered / len(then)),
            mean_price(then),
            mean_price(map(price, now)),
            len(then),
            (_overall(self.plan, low), _overall(self.plan, high)),
        )


def advised(plan: Plan, scenario: Scenario, costs: Sequence[Cost], run: Run) -> Plan:
    """The plan with what would help, if too few of its campaigns are answered, and alternatives."""
    plan = replace(plan, alternatives=tuple(_alternatives(scenario, costs, run)))
    if plan.answered >= MOST:
        return plan
    unanswered = [cost for cost in costs if not cost.answered][:LOOKED_AT]
    again = Again(plan, unanswered, run)
    found = [
        *_limits(again, scenario),
        *_coarser(again, scenario),
        *(_faster(again, scenario) if _short_of_time(plan) else ()),
    ]
    enough = tuple(each for each in found if each.answered >= MOST)
    helpful = tuple(each for each in found if each.answered >= plan.answered + HELPS)
    return replace(plan, advice=enough or helpful)


def price(cost: Cost) -> Price:
    """What people ask of a campaign's cost."""
    return Price(cost.requests, cost.bad_requests, cost.duration_s)


def mean_price(prices: Iterable[Price]) -> Price:
    """The mean of each."""
    each = list(prices)
    return Price(
        sum(one.requests for one in each) / len(each),
        sum(one.bad_requests for one in each) / len(each),
        sum(one.duration_s for one in each) / len(each),
    )


def _alternatives(scenario: Scenario, costs: Sequence[Cost], run: Run) -> Iterator[Advice]:
    """What else could be asked, for less: the gate alone; or evidence without a declared block."""
    search, some = scenario.search, costs[:LOOKED_AT]
    choices: list[tuple[dict[str, str], Scenario]] = []
    if search.stop == BRACKET and all(one.name in scenario.require for one in scenario.ladders):
        gate = replace(scenario, search=replace(search, stop=GATE))
        choices.append(({"search.stop": GATE}, gate))
    if search.block is not None and search.block > 1:
        single = replace(scenario, search=replace(search, block=1))
        choices.append(({"search.block": "1"}, single))
    for changes, changed in choices:
        then = run(changed, [cost.number for cost in some])
        answered, n = sum(cost.answered for cost in then), len(then)
        cheaper, now = mean_price(map(price, then)), mean_price(map(price, some[:n]))
        if cheaper.requests < now.requests:
            yield Advice(changes, answered / n, cheaper, now, n, of_share(answered, n))


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


def _limits(again: Again, scenario: Scenario) -> list[Advice]:
    """The smallest limits, taken together, with which enough of these campaigns are answered."""
    plan, costs = again.plan, again.with_(lifted(scenario))
    needs = [_need(scenario, cost) for cost in costs]
    answered = [need for need, cost in zip(needs, costs, strict=True) if cost.answered]
    wanted = math.ceil((MOST - plan.answered) / (1.0 - plan.answered) * len(costs) - 1e-9)
    wanted = min(wanted, len(answered))
    if wanted == 0:
        return []
    for number in range(wanted, len(answered) + 1):
        limits = _no_less(_at_least(answered, number / len(answered)), scenario)
        met = sum(_share_of(need, limits) == 1.0 for need in answered)
        if met >= wanted:
            break
    changes = _changes(scenario, limits)
    if changes is None:
        return []
    then = [
        _part(price(cost), _share_of(need, limits)) for cost, need in zip(costs, needs, strict=True)
    ]
    return [again.advice(changes, then, met)]


def _need(scenario: Scenario, cost: Cost) -> Need:
    """Its worst SLO's bad requests and what the guardrails keep in reserve for another exposure."""
    in_reserve = guardrail.risky_overhead(scenario) + guardrail.reserve(scenario) + 1
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


def _no_less(limits: Need, scenario: Scenario) -> Need:
    """The limits once those that are too low are raised."""
    search = scenario.search
    return Need(
        max(limits.spend, scenario.budget.spend),
        max(limits.duration_s, search.max_duration_s),
        math.inf if search.max_samples is None else max(limits.samples, search.max_samples),
    )


def _share_of(need: Need, limits: Need) -> float:
    """How much of a campaign fits into the limits, 0..1."""
    return min(
        1.0,
        limits.spend / need.spend,
        limits.duration_s / need.duration_s,
        limits.samples / max(1.0, need.samples),
    )


def _part(whole: Price, share: float) -> Price:
    """What a campaign has cost by then: it spends about evenly."""
    return Price(whole.requests * share, whole.bad_requests * share, whole.duration_s * share)


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


def _coarser(again: Again, scenario: Scenario) -> list[Advice]:
    """The first coarser resolution that is enough, else the coarsest."""
    for resolution in (each for each in COARSER if each > 1.2 * scenario.search.resolution):
        changed = replace(
            scenario,
            search=replace(scenario.search, resolution=resolution),
            ladders=tuple(replace(each, resolution=resolution) for each in scenario.ladders),
        )
        advice = _changed(again, {"search.resolution": f"{resolution:.0%}"}, changed)
        if advice.answered >= MOST or resolution == COARSER[-1]:
            return [advice]
    return []


def _faster(again: Again, scenario: Scenario) -> list[Advice]:
    """More requests a second, as far as the prober goes."""
    rate_per_s = min(FASTER * scenario.traffic.rate_per_s, FASTEST_PER_S)
    if rate_per_s <= 1.2 * scenario.traffic.rate_per_s:
        return []
    changed = replace(scenario, traffic=replace(scenario.traffic, rate_per_s=rate_per_s))
    return [_changed(again, {"traffic.rate": f"{rate_per_s:g}/s"}, changed)]


def _changed(again: Again, changes: dict[str, str], changed: Scenario) -> Advice:
    then = again.with_(changed)
    return again.advice(changes, [price(cost) for cost in then], sum(c.answered for c in then))


def _short_of_time(plan: Plan) -> bool:
    return plan.stopped_by.max_duration >= plan.stopped_by.budget


def _overall(plan: Plan, recovered: float) -> float:
    """The share of all campaigns that are answered when this share of the others is as well."""
    return round(plan.answered + (1.0 - plan.answered) * recovered, 6)


def _rounded_up(value: float) -> float:
    """Two significant digits, never less than the value."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit - 1e-9) * unit
