"""May this variant start, and must this exposure stop: numbers in, a reason or None out.

Together these rules bound the blast radius. Reasons are sentences for the operator. What engine and
simulator both need to know of an exposure's sending is here too, so that they cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.climb import Climb
from chaosbandit.core.model import Cause, Expose, Outcome, Purpose, Sample
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.steady_state import window

BELIEVED = 0.35  # P(broke) below which an arm is believed to hold
OURS = frozenset({401, 403, 407, 429})  # answers to us as a client, never the dose's doing
CHECKS_PER_S, MOST_CHECKS = 2.0, 0.2  # requests that measure the delivered dose, a second
GO_ON = frozenset({Purpose.HELD, Purpose.HOLD})  # can be sent on without the newest answers
HOPELESS = 3  # first answers of a warm-up; all bad, and it ends


@dataclass(frozen=True, slots=True)
class Admitted:
    """The exposure may start with at most this many samples."""

    samples: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The exposure must not start; the run ends with this reason."""

    cause: Cause
    reason: str


def risky(climb: Climb, arm: int) -> bool:
    """Whether the arm is above the highest severity believed to hold."""
    return climb.believed_broken(arm) >= BELIEVED


def unresolved_allowed(climb: Climb, arm: int, cautious: bool) -> int:
    """Measured requests that may be in flight at once: few where little was seen to go well.

    Their bets are placed before the newest answers are in, so an arm earns its pipeline: half of
    what it has already answered. `cautious`: it is `risky`.
    """
    floor = climb.scenario.guardrails.max_unresolved
    return floor if cautious else max(floor, climb.arms[arm].samples // 2)


def admit(decision: Expose, climb: Climb) -> Admitted | Refused:
    """Refuse what the limits forbid; trim what the budget cannot carry at its worst."""
    variant, cap, text = decision.variant, climb.cap, climb.ladder.text
    if cap is not None and variant.severity > cap:
        return Refused(
            Cause.CAPPED,
            f"{text(variant.severity)} is above guardrails.max_severity {text(cap)}",
        )
    if climb.left_s < 0.0:
        limit_s = climb.search.max_duration_s
        return Refused(Cause.TIME, f"search.max_duration of {limit_s:g} s is over")
    overhead = worst_overhead(climb, variant.arm) + reserve(climb.scenario)
    room = climb.budget_left - overhead
    if room < 1:
        return Refused(
            Cause.BUDGET,
            f"the error budget of this run has {max(climb.budget_left, 0)} bad requests left, and "
            f"exposing {text(variant.severity)} may cost {overhead + 1}, {reserve(climb.scenario)} "
            "of them kept back to look at the path afterwards; raise budget.spend or start from "
            "a narrower ladder",
        )
    return Admitted(min(decision.samples, _affordable(decision, climb, room)))


def worst_overhead(climb: Climb, arm: int) -> int:
    """Bad samples an exposure may cost at its worst besides the measured ones."""
    return risky_overhead(climb.scenario) if risky(climb, arm) else 1


def risky_overhead(scenario: Scenario) -> int:
    """The same of an arm above the highest severity believed to hold."""
    return warmup_samples(scenario) + scenario.guardrails.max_unresolved


def reserve(scenario: Scenario) -> int:
    """Bad samples that exposures leave for looking at the path afterwards, twice if need be."""
    return scenario.guardrails.max_unresolved + 2 * window(scenario)


def warmup_samples(scenario: Scenario) -> int:
    """Requests that warm an exposure up, never more for a higher rate."""
    return scenario.timing.warmup_samples


def setup_samples(scenario: Scenario) -> float:
    """What one more exposure costs in time, in samples: policies weigh moving by it."""
    warmup = scenario.traffic.rate_per_s * scenario.timing.warmup_s
    return max(warmup_samples(scenario), warmup) + window(scenario)


def check_share(scenario: Scenario) -> float:
    """Requests per canary request that ask the dependency through its proxy."""
    return min(MOST_CHECKS, CHECKS_PER_S / scenario.traffic.rate_per_s)


def hopeless(warmed: Sequence[Sample]) -> bool:
    """Whether the first answers of a warm-up say all there is to say: more would only harm."""
    return len(warmed) >= HOPELESS and all(any(sample.bad) for sample in warmed)


def affords_probe(budget: int, left: int, waiting: int, gone: float) -> bool:
    """Whether one more wash-out request may go out when the share `gone` of its time is over.

    A sick path's bad answers are spread over that time; good ones are free, so one that is well
    again shows it at once. `budget` is what was left when the wash-out began.
    """
    return left > waiting and budget - left + waiting <= budget * gone


def _affordable(decision: Expose, climb: Climb, room: int) -> int:
    """Samples whose worst plausible cost fits: all bad where risky, four times tau elsewhere."""
    if risky(climb, decision.variant.arm):
        ends_after = decision.stop_after_bad
        return decision.samples if ends_after is not None and ends_after <= room else room
    ratio = min(1.0, 4.0 * max(slo.bad_ratio for slo in climb.slos))
    return max(1, math.floor(room / ratio))


def check(climb: Climb, measured: Sequence[Sample], unresolved: int) -> str | None:
    """Why sending must stop now, looking at measured samples in order of completion, or None.

    A block of clumped failures counts only when it is whole, so no fewer in a row end an exposure.
    Warm-up requests do not count in a row: `timing.warmup_samples` bounds them, and an arm that
    always fails would otherwise cost its warm-up each time and never be measured.
    """
    limit = climb.scenario.guardrails.abort_if_bad_in_a_row
    limit = max(limit, climb.certificate.block)
    if measured and any(measured[-1].bad):
        newest = measured[-limit:]
        if len(newest) == limit and all(any(sample.bad) for sample in newest):
            return f"{limit} bad requests in a row (guardrails.abort_if_bad_in_a_row)"
    if climb.budget_left - reserve(climb.scenario) < max(1, unresolved):
        return "the error budget of this run is spent, counting requests still in flight as bad"
    return None


def refused_as_client(campaign: Campaign, sample: Sample) -> str | None:
    """Why an answer shows that the target refuses us, unless steady state had it too, or None."""
    if sample.status not in OURS or sample.outcome is not Outcome.RESPONSE:
        return None
    steady = campaign.steady_samples.get(sample.route, ())
    if any(seen.status == sample.status for seen in steady):
        return None
    return (
        f"the target answered {sample.status} on the {sample.route} route, which steady state "
        "never showed: it refuses the prober, so nothing can be said of the dose; check "
        "credentials and rate limits"
    )
