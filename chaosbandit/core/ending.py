"""How a run ends: one mapping from its cause to the exit code, the gates and "answered".

Text, JSON and `plan` read this, so no two of them can disagree. Where several apply, the exit code
is the first of 7, 1, 130/143, 3, 6, 5, 4, 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bumps, gate, withdrawn
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.confirmation import failing
from chaosbandit.core.model import Cause, GateOutcome, Stop
from chaosbandit.errors import Exit

CODES: Mapping[Cause, Exit] = {
    Cause.NOT_CLEAN: Exit.NOT_CLEAN,
    Cause.INTERNAL: Exit.INTERNAL,
    Cause.POLICY: Exit.INTERNAL,
    Cause.INTERRUPTED: Exit.SIGINT,
    Cause.TERMINATED: Exit.SIGTERM,
    **dict.fromkeys(
        (Cause.HARNESS, Cause.TARGET, Cause.STEADY_STATE, Cause.TOXIPROXY), Exit.HARNESS
    ),
    **dict.fromkeys(
        (Cause.CAPPED, Cause.BUDGET, Cause.TIME, Cause.SAMPLES, Cause.FROZEN), Exit.GUARDRAIL
    ),
    **dict.fromkeys(
        (
            Cause.INCONCLUSIVE,
            Cause.ASSUMPTIONS,
            Cause.NOT_EXERCISED,
            Cause.NOT_MONOTONE,
            Cause.NOT_STOOD,
            Cause.NOT_REPEATED,
        ),
        Exit.INCONCLUSIVE,
    ),
    **dict.fromkeys(
        (Cause.BRACKETED, Cause.HELD_AT_CAP, Cause.BROKE_AT_MILDEST, Cause.GATE_DECIDED),
        Exit.ANSWERED,
    ),
}
# The first that applies; SIGINT and SIGTERM never both do.
PRECEDENCE = (
    Exit.NOT_CLEAN,
    Exit.INTERNAL,
    Exit.SIGINT,
    Exit.SIGTERM,
    Exit.GATE_FAILED,
    Exit.HARNESS,
    Exit.GUARDRAIL,
    Exit.INCONCLUSIVE,
    Exit.ANSWERED,
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What follows from the way a run ended."""

    cause: Cause
    exit_code: Exit
    answered: bool  # what was asked is certified, whichever way it went
    gates: Mapping[str, GateOutcome]  # per ladder that has one


def ending(campaign: Campaign, cause: Cause, *also: Cause) -> Ending:
    """The ending of a campaign that is over for this cause, and others that came after it.

    A gate that is certified to fail is an answer, whatever ended the run afterwards.
    """
    gates = {
        climb.ladder.name: outcome
        for climb in climbs(campaign)
        if (outcome := gate(climb)) is not None
    }
    codes = {CODES[each] for each in (cause, *also)}
    if GateOutcome.FAILED in gates.values():
        codes.add(Exit.GATE_FAILED)
    if GateOutcome.UNDECIDED in gates.values():
        codes.add(Exit.INCONCLUSIVE)
    first = next(code for code in PRECEDENCE if code in codes)
    answered = CODES[cause] is Exit.ANSWERED
    return Ending(cause, first, answered, gates)


def stopped_for(campaign: Campaign, stop: Stop) -> tuple[Cause, str]:
    """The cause and reason of a stop: what speaks against the claims goes before what they say."""
    for climb in climbs(campaign):
        why = withdrawn(climb)
        if why is not None and CODES[stop.cause] in (Exit.ANSWERED, Exit.INCONCLUSIVE):
            of = f"{climb.ladder.name}: " if climb.several else ""
            return why, of + _why_withdrawn(climb, why)
    return stop.cause, stop.reason


def _why_withdrawn(climb: Climb, cause: Cause) -> str:
    text, severities = climb.ladder.text, climb.ladder.severities
    held, broke, _ = climb.claimed
    if cause is Cause.NOT_STOOD and held is not None:
        late = failing(climb, held)
        assert late is not None
        return (
            f"did not stand: {text(severities[held])} held at first and fails from "
            f"{late.from_s:.1f} s after the injection on ({late.bad} of {late.samples} bad); "
            f"timing.warmup: {math.ceil(late.from_s)}s would measure that instead"
        )
    if cause is Cause.NOT_REPEATED and broke is not None:
        return (
            f"did not repeat: {text(severities[broke])} broke once and held when it was exposed "
            "again; something else may have failed at that moment"
        )
    if cause is Cause.NOT_EXERCISED:
        return (
            "path not exercised: doses arrived at the dependency and no request felt them; the "
            "traffic's URL may be served without it (a cache, a fallback, another route)"
        )
    if cause is Cause.NOT_MONOTONE:
        pairs = (
            f"{text(severities[low])} broke ({climb.arms[low].any_bad} of "
            f"{climb.arms[low].samples} bad) though {text(severities[high])} holds"
            for low, high in bumps(climb)
        )
        return (
            f"not monotone: {'; '.join(pairs)}; a breaking point says little here, see what "
            "changes between them (a time-out with a fallback, a breaker, a cache)"
        )
    return (
        "assumptions failed: no breaking point fits what was seen; is the response monotone, the "
        "target steady?"
    )


def worst(causes: Iterable[Cause]) -> Cause:
    """Of the causes why several ladders are over, the one that the run is over for."""
    return min(causes, key=lambda cause: PRECEDENCE.index(CODES[cause]))
