"""What a run found out about one ladder, as records. It decides nothing: claims are core's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from chaosbandit.core.campaign import Exposure
from chaosbandit.core.certified_claims import bracket, verdicts
from chaosbandit.core.climb import Climb
from chaosbandit.core.confirmation import failed, stood_s
from chaosbandit.core.judge import valid
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Bracket, Dose, GateOutcome, Verdict
from chaosbandit.core.slo import SLO
from chaosbandit.report import answer
from chaosbandit.report.estimates import estimated
from chaosbandit.report.failure_times import ages_at, exposures_at
from chaosbandit.report.numbers_in_words import duration, plural, spanned
from chaosbandit.report.records import (
    ArmResult,
    BasisResult,
    BracketResult,
    GateResult,
    HoldResult,
    LadderResult,
)


def ladder_result(climb: Climb, gates: Mapping[str, GateOutcome]) -> LadderResult:
    """All that is known of the ladder; `gates` are those of the run's ending."""
    between, ladder = bracket(climb), climb.ladder
    held, broke, _ = climb.claimed  # also what is not claimed after all
    guess, held_s = estimated(climb, between), _hold(climb, between)
    exposures = (*climb.exposures, *([climb.current] if climb.current else []))
    return LadderResult(
        ladder=ladder.name,
        proxy=ladder.proxy,
        answer=answer.sentence(climb, between, guess),
        samples=sum(each.samples for each in exposures),
        bracket=_bracket(ladder, between),
        estimate=guess,
        hold=held_s,
        rests_held=_basis(climb, () if between.held is None else exposures_at(climb, held)),
        rests_broke=_basis(climb, () if between.broke is None else failed(climb, broke or 0)),
        block=climb.certificate.block,
        ages_held=ages_at(climb, held),
        ages_broke=ages_at(climb, broke),
        gate=_gate(climb, between, gates.get(ladder.name), held_s),
        dose_held=_dose_at(climb, between.held),
        dose_broke=_dose_at(climb, between.broke),
        arms=tuple(_arm(climb, verdict) for verdict in verdicts(climb)),
    )


def unit_of(ladder: Ladder) -> str:
    """What the ladder's severities and doses are measured in: `s`, `share` or nothing."""
    return ladder.dose.unit


def per_slo(slos: Sequence[SLO], counts: Sequence[int]) -> Mapping[str, int]:
    """Counts by the names of the SLOs."""
    return {slo.name: count for slo, count in zip(slos, counts, strict=True)}


def _bracket(ladder: Ladder, between: Bracket) -> BracketResult:
    return BracketResult(
        held=between.held,
        broke=between.broke,
        closed=between.closed,
        confidence=between.confidence,
        unit=unit_of(ladder),
        held_text=None if between.held is None else ladder.text(between.held),
        broke_text=None if between.broke is None else ladder.text(between.broke),
    )


def _hold(climb: Climb, between: Bracket) -> HoldResult | None:
    """`stood 15 s; not looked at beyond 15 s`, rounded so that too short never looks enough."""
    if between.held is None:
        return None
    stood, asked_s = stood_s(climb, _arm_at(climb, between.held)), climb.search.hold_s
    said = duration(math.floor(stood) if stood >= 10 else math.floor(stood * 10) / 10)
    short = f"only {said} of the {duration(asked_s)} asked" if stood < asked_s else said
    text = f"{climb.ladder.text(between.held)} stood {short}; not looked at beyond {said}"
    return HoldResult(stood, asked_s, text)


def _basis(climb: Climb, exposures: Sequence[Exposure]) -> BasisResult | None:
    """`6 requests at 198 to 207 ms (6 bad) in 2 exposures`: what an end of the bracket rests on."""
    since_s = climb.campaign.evidence_since_s or 0.0
    counted = [each for each in exposures if each.started_s >= since_s]
    samples = sum(each.samples for each in counted)
    if not samples:
        return None
    severities = sorted(each.severity for each in counted)
    bad = sum(aged.any_bad for each in counted for aged in each.by_age.values())
    where = spanned(*(climb.ladder.text(each) for each in (severities[0], severities[-1])))
    text = (
        f"{plural(samples, 'request')} at {where} ({bad:,} bad) in "
        f"{plural(len(counted), 'exposure')}"
    )
    return BasisResult(samples, bad, len(counted), text)


def _gate(
    climb: Climb, between: Bracket, outcome: GateOutcome | None, held: HoldResult | None
) -> GateResult | None:
    if outcome is None:
        return None
    above, text = climb.scenario.require[climb.ladder.name], climb.ladder.text
    if outcome is GateOutcome.PASSED:
        why = "passed"
    elif outcome is GateOutcome.FAILED:
        why = "FAILED, it breaks at or below that"
    elif between.held is not None and between.held >= above and held is not None:
        why = f"UNDECIDED, {held.text}"
    else:
        why = f"UNDECIDED, {text(above)} is certified neither to hold nor to break"
    return GateResult(above, text(above), outcome, why)


def _arm(climb: Climb, verdict: Verdict) -> ArmResult:
    return ArmResult(
        verdict=verdict.kind,
        severity=verdict.severity,
        severity_text=climb.ladder.text(verdict.severity),
        samples=verdict.samples,
        bad=per_slo(climb.slos, verdict.bad),
        measured=verdict.measured,
        sentence=verdict.sentence,
    )


def _dose_at(climb: Climb, severity: float | None) -> Dose | None:
    """The dose of the valid exposure with the most samples at one severity."""
    there = [each for each in valid(climb.exposures) if each.severity == severity]
    return max(there, key=lambda exposure: exposure.samples).dose if there else None


def _arm_at(climb: Climb, severity: float) -> int:
    return climb.ladder.severities.index(severity)
