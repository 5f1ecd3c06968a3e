"""May this variant start, and must this exposure stop: numbers in, a reason or None out.

Together these rules bound the blast radius. Reasons are sentences for the operator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.model import Expose, Outcome, Sample
from chaosbandit.core.slo import bad_flags

BELIEVED = 0.35  # P(broke) below which an arm is believed to hold
OURS = frozenset({401, 403, 407, 429})  # answers to us as a client, never the dose's doing


@dataclass(frozen=True, slots=True)
class Admitted:
    """The exposure may start with at most this many samples."""

    samples: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The exposure must not start; the run ends with this reason."""

    reason: str


def risky(campaign: Campaign, arm: int) -> bool:
    """Whether the arm is above the highest severity believed to hold."""
    return campaign.believed_broken(arm) >= BELIEVED


def unresolved_allowed(campaign: Campaign, arm: int) -> int:
    """Measured requests that may be in flight at once: few where little was seen to go well.

    Their bets are placed before the newest answers are in, so an arm earns its pipeline: half of
    what it has already answered.
    """
    floor = campaign.scenario.guardrails.max_unresolved
    return floor if risky(campaign, arm) else max(floor, campaign.arms[arm].samples // 2)


def admit(decision: Expose, campaign: Campaign, elapsed_s: float) -> Admitted | Refused:
    """Refuse what the limits forbid; trim what the budget cannot carry at its worst."""
    scenario, variant = campaign.scenario, decision.variant
    cap = scenario.cap(campaign.ladder)
    text = campaign.ladder.text
    if cap is not None and variant.severity > cap:
        return Refused(f"{text(variant.severity)} is above guardrails.max_severity {text(cap)}")
    if elapsed_s > scenario.search.max_duration_s:
        return Refused(f"search.max_duration of {scenario.search.max_duration_s:g} s is over")
    left = campaign.budget_left()
    overhead = worst_overhead(campaign, variant.arm) + reserve(campaign)
    room = left - overhead
    if room < 1:
        return Refused(
            f"the error budget of this run has {max(left, 0)} bad requests left, and exposing "
            f"{text(variant.severity)} may cost {overhead + 1}; raise budget.spend or start from a "
            "narrower ladder"
        )
    return Admitted(min(decision.samples, _affordable(decision, campaign, room)))


def worst_overhead(campaign: Campaign, arm: int) -> int:
    """Bad samples an exposure may cost at its worst besides the measured ones."""
    guardrails, timing = campaign.scenario.guardrails, campaign.scenario.timing
    if not risky(campaign, arm):
        return 1
    return timing.warmup_samples + guardrails.max_unresolved


def reserve(campaign: Campaign) -> int:
    """Bad samples that exposures leave for the wash-out, which otherwise could not be looked at."""
    return campaign.scenario.guardrails.max_unresolved


def affords_probe(budget: int, left: int, waiting: int, gone: float) -> bool:
    """Whether one more wash-out request may go out when the share `gone` of its time is over.

    A sick path's bad answers are spread over that time; good ones are free, so one that is well
    again shows it at once. `budget` is what was left when the wash-out began.
    """
    return left > waiting and budget - left + waiting <= budget * gone


def _affordable(decision: Expose, campaign: Campaign, room: int) -> int:
    """Samples whose worst plausible cost fits: all bad where risky, four times tau elsewhere."""
    if risky(campaign, decision.variant.arm):
        ends_after = decision.stop_after_bad
        return decision.samples if ends_after is not None and ends_after <= room else room
    ratio = min(1.0, 4.0 * max(slo.bad_ratio for slo in campaign.slos))
    return max(1, math.floor(room / ratio))


def check(campaign: Campaign, measured: Sequence[Sample], unresolved: int) -> str | None:
    """Why sending must stop now, looking at measured samples in order of completion, or None.

    A block of clumped failures counts only when it is whole, so no fewer in a row end an exposure.
    Warm-up requests do not count in a row: `timing.warmup_samples` bounds them, and an arm that
    always fails would otherwise cost its warm-up each time and never be measured.
    """
    limit = campaign.scenario.guardrails.abort_if_bad_in_a_row
    limit = max(limit, campaign.certificate.block)
    newest = measured[-limit:]
    if len(newest) == limit and all(any(bad_flags(campaign.slos, s)) for s in newest):
        return f"{limit} bad requests in a row (guardrails.abort_if_bad_in_a_row)"
    if campaign.budget_left() - reserve(campaign) < max(1, unresolved):
        return "the error budget of this run is spent, counting requests still in flight as bad"
    return None


def refused_as_client(campaign: Campaign, sample: Sample) -> str | None:
    """Why an answer shows that the target refuses us, unless steady state had it too, or None."""
    if sample.outcome is not Outcome.RESPONSE or sample.status not in OURS:
        return None
    steady = campaign.steady_samples.get(sample.route, ())
    if any(seen.status == sample.status for seen in steady):
        return None
    return (
        f"the target answered {sample.status} on the {sample.route} route, which steady state "
        "never showed: it refuses the prober, so nothing can be said of the dose; check "
        "credentials and rate limits"
    )
