"""What an answer still needs once it is certified: that it stood, and that it was no hiccup.

The held arm stands `search.hold` in one exposure, and its samples are tested by their age since the
injection: pools empty and queues fill late. The broken one must fail in a second exposure, since
one or two bad samples of a passing hiccup are enough to break an arm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaosbandit.core.campaign import AGES_S, Arm, Exposure
from chaosbandit.core.climb import Climb
from chaosbandit.core.evidence import OWN_EVIDENCE
from chaosbandit.core.judge import valid
from chaosbandit.core.model import Expose, Purpose
from chaosbandit.core.monotone import above
from chaosbandit.core.ratio_tests import log_e_above, log_e_below

_LOOK_S = 1.0  # a batch of a held arm that only has to stand longer
_SMALLEST = 5  # samples of it, where the rate is low
_REFUTED = math.log(20.0)  # evidence that what broke once does not break again


@dataclass(frozen=True, slots=True)
class Failing:
    """An arm fails from some age on."""

    from_s: float
    samples: int  # of at least that age
    bad: int


def stood_s(climb: Climb, arm: int) -> float:
    """How long an arm was borne in one exposure: the age of its newest measured sample."""
    return max((each.age_s for each in _at(climb, arm)), default=0.0)


def failing(climb: Climb, arm: int) -> Failing | None:
    """From which age on an arm fails, as surely as claims are made, or None.

    For each start age the samples from there on test p <= tau; any mean of such tests is one
    (Ville 1939), so the mixture over the ages errs with delta however often it is looked at. All
    exposures count together: what sets in late does so in each, a hiccup of the machine in one.
    """
    exposures = _at(climb, arm)
    for s, slo in enumerate(climb.slos):
        if not any(each.bad[s] for each in exposures):
            continue
        logs = [
            above(_older(exposures, age), s, slo.bad_ratio, climb.certificate.block)
            for age in range(len(AGES_S))
        ]
        if _log_mean(logs) >= -math.log1p(-climb.search.confidence):
            return _found(exposures, logs.index(max(logs)))
    return None


def next_exposure(climb: Climb) -> Expose | None:
    """What is to be exposed before the claims are an answer, or None when they are."""
    held, broke, _ = climb.claimed
    if held is not None and failing(climb, held) is None:
        hold = _hold(climb, held)
        if hold is not None:
            return hold
    if broke is not None and not repeated(climb, broke) and not refuted(climb, broke):
        return _once_more(climb, broke)
    return None


def hold_first(climb: Climb, going_to: Expose) -> Expose | None:
    """The rest of `search.hold` where the held arm stands and the next one would close the bracket.

    Coming back for it would cost another exposure.
    """
    held, _, _ = climb.claimed
    if held is None or held != climb.standing or going_to.variant.arm <= held:
        return None
    severities = climb.ladder.severities
    near = severities[going_to.variant.arm] <= severities[held] * (1 + climb.search.resolution)
    near = near or going_to.variant.arm == held + 1
    return _hold(climb, held) if near and failing(climb, held) is None else None


def repeated(climb: Climb, broke: int) -> bool:
    """Whether a severity that broke, or a milder one above what held, failed in two exposures.

    Or in many that are too short to tell: without the worst of them it still did.
    """
    if len(failed(climb, broke)) >= 2:
        return True
    exposures = sorted(_above_held(climb, broke), key=lambda each: max(each.bad))
    return _log_e(climb, exposures[:-1]) >= OWN_EVIDENCE


def refuted(climb: Climb, broke: int) -> bool:
    """Whether what broke once did not do so again when it was looked at."""
    shown = {each.n for each in failed(climb, broke)}
    again = [each for each in _at(climb, broke) if each.n not in shown]
    return any(
        min(
            log_e_below(each.samples, each.bad[s], slo.bad_ratio)
            for s, slo in enumerate(climb.slos)
        )
        >= _REFUTED
        for each in again
    )


def failed(climb: Climb, broke: int) -> list[Exposure]:
    """The exposures that show it: at that severity, or a milder one above what held."""
    return [e for e in _above_held(climb, broke) if _log_e(climb, [e]) >= OWN_EVIDENCE]


def _above_held(climb: Climb, broke: int) -> list[Exposure]:
    held, _, _ = climb.claimed
    return [e for e in _all(climb) if (-1 if held is None else held) < e.arm <= broke]


def _log_e(climb: Climb, exposures: Iterable[Exposure]) -> float:
    """Evidence of exceeding tau in all of them together, by the SLO that fares worst."""
    exposures = list(exposures)
    samples = sum(each.samples for each in exposures)
    return max(
        log_e_above(samples, sum(each.bad[s] for each in exposures), slo.bad_ratio)
        for s, slo in enumerate(climb.slos)
    )


def _hold(climb: Climb, held: int) -> Expose | None:
    missing_s = climb.search.hold_s - stood_s(climb, held)
    if missing_s <= 0.0 or climb.search.hold_s == 0.0:
        return None
    rate_per_s = climb.scenario.traffic.rate_per_s
    samples = max(_SMALLEST, math.ceil(_LOOK_S * rate_per_s))
    text = climb.ladder.text(climb.ladder.severities[held])
    why = f"does {text} stand for {climb.search.hold_s:g} s?"
    ends = 2 + int(2 * samples * max(slo.bad_ratio for slo in climb.slos))
    return Expose(climb.ladder.variant(held), samples, Purpose.HOLD, (), ends, why)


def _once_more(climb: Climb, broke: int) -> Expose:
    tau = max(slo.bad_ratio for slo in climb.slos)
    samples = max(_SMALLEST, math.ceil(0.25 / tau))
    text = climb.ladder.text(climb.ladder.severities[broke])
    why = f"does {text} break in a second exposure too?"
    shown = climb.current is not None and climb.current in failed(climb, broke)
    return Expose(climb.ladder.variant(broke), samples, Purpose.SEARCH, (), 1, why, anew=shown)


def _all(climb: Climb) -> Iterable[Exposure]:
    """Its exposures that count, the open one included."""
    current = climb.current
    return (*valid(climb.exposures), *([current] if current is not None else []))


def _at(climb: Climb, arm: int) -> list[Exposure]:
    return [each for each in _all(climb) if each.arm == arm]


def _older(exposures: Sequence[Exposure], age: int) -> Arm:
    """What was measured from span number `age` on."""
    spans = [aged for each in exposures for span, aged in each.by_age.items() if span >= age]
    slos = range(len(exposures[0].bad))
    bad = tuple(sum(aged.bad[s] for aged in spans) for s in slos)
    return Arm(sum(aged.samples for aged in spans), bad, sum(aged.any_bad for aged in spans))


def _found(exposures: Iterable[Exposure], span: int) -> Failing:
    """Where in that span the failures begin; where it begins, if samples have no records.

    As the exposure has it in which most failed.
    """
    worst = max(exposures, key=lambda each: _older([each], span).any_bad)
    if worst.first_s is None:
        late = _older([worst], span)
        return Failing(AGES_S[span], late.samples, late.any_bad)
    ages_s = [s.intended_s - worst.first_s for s in worst.canary if any(s.bad)]
    from_s = min((age_s for age_s in ages_s if age_s >= AGES_S[span]), default=AGES_S[span])
    older = [s for s in worst.canary if s.intended_s - worst.first_s >= from_s]
    return Failing(from_s, len(older), sum(any(sample.bad) for sample in older))


def _log_mean(logs: list[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(each - top) for each in logs) / len(logs))
