"""The claims of a campaign: the bracket of a ladder, its gate, a verdict per arm, and the estimate.

Certificates decide; whatever speaks against what they assume takes a claim back.
"""

from __future__ import annotations

from chaosbandit.core.climb import Climb
from chaosbandit.core.confirmation import failing, refuted, stood_s
from chaosbandit.core.judge import tells, valid
from chaosbandit.core.model import (
    Bracket,
    Cause,
    Expose,
    GateOutcome,
    Purpose,
    Verdict,
    VerdictKind,
)
from chaosbandit.core.monotone import next_look, not_monotone
from chaosbandit.core.ratio_tests import log_e_above
from chaosbandit.core.response import Estimate, estimate
from chaosbandit.core.steady_state import BROKEN_LOG_E


def withdrawn(climb: Climb) -> Cause | None:
    """Why what is certified is not claimed: something that the certificate takes for granted."""
    held, broke, _ = climb.claimed
    if climb.certificate.empty:
        return Cause.ASSUMPTIONS
    if not exercised(climb):
        return Cause.NOT_EXERCISED
    if bumps(climb):
        return Cause.NOT_MONOTONE
    if held is not None and failing(climb, held) is not None:
        return Cause.NOT_STOOD
    if broke is not None and refuted(climb, broke):
        return Cause.NOT_REPEATED
    return None


def bracket(climb: Climb) -> Bracket:
    """What is certified of the breaking point: two sides of one set, or one side of it."""
    severities, confidence = climb.ladder.severities, climb.search.confidence
    (low, high, closed), why = climb.claimed, withdrawn(climb)
    if why is Cause.NOT_STOOD:
        low, closed = None, False
    elif why is Cause.NOT_REPEATED:
        high, closed = None, False
    elif why is not None:
        return Bracket(confidence=confidence)
    return Bracket(
        held=None if low is None else severities[low],
        broke=None if high is None else severities[high],
        closed=closed,
        confidence=confidence,
    )


def gate(climb: Climb) -> GateOutcome | None:
    """Whether the breaking point is certified to be above what `require` asks, or not to be.

    What holds must have stood `search.hold`: None without a gate.
    """
    bound = climb.scenario.require.get(climb.ladder.name)
    if bound is None:
        return None
    between, (held, _, _) = bracket(climb), climb.claimed
    if between.broke is not None and between.broke <= bound:
        return GateOutcome.FAILED
    if between.held is not None and between.held >= bound:
        assert held is not None
        stood = stood_s(climb, held) >= climb.search.hold_s
        return GateOutcome.PASSED if stood else GateOutcome.UNDECIDED
    return GateOutcome.UNDECIDED


def best_guess(climb: Climb) -> Estimate:
    """Median and 90 % band of the breaking point as the model believes; never certified."""
    return estimate(climb.beliefs, climb.ladder.severities)


def look_below(climb: Climb) -> Expose | None:
    """The next look for a milder severity that is worse than the certified one, where asked for."""
    held, _, _ = climb.claimed
    if not climb.search.monotone_check or held is None or bumps(climb):
        return None
    taus = [slo.bad_ratio for slo in climb.slos]
    severities, block = climb.ladder.severities, climb.certificate.block
    look = next_look(severities, climb.arms, taus, held, block)
    if look is None:
        return None
    arm, samples = look
    why = f"is anything milder worse? a look at {climb.ladder.text(severities[arm])}"
    ends = 3 + int(2 * samples * max(taus))
    return Expose(climb.ladder.variant(arm), samples, Purpose.SEARCH, (), ends, why)


def bumps(climb: Climb) -> list[tuple[int, int]]:
    """Arms (lower, upper): the lower broke on its own samples, the upper holds; if asked for."""
    if not climb.search.monotone_check:
        return []
    (held, _, _), block = climb.claimed, climb.certificate.block
    taus = [slo.bad_ratio for slo in climb.slos]
    return not_monotone(climb.arms, taus, held, None, block)


def exercised(climb: Climb) -> bool:
    """False when doses arrived at the dependency and were felt at no arm: the path is not used.

    An arm that broke shows that it is. What a few answers of a service with scattered latencies
    seem to show of a mild dose is noise, and counts for neither.
    """
    tau = max(slo.bad_ratio for slo in climb.slos)
    if any(log_e_above(arm.samples, arm.any_bad, tau) >= BROKEN_LOG_E for arm in climb.arms):
        return True
    doses = [
        each.dose
        for each in valid(climb.exposures)
        if each.dose is not None and tells(climb.campaign, each)
    ]
    return climb.ladder.dose.exercised(doses)


def verdicts(climb: Climb) -> tuple[Verdict, ...]:
    """A verdict for every arm that was exposed, mildest first."""
    between = bracket(climb)
    reached = {each.arm for each in climb.exposures}
    if climb.current is not None:
        reached.add(climb.current.arm)
    return tuple(_verdict(climb, between, arm) for arm in sorted(reached))


def _verdict(climb: Climb, between: Bracket, number: int) -> Verdict:
    arm, severity = climb.arms[number], climb.ladder.severities[number]
    text, sure = climb.ladder.text(severity), f"{between.confidence:.4g} confidence"
    counts = f"{arm.any_bad} of {arm.samples} requests bad"
    kind, measured = VerdictKind.UNKNOWN, arm.samples > 0
    sentence = f"{text}: unknown, {counts}"
    if between.held is not None and severity <= between.held:
        kind, measured = VerdictKind.HELD, severity == between.held
    elif between.broke is not None and severity >= between.broke:
        kind, measured = VerdictKind.BROKE, severity == between.broke
    if kind is not VerdictKind.UNKNOWN:
        how = f"certified at {sure}" if measured else "implied by monotonicity"
        sentence = f"{text}: {kind}, {counts}, {how}"
    return Verdict(kind, climb.ladder.name, severity, sentence, arm.samples, arm.bad, measured)
