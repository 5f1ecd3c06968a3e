"""Which limit of the scenario to raise when it ended a run, by how much, and what that buys."""

from __future__ import annotations

from dataclasses import replace

from chaosbandit.core import guardrail
from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.report import answer_cost
from chaosbandit.report.answer_cost import price
from chaosbandit.report.numbers_in_words import about, listed, plural, share


def budget(campaign: Campaign) -> str:
    """How many times the budget, or which coarser answer it is enough for."""
    budget, need = campaign.scenario.budget, answer_cost.rest(campaign)
    allowed = min(budget.allowed(slo) for slo in campaign.slos)
    kept_back, spent = _kept_back(campaign), allowed - campaign.budget_left()
    times = max(1.1, (spent + need.bad + kept_back) / max(1, allowed))
    now = f"now {share(budget.spend)}: {plural(allowed, 'bad request')} per run"
    told = f"Raise budget.spend about {times:.2g} times ({now}; the rest needs {price(need)})"
    if times * budget.spend > 1.0:
        told = (
            f"All of the error budget is too little for the rest ({now}; it needs {price(need)}, "
            f"and {kept_back} are kept back for safety): take a longer budget.window"
        )
    coarser = answer_cost.affordable(campaign, allowed - kept_back)
    if coarser is not None:
        resolution, cost = coarser
        rounded = share(float(f"{resolution:.2g}"))
        told += f", or ask for less: search.resolution {rounded} should fit, with {price(cost)}"
    return f"{told}; or narrow {_narrower(campaign)}."


def _kept_back(campaign: Campaign) -> int:
    """Bad requests that guardrails leave unspent: for the next exposure and the look afterwards."""
    scenario = campaign.scenario
    exposure = guardrail.warmup_samples(scenario) + scenario.guardrails.max_unresolved
    return exposure + guardrail.reserve(scenario)


def time(campaign: Campaign) -> str:
    """How many times the time, or a higher rate."""
    search, rate_per_s = campaign.scenario.search, campaign.scenario.traffic.rate_per_s
    need = answer_cost.rest(campaign)
    times = 1.0 + need.samples / rate_per_s / search.max_duration_s
    return (
        f"Raise search.max_duration (now {search.max_duration_s:g} s) about {max(1.1, times):.2g} "
        f"times, or traffic.rate (now {rate_per_s:g}/s), which takes as many requests in less "
        f"time: the rest needs {price(need)}."
    )


def samples(campaign: Campaign) -> str:
    """How many requests in all."""
    limit, need = campaign.scenario.search.max_samples or 0, answer_cost.rest(campaign)
    return (
        f"Raise search.max_samples (now {limit:,}) to about {about(limit + need.samples)}: the "
        f"rest needs {price(need)}."
    )


def capped(campaign: Campaign) -> str:
    """What harsher faults than the guardrails allow would take."""
    scenario = campaign.scenario
    allowing = replace(scenario, guardrails=replace(scenario.guardrails, max_severity=None))
    return (
        "Raise guardrails.max_severity if harsher faults may be injected: the rest needs "
        f"{price(answer_cost.rest(replace(campaign, scenario=allowing)))}."
    )


def _narrower(campaign: Campaign) -> str:
    """Where narrower ladders would start and end, as far as this run knows."""
    known = climbs(campaign)
    open_ones = [each for each in known if not answer_cost.settled(each)] or list(known)
    if len(known) == 1:
        return f"the ladder:{_part(known[0])}" if _part(known[0]) else "the ladder"
    return listed(
        f"{each.ladder.name} ({_part(each)[1:]})" if _part(each) else each.ladder.name
        for each in open_ones
    )


def _part(climb: Climb) -> str:
    between, text = bracket(climb), climb.ladder.text
    start = "" if between.held is None else f" from {text(between.held)}"
    end = "" if between.broke is None else f" to {text(between.broke)}"
    return start + end
