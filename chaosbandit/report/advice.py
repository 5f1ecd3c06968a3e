"""What to do about an answer that is missing or a path that is not clean, and what that costs.

One sentence or two for each cause of an ending; nothing where all that was asked is known.
"""

from __future__ import annotations

import math

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket, exercised
from chaosbandit.core.climb import climbs
from chaosbandit.core.confirmation import failing
from chaosbandit.core.ending import ending
from chaosbandit.core.model import Cause, GateOutcome
from chaosbandit.errors import Exit
from chaosbandit.report import answer_cost, limit_advice
from chaosbandit.report.answer_cost import price
from chaosbandit.report.failure_times import latest
from chaosbandit.report.numbers_in_words import duration, listed, plural, share
from chaosbandit.report.warnings import control_failing

_ASKED_FOR_MORE = (Cause.BUDGET, Cause.TIME, Cause.SAMPLES, Cause.INCONCLUSIVE)


def next_step(campaign: Campaign) -> str:
    """What to do next; empty where there is nothing to be done."""
    stopped = campaign.stopped
    if stopped is None:
        return "Run `chaosbandit clean`, then start again: this run was cut off."
    if stopped.exit_code == Exit.NOT_CLEAN:
        return "Remove what is left with `chaosbandit clean`, then look at the path yourself."
    first = "" if stopped.clean else "Send the path a few requests of your own first. "
    if stopped.cause in _ASKED_FOR_MORE and _late_s(campaign) is not None:
        return first + _not_stood(campaign)  # more of the same would not help
    return (first + _of_cause(campaign, stopped.cause)).rstrip()


def _of_cause(campaign: Campaign, cause: Cause) -> str:
    """Limits and instruments; what speaks against a claim is told by `_of_claim`."""
    match cause:
        case Cause.BUDGET:
            return limit_advice.budget(campaign)
        case Cause.TIME:
            return limit_advice.time(campaign)
        case Cause.SAMPLES:
            return limit_advice.samples(campaign)
        case Cause.CAPPED:
            return limit_advice.capped(campaign)
        case Cause.FROZEN:
            return "Ask who pulled the kill switch, and run again when it is released."
        case Cause.INTERRUPTED | Cause.TERMINATED:
            return (
                "The run was interrupted; what it certified stands. Run it again for the rest: "
                f"{price(answer_cost.rest(campaign))}."
            )
        case Cause.TARGET:
            return _target(campaign)
        case Cause.STEADY_STATE:
            return (
                "Make the SLOs hold without any fault first, or set objectives that the service "
                "meets today. Nothing was injected."
            )
        case Cause.HARNESS | Cause.TOXIPROXY:
            return _instruments(campaign)
        case Cause.POLICY:
            name = campaign.scenario.search.policy
            return f"Tell the author of the policy {name}, or search with another: certify is ours."
        case Cause.INTERNAL:
            return "This is a mistake of chaosbandit's: report it, with the journal."
        case _:
            return _of_claim(campaign, cause)


def _of_claim(campaign: Campaign, cause: Cause) -> str:
    match cause:
        case Cause.NOT_STOOD:
            return _not_stood(campaign)
        case Cause.NOT_REPEATED:
            return (
                "See what else failed when it broke (its time is in the journal), then run again: "
                f"{price(answer_cost.rest(campaign))}."
            )
        case Cause.NOT_EXERCISED:
            return _not_exercised(campaign)
        case Cause.NOT_MONOTONE:
            return (
                "See what changes between these severities (a time-out, a fallback, a breaker), "
                "and look on one side of it with a narrower ladder: "
                f"{price(answer_cost.rest(campaign))}."
            )
        case Cause.ASSUMPTIONS:
            return (
                "See whether the target changed during the run (a deploy, other load), then run "
                "again; with search.monotone_check: true it also looks for milder severities that "
                f"are worse, for about {plural(_look_samples(campaign), 'request')} each."
            )
        case Cause.INCONCLUSIVE:
            return (
                _void(campaign) or f"Run again: the rest needs {price(answer_cost.rest(campaign))}."
            )
        case _:
            return _undecided_gate(campaign)


# --- target and instruments -----------------------------------------------------------------------


def _target(campaign: Campaign) -> str:
    washout_s = campaign.scenario.timing.washout_s
    if control_failing(campaign) is not None:
        return _dead()
    if not campaign.washouts_failed:
        again = price(answer_cost.rest(campaign))
        return f"See to the target first, no fault of ours did that; then run again: {again}."
    return (
        f"See what is slow to recover (pools, queues, breakers), or raise timing.washout (now "
        f"{duration(washout_s)}) to {duration(2 * washout_s)}: an exposure that needs it then "
        f"takes up to {duration(4 * washout_s)}, and this run had "
        f"{plural(len(campaign.exposures), 'exposure')}."
    )


def _dead() -> str:
    return "Bring the target back first: its control route, which no fault touches, fails as well."


def _instruments(campaign: Campaign) -> str:
    if campaign.steady is None:
        return ""  # it ended before anything was measured, and the reason says why
    if control_failing(campaign) is not None:
        return _dead()
    return _void(campaign) or "Repair that, then run again; `chaosbandit doctor` looks for more."


def _void(campaign: Campaign) -> str:
    void = [each for each in campaign.exposures if each.validity and not each.validity.valid]
    if not void or 2 * len(void) <= len(campaign.exposures) or void[-1].validity is None:
        return ""
    return f"Repair what made exposures void, then run again: {void[-1].validity.why}."


# --- what speaks against a claim ------------------------------------------------------------------


def _not_stood(campaign: Campaign) -> str:
    """To measure what the service does once it has felt the dose for a while."""
    search, timing = campaign.scenario.search, campaign.scenario.timing
    warmup_s = math.ceil(_late_s(campaign) or 0.0)
    exposures = max(1, len(campaign.exposures))
    longer_s = max(0.0, warmup_s - timing.warmup_s)
    needed_s = math.ceil(search.hold_s + warmup_s + campaign.scenario.traffic.timeout_s)
    room = ""
    if needed_s > campaign.scenario.guardrails.max_exposure_s:
        room = f" and guardrails.max_exposure: {needed_s}s"
    return (
        "See what fills or empties by then (a pool, a queue, a cache). To search for what stands, "
        f"set timing.warmup: {warmup_s}s (now {duration(timing.warmup_s)}){room}: each exposure "
        f"takes {duration(longer_s)} longer, a run of {plural(exposures, 'exposure')} "
        f"{duration(exposures * longer_s)}."
    )


def _late_s(campaign: Campaign) -> float | None:
    """The latest age at which a severity began to fail, if any fails late only."""
    late = [found.late_s for climb in climbs(campaign) if (found := latest(climb)) is not None]
    for climb in climbs(campaign):
        held, _, _ = climb.claimed
        begins = None if held is None else failing(climb, held)
        late.append(None if begins is None else begins.from_s)
    return max((each for each in late if each is not None), default=None)


def _not_exercised(campaign: Campaign) -> str:
    unused = [each.ladder.proxy for each in climbs(campaign) if not exercised(each)]
    proxies = listed(dict.fromkeys(unused)) if unused else "the proxied dependency"
    return (
        f"Check that {campaign.scenario.traffic.url} needs {proxies} to answer, and that no cache, "
        "fallback or other instance answers for it. Then run again: nothing is known yet."
    )


def _undecided_gate(campaign: Campaign) -> str:
    """Answered, and yet the bound lies inside of the bracket."""
    assert campaign.stopped is not None
    gates = ending(campaign, campaign.stopped.cause).gates
    inside = [
        climb.ladder.name
        for climb in climbs(campaign)
        if gates.get(climb.ladder.name) is GateOutcome.UNDECIDED
        and (bracket(climb).held or 0.0) < campaign.scenario.require[climb.ladder.name]
    ]
    if not inside:
        return ""
    resolution = campaign.scenario.search.resolution
    return (
        f"What require asks of {listed(inside)} lies between what held and what broke. Ask for "
        f"a finer search.resolution (now {share(resolution)}: half of it takes up to four times "
        "the requests, far fewer on a cliff), or require a severity that is not between them."
    )


def _look_samples(campaign: Campaign) -> int:
    """Samples that a look at an arm needs to see more than the objective allows."""
    return math.ceil(3.0 / max(slo.bad_ratio for slo in campaign.slos))
