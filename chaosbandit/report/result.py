"""From a campaign to the result model: `result_of` is pure, campaign in, records out.

It works on finished campaigns and on those of a journal that was cut short. It decides nothing:
brackets and verdicts are `core.judge`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chaosbandit.core import judge
from chaosbandit.core.campaign import Campaign, Exposure, Tally
from chaosbandit.core.ladder import Ladder
from chaosbandit.core.model import Bracket, Dose, Phase, Route, Verdict
from chaosbandit.core.slo import SLO
from chaosbandit.errors import Exit
from chaosbandit.report import answer
from chaosbandit.report.records import (
    SCHEMA,
    ArmResult,
    BracketResult,
    BudgetResult,
    Cleanliness,
    ExposureResult,
    GateOutcome,
    GateResult,
    LadderResult,
    Result,
    RouteResult,
    SteadyResult,
)

__all__ = ["Result", "exposure_result", "result_of", "unit_of"]

CUT_OFF = "the journal ends before the run did"


def result_of(
    campaign: Campaign,
    *,
    journal: Path | None = None,
    exit_code: int | None = None,
    warnings: Sequence[str] = (),
) -> Result:
    """The result of a campaign, finished or cut short; `exit_code` wins over the recorded one."""
    header, stopped, steady = campaign.header, campaign.stopped, campaign.steady
    ladders = tuple(ladder_result(each) for each in campaign.each())
    recorded = stopped.exit_code if stopped else int(Exit.INCONCLUSIVE)
    return Result(
        schema=SCHEMA,
        scenario=campaign.scenario.name,
        run=header.run if header else "",
        seed=header.seed if header else campaign.scenario.seed,
        answer="\n".join(ladder.answer for ladder in ladders),
        next_step=answer.next_step(campaign),
        answered=stopped.answered if stopped else False,
        exit_code=recorded if exit_code is None else int(exit_code),
        stop_reason=stopped.reason if stopped else CUT_OFF,
        clean=_cleanliness(campaign),
        clean_why=stopped.clean_why if stopped else CUT_OFF,
        ladders=ladders,
        requests=tuple(
            _route(campaign, route, campaign.tallies[route])
            for route in Route
            if route in campaign.tallies
        ),
        lost=campaign.lost,
        budgets=tuple(_budget(campaign, s, slo) for s, slo in enumerate(campaign.slos)),
        exposures=tuple(exposure_result(campaign, exposure) for exposure in _all(campaign)),
        steady=SteadyResult(
            met=steady.met if steady else None,
            why=steady.why if steady else "never measured to the end",
            block=steady.block if steady else 1,
        ),
        warnings=(*answer.warnings(campaign), *warnings),
        journal=None if journal is None else str(journal),
        started_epoch_s=header.epoch_s if header else None,
        duration_s=_duration_s(campaign),
        versions={"chaosbandit": header.version, "toxiproxy": header.server_version}
        if header
        else {},
        connections_cut=stopped.connections_cut if stopped else None,
        clean_notes=stopped.notes if stopped else (),
    )


def ladder_result(campaign: Campaign) -> LadderResult:
    """What is known of the ladder faced."""
    between, ladder = judge.bracket(campaign), campaign.ladder
    return LadderResult(
        ladder=ladder.name,
        proxy=ladder.proxy,
        answer=answer.sentence(campaign, between),
        samples=sum(each.samples for each in _all(campaign) if each.climb == campaign.face),
        bracket=_bracket(campaign, between),
        gate=_gate(campaign, between),
        dose_held=_dose_at(campaign, between.held),
        dose_broke=_dose_at(campaign, between.broke),
        arms=tuple(_arm(campaign, verdict) for verdict in judge.claims(campaign)),
    )


def _gate(campaign: Campaign, between: Bracket) -> GateResult | None:
    """The gate of the ladder faced: passed, failed, or not shown either way."""
    above = campaign.scenario.require.get(campaign.ladder.name)
    if above is None:
        return None
    outcome = GateOutcome.UNPROVEN
    if between.held is not None and between.held >= above:
        outcome = GateOutcome.PASSED
    elif between.broke is not None and between.broke <= above:
        outcome = GateOutcome.FAILED
    return GateResult(above, campaign.ladder.text(above), outcome)


def unit_of(ladder: Ladder) -> str:
    """What the ladder's severities and doses are measured in: `s` or `share`."""
    return "s" if ladder.kind == "latency" else "share"


def _cleanliness(campaign: Campaign) -> Cleanliness:
    if campaign.stopped is None:
        return Cleanliness.UNKNOWN
    if campaign.stopped.clean:
        return Cleanliness.VERIFIED
    left = campaign.stopped.exit_code == Exit.NOT_CLEAN
    return Cleanliness.NOT_CONFIRMED if left else Cleanliness.REMOVED


def _bracket(campaign: Campaign, between: Bracket) -> BracketResult:
    text = campaign.ladder.text
    return BracketResult(
        held=between.held,
        broke=between.broke,
        closed=between.closed,
        confidence=between.confidence,
        unit=unit_of(campaign.ladder),
        held_text=None if between.held is None else text(between.held),
        broke_text=None if between.broke is None else text(between.broke),
    )


def _arm(campaign: Campaign, verdict: Verdict) -> ArmResult:
    return ArmResult(
        verdict=verdict.kind,
        severity=verdict.severity,
        severity_text=campaign.ladder.text(verdict.severity),
        samples=verdict.samples,
        bad=_per_slo(campaign, verdict.bad),
        measured=verdict.measured,
        sentence=verdict.sentence,
    )


def _route(campaign: Campaign, route: Route, tally: Tally) -> RouteResult:
    phases = {
        str(phase): tally.bad_by_phase[phase] for phase in Phase if phase in tally.bad_by_phase
    }
    bad = _per_slo(campaign, tally.bad)
    return RouteResult(route, tally.samples, bad, tally.any_bad, phases)


def _budget(campaign: Campaign, index: int, slo: SLO) -> BudgetResult:
    budget, spent = campaign.scenario.budget, campaign.spent_bad(index)
    canary = campaign.tallies.get(Route.CANARY, Tally(bad=(0,) * len(campaign.slos)))
    control = campaign.tallies.get(Route.CONTROL, Tally(bad=(0,) * len(campaign.slos)))
    sent = canary.samples + campaign.lost
    explained = sent * control.bad[index] / control.samples if control.samples else 0.0
    return BudgetResult(
        slo=slo.name,
        objective=slo.objective,
        allowed=budget.allowed(slo),
        spent=spent,
        left=budget.allowed(slo) - spent,
        window_s=budget.window_s,
        window_share=budget.window_share(slo, spent),
        excess_over_control=spent - explained,
        burn_rate=budget.burn_rate(slo, spent, sent),
    )


def exposure_result(campaign: Campaign, exposure: Exposure) -> ExposureResult:
    """One exposure of a campaign as it is reported."""
    started_s = campaign.header.now_s if campaign.header else exposure.started_s
    ladder = campaign.facing(exposure.climb).ladder
    return ExposureResult(
        n=exposure.n,
        ladder=ladder.name,
        severity=exposure.severity,
        severity_text=ladder.text(exposure.severity),
        after_s=exposure.started_s - started_s,
        samples=exposure.samples,
        warmup=exposure.warmup,
        bad=_per_slo(campaign, exposure.bad),
        valid=exposure.validity.valid if exposure.validity else False,
        why=exposure.validity.why if exposure.validity else "still open",
        dose=exposure.dose or Dose(exposure.severity),
    )


def _dose_at(campaign: Campaign, severity: float | None) -> Dose | None:
    """The dose of the valid exposure with the most samples at one severity of the ladder faced."""
    there = [
        exposure
        for exposure in campaign.exposures
        if (exposure.climb, exposure.severity) == (campaign.face, severity)
        and exposure.validity
        and exposure.validity.valid
    ]
    return max(there, key=lambda exposure: exposure.samples).dose if there else None


def _duration_s(campaign: Campaign) -> float:
    header, stopped = campaign.header, campaign.stopped
    if header is None:
        return 0.0
    if stopped is not None:
        return stopped.now_s - header.now_s
    return max((exposure.started_s - header.now_s for exposure in _all(campaign)), default=0.0)


def _all(campaign: Campaign) -> tuple[Exposure, ...]:
    """Every exposure, one that was left open included."""
    return (*campaign.exposures, *([campaign.current] if campaign.current else []))


def _per_slo(campaign: Campaign, counts: Sequence[int]) -> Mapping[str, int]:
    return {slo.name: count for slo, count in zip(campaign.slos, counts, strict=True)}
