"""What a reader of a result should be wary of: void exposures, a sick control, odd failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from chaosbandit.core.campaign import Campaign, Exposure
from chaosbandit.core.climb import Climb, climbs
from chaosbandit.core.confirmation import failed
from chaosbandit.core.model import Route, Sample
from chaosbandit.core.ratio_tests import log_e_above
from chaosbandit.core.steady_state import BROKEN_LOG_E
from chaosbandit.report.failure_times import latest
from chaosbandit.report.numbers_in_words import plural
from chaosbandit.report.records import ControlResult

_REASONS = 2  # of void exposures that are told


def cautions(campaign: Campaign) -> tuple[str, ...]:
    """All of them, a line each."""
    return (
        *_void(campaign),
        *_control_missed(campaign),
        *_ledger(campaign),
        *_blocks(campaign),
        *(line for climb in climbs(campaign) for line in (*_too_soon(climb), *_aged(climb))),
    )


def control_failing(campaign: Campaign) -> ControlResult | None:
    """Whether the control route failed, which no fault touches: then the dependency may be dead."""
    kept = [campaign.steady_samples.get(Route.CONTROL, ())]
    kept += [exposure.control for exposure in _exposures(campaign)]
    sick = [samples for samples in kept if _broken(campaign, samples)]
    if not sick and not campaign.control_sick:
        return None
    bad = [each for samples in sick or kept for each in samples if any(each.bad)]
    most = _most_seen(bad)
    tally = campaign.tallies[Route.CONTROL]
    text = f"the control fails too: {most or 'bad answers'} from the control route"
    text += f" ({tally.any_bad:,} of {plural(tally.samples, 'request')} bad)"
    return ControlResult(tally.samples, tally.any_bad, most, text)


def _broken(campaign: Campaign, samples: Sequence[Sample]) -> bool:
    return any(
        log_e_above(len(samples), sum(sample.bad[s] for sample in samples), slo.bad_ratio)
        >= BROKEN_LOG_E
        for s, slo in enumerate(campaign.slos)
    )


def _most_seen(bad: Iterable[Sample]) -> str:
    """`503`, `timeout`: what most bad answers were; a slow one is bad whatever its status."""
    seen = Counter(sample.told for sample in bad)
    return seen.most_common(1)[0][0] if seen else ""


def _exposures(campaign: Campaign) -> Iterator[Exposure]:
    yield from campaign.exposures
    if campaign.current is not None:
        yield campaign.current


def _void(campaign: Campaign) -> Iterator[str]:
    void = [each for each in campaign.exposures if each.validity and not each.validity.valid]
    if void:
        reasons = dict.fromkeys(each.validity.why for each in void if each.validity)
        of = plural(len(campaign.exposures), "exposure")
        told = "; ".join(list(reasons)[:_REASONS]) + "; ..." * (len(reasons) > _REASONS)
        yield f"{len(void)} of {of} void: {told}"


def _control_missed(campaign: Campaign) -> Iterator[str]:
    """Not so plainly that `control_failing` says it first."""
    control = campaign.tallies.get(Route.CONTROL)
    if control is None or control_failing(campaign) is not None:
        return
    for slo, bad in zip(campaign.slos, control.bad, strict=True):
        if bad / control.samples > slo.bad_ratio:
            yield f"the control route missed {slo.name} itself: {bad} of {control.samples:,} bad"


def _ledger(campaign: Campaign) -> Iterator[str]:
    if campaign.budget_left() < 0:
        yield f"the error budget of this run is overspent by {-campaign.budget_left()}"
    if campaign.lost:
        lost = plural(campaign.lost, "request")
        yield f"{lost} lost in flight, charged to the budget as bad"


def _blocks(campaign: Campaign) -> Iterator[str]:
    """Failures that come together are no independent evidence, and that has its price."""
    block = campaign.ladders[0].certificate.block
    if block > 1:
        why = "as search.block says"
        if block != campaign.scenario.search.block:
            why = f"since a clump of {block // 4}"  # core.judge and core.steady take four times it
        yield f"evidence is weighed in blocks of {block} {why}: about {block} times the requests"


def _too_soon(climb: Climb) -> Iterator[str]:
    """What is back before the dose arrives was spoilt by something else."""
    _, broke, _ = climb.claimed
    if broke is None:
        return
    severities, dose = climb.ladder.severities, climb.ladder.dose
    bad = [(e.severity, s) for e in failed(climb, broke) for s in e.canary if any(s.bad)]
    soon = sum(not dose.explains(severity, sample.latency_s) for severity, sample in bad)
    if 2 * soon > len(bad):
        yield (
            f"{soon} of {len(bad)} bad answers that show {climb.ladder.text(severities[broke])} to "
            "break came back sooner than the dose arrives: something else spoils them, or the "
            "service gives up first"
        )


def _aged(climb: Climb) -> Iterator[str]:
    aged = latest(climb)
    if aged is not None:
        yield aged.text
