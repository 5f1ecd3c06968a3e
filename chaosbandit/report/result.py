"""From a campaign to the result model: `result_of` is pure, campaign in, records out.

It works on finished campaigns and on those of a journal that was cut short. It decides nothing:
claims are `core.certified_claims`'s, exit codes and gates `core.ending`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaosbandit.core.campaign import Campaign, Exposure, Tally
from chaosbandit.core.climb import climbs
from chaosbandit.core.ending import ending
from chaosbandit.core.model import Cause, Dose, Phase, Route
from chaosbandit.core.slo import SLO
from chaosbandit.errors import Exit
from chaosbandit.report.advice import next_step
from chaosbandit.report.ladder_result import ladder_result, per_slo, unit_of
from chaosbandit.report.records import (
    SCHEMA,
    BudgetResult,
    Cleanliness,
    ExposureResult,
    Result,
    RouteResult,
    SteadyResult,
)
from chaosbandit.report.warnings import cautions, control_failing

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
    cause = stopped.cause if stopped else None
    end = ending(campaign, cause or Cause.INCONCLUSIVE)
    ladders = tuple(ladder_result(climb, end.gates) for climb in climbs(campaign))
    recorded = stopped.exit_code if stopped else int(end.exit_code)
    return Result(
        schema=SCHEMA,
        scenario=campaign.scenario.name,
        run=header.run if header else "",
        seed=header.seed if header else campaign.scenario.seed,
        answer="\n".join(ladder.answer for ladder in ladders),
        next_step=next_step(campaign),
        answered=stopped.answered if stopped else False,
        exit_code=recorded if exit_code is None else int(exit_code),
        stop_reason=stopped.reason if stopped else CUT_OFF,
        cause=cause,
        control=control_failing(campaign),
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
        warnings=(*cautions(campaign), *warnings),
        journal=None if journal is None else str(journal),
        started_epoch_s=header.epoch_s if header else None,
        duration_s=_duration_s(campaign),
        versions={"chaosbandit": header.version, "toxiproxy": header.server_version}
        if header
        else {},
        connections_cut=stopped.connections_cut if stopped else None,
        clean_notes=stopped.notes if stopped else (),
    )


def _cleanliness(campaign: Campaign) -> Cleanliness:
    if campaign.stopped is None:
        return Cleanliness.UNKNOWN
    if campaign.stopped.clean:
        return Cleanliness.VERIFIED
    left = campaign.stopped.exit_code == Exit.NOT_CLEAN
    return Cleanliness.NOT_CONFIRMED if left else Cleanliness.REMOVED


def _route(campaign: Campaign, route: Route, tally: Tally) -> RouteResult:
    phases = {
        str(phase): tally.bad_by_phase[phase] for phase in Phase if phase in tally.bad_by_phase
    }
    bad = per_slo(campaign.slos, tally.bad)
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
    ladder = campaign.ladders[exposure.climb].ladder
    return ExposureResult(
        n=exposure.n,
        ladder=ladder.name,
        severity=exposure.severity,
        severity_text=ladder.text(exposure.severity),
        after_s=exposure.started_s - started_s,
        samples=exposure.samples,
        warmup=exposure.warmup,
        bad=per_slo(campaign.slos, exposure.bad),
        valid=exposure.validity.valid if exposure.validity else False,
        why=exposure.validity.why if exposure.validity else "still open",
        dose=exposure.dose or Dose(exposure.severity),
    )


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
