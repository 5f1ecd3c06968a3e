"""The answer to the user's question as one sentence, what to do next, and what to be wary of.

Pure: a campaign in, sentences out. "Not known" says what stood in the way. A sentence is about the
ladder that the campaign faces; what to do and to be wary of is about the whole run.
"""

from __future__ import annotations

from collections.abc import Iterable

from chaosbandit.core import guardrail, judge
from chaosbandit.core.campaign import Campaign, Tally
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Bracket, Route
from chaosbandit.errors import Exit
from chaosbandit.report.phrases import plural, share


def sentence(campaign: Campaign, between: Bracket) -> str:
    """`slow-inventory holds at 190 ms and breaks at 207 ms (95 % confidence).`, or less."""
    name, text = campaign.ladder.name, campaign.ladder.text
    sure = f"({share(between.confidence)} confidence)"
    held, broke = between.held, between.broke
    if held is not None and broke is not None:
        found = f"{name} holds at {text(held)} and breaks at {text(broke)} {sure}"
        return f"{found}." if between.closed else f"{found}; the gap was not closed."
    if held is not None:
        if held >= harshest_allowed(campaign):
            return f"{name} holds at {text(held)}, the harshest severity allowed {sure}."
        return f"{name} holds at {text(held)} {sure}; where it breaks is not known."
    if broke is not None:
        if broke <= campaign.ladder.severities[0]:
            return f"{name} breaks already at {text(broke)}, its mildest severity {sure}."
        return f"{name} breaks at {text(broke)} {sure}; what it still holds is not known."
    return _nothing_known(campaign)


def harshest_allowed(campaign: Campaign) -> float:
    """The harshest severity of the ladder that the guardrails allow."""
    cap = campaign.scenario.cap(campaign.ladder)
    severities = campaign.ladder.severities
    allowed = [each for each in severities if cap is None or each <= cap]
    return allowed[-1] if allowed else severities[0]


def next_step(campaign: Campaign) -> str:
    """What to do about an answer that is missing or a path that is not clean; else empty."""
    stopped, steady = campaign.stopped, campaign.steady
    if stopped is None:
        return "Run `chaosbandit clean`, then start again: this run was cut off."
    if stopped.exit_code == Exit.NOT_CLEAN:
        return "Remove what is left with `chaosbandit clean`, then look at the path yourself."
    if not stopped.clean:
        return "Send the path a few requests of your own, then run again."
    if stopped.answered:
        return ""
    if stopped.reason.startswith("kill switch"):
        return "Ask who pulled it, and run again when it is released."
    if stopped.exit_code in (Exit.SIGINT, Exit.SIGTERM):
        return "The run was interrupted; what it certified stands. Run it again for the rest."
    if steady is not None and not steady.met:
        return (
            "Make the SLOs hold without any fault first, or set objectives that the service meets "
            "today. Nothing was injected."
        )
    if steady is None:
        return ""  # it ended before anything was sent, and the reason says why
    unused = [each.ladder.proxy for each in campaign.each() if not judge.exercised(each)]
    if unused:
        return (
            f"Check that {campaign.scenario.traffic.url} needs {_listed(dict.fromkeys(unused))} to "
            "answer, and that no cache, fallback or other instance answers for it."
        )
    return _more_room(campaign)


def _more_room(campaign: Campaign) -> str:
    """Which limit of the scenario ended the search before it had an answer."""
    scenario, stopped = campaign.scenario, campaign.stopped
    assert stopped is not None
    void = [each for each in campaign.exposures if each.validity and not each.validity.valid]
    if len(void) * 2 > len(campaign.exposures) and void[-1].validity is not None:
        return f"Repair what made exposures void, then run again: {void[-1].validity.why}."
    last = campaign.exposures[-1] if campaign.exposures else None
    faced = campaign if last is None else campaign.facing(last.climb)
    if campaign.budget_left() <= guardrail.worst_overhead(faced, last.arm if last else 0):
        allowed = min(scenario.budget.allowed(slo) for slo in campaign.slos)
        return (
            f"Raise budget.spend (now {share(scenario.budget.spend)}: "
            f"{plural(allowed, 'bad request')} per run), or narrow {_narrower(campaign)}."
        )
    if campaign.header and stopped.now_s - campaign.header.now_s > scenario.search.max_duration_s:
        return (
            f"Raise search.max_duration (now {scenario.search.max_duration_s:g} s) or traffic.rate "
            f"(now {scenario.traffic.rate_per_s:g}/s)."
        )
    limit = scenario.search.max_samples
    if limit is not None and campaign.spent_samples >= limit:
        return f"Raise search.max_samples (now {limit:,})."
    return ""


def _narrower(campaign: Campaign) -> str:
    """Where narrower ladders would start and end, as far as this run knows."""
    parts = {each.ladder.name: _part(each.ladder, judge.bracket(each)) for each in campaign.each()}
    if len(parts) == 1:
        part = parts[campaign.ladder.name]
        return f"the ladder:{part}" if part else "the ladder"
    missing = [each.ladder.name for each in campaign.each() if not _known(each)] or list(parts)
    return _listed(f"{name} ({parts[name][1:]})" if parts[name] else name for name in missing)


def _known(campaign: Campaign) -> bool:
    """Whether nothing more is to be found out about the ladder faced."""
    between = judge.bracket(campaign)
    holds = between.held is not None and between.held >= harshest_allowed(campaign)
    breaks = between.broke is not None and between.broke <= campaign.ladder.severities[0]
    return between.closed or holds or breaks


def _part(ladder: Ladder, between: Bracket) -> str:
    start = "" if between.held is None else f" from {ladder.text(between.held)}"
    end = "" if between.broke is None else f" to {ladder.text(between.broke)}"
    return start + end


def _listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def warnings(campaign: Campaign) -> tuple[str, ...]:
    """What a reader of the result should be wary of."""
    found = []
    void = [each for each in campaign.exposures if each.validity and not each.validity.valid]
    if void:
        reasons = dict.fromkeys(each.validity.why for each in void if each.validity)
        found.append(
            f"{len(void)} of {plural(len(campaign.exposures), 'exposure')} void: "
            + "; ".join(reasons)
        )
    control = campaign.tallies.get(Route.CONTROL, Tally(bad=(0,) * len(campaign.slos)))
    for slo, bad in zip(campaign.slos, control.bad, strict=True):
        if control.samples and bad / control.samples > slo.bad_ratio:
            found.append(
                f"the control route missed {slo.name} itself: {bad} of {control.samples:,} bad"
            )
    if campaign.budget_left() < 0:
        found.append(f"the error budget of this run is overspent by {-campaign.budget_left()}")
    if campaign.lost:
        found.append(
            f"{plural(campaign.lost, 'request')} lost in flight, charged to the budget as bad"
        )
    return tuple(found)


def _nothing_known(campaign: Campaign) -> str:
    name, steady = campaign.ladder.name, campaign.steady
    if steady is not None and not steady.met:
        return f"{name} was not tested: the steady state is not met."
    if not campaign.exposures and campaign.current is None:
        return f"{name} was not tested: nothing was injected."
    if campaign.highest_exposed is None:
        return f"{name} was not tested: the run ended before its turn came."
    if not judge.exercised(campaign):
        return f"{name} was not exercised: its faults arrived, but no request felt them."
    return f"{name}: the breaking point is not known."
